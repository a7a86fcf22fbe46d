/**
 * Text to ids and back, and chats through the model's own template.
 *
 * A reserved token such as <|im_end|> ends a turn. Only the template may write one: what a reader
 * types stays data, even if it spells a reserved token (as in minimind_wiki/tokenizer/chat.py).
 */

import { Template } from "@huggingface/jinja";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { EngineError, type Message } from "./api";
import { parseJson } from "./guard_json";

const BREAK = "\ufdd0"; // no character: put into a spelled reserved token, it keeps it from being one

type Json = Record<string, unknown>;

export class Tokenizer {
  /** Knows no reserved tokens, so that all text is data. */
  private readonly data: Library;
  private readonly names: string[] = [];
  private readonly bytes: (Uint8Array | undefined)[] = [];
  private readonly reserved = new Map<string, number>();
  private readonly special = new Set<number>();
  private readonly marks: RegExp;
  private readonly template: Template | null;
  private readonly values: Json = {};

  /** From the text of tokenizer.json, tokenizer_config.json and, where there is one, the template. */
  constructor(tokenizer: string, config = "{}", template?: string) {
    try {
      const about = parseJson(tokenizer, "tokenizer.json") as Json;
      const settings = parseJson(config, "tokenizer_config.json") as Json;
      for (const token of (about.added_tokens ?? []) as { id: number; content: string; special: boolean }[]) {
        this.reserved.set(token.content, token.id);
        if (token.special) this.special.add(token.id);
        this.names[token.id] = token.content;
      }
      this.data = new Library({ ...about, added_tokens: [] }, settings);
      for (const [name, id] of this.data.get_vocab()) this.names[id] ??= name;
      const spelled = [...this.reserved.keys()].filter(Boolean).sort((a, b) => b.length - a.length);
      this.marks = new RegExp(spelled.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") || "(?!)", "gu");
      const source = template ?? settings.chat_template;
      this.template = typeof source === "string" && source ? new Template(source) : null;
      for (const name of ["bos_token", "eos_token", "pad_token"]) {
        const token = settings[name];
        this.values[name] = typeof token === "string" ? token : ((token as Json | undefined)?.content ?? "");
      }
      this.spell(about);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError(`The tokenizer cannot be read (${String(error).slice(0, 120)}); use the files that were saved with the model.`, "unsupported");
    }
  }

  get hasTemplate(): boolean {
    return this.template !== null;
  }

  encode(text: string): number[] {
    return text ? this.data.encode(text, { add_special_tokens: false }).ids : [];
  }

  /** Ids of a chat up to where the assistant begins to answer. */
  chat(messages: Message[], thinking = false): number[] {
    if (!this.template) throw new EngineError("This model has no chat template: it continues text. Give it text to continue.", "input");
    if (!messages.length) throw new EngineError("The chat is empty; write a message.", "input");
    const broken = messages.map((message) => ({
      ...message,
      content: message.content.replaceAll(BREAK, "").replace(this.marks, (name) => name[0] + BREAK + name.slice(1)),
    }));
    let text: string;
    try {
      text = this.template.render({ ...this.values, messages: broken, add_generation_prompt: true, open_thinking: thinking, enable_thinking: thinking });
    } catch (error) {
      throw new EngineError(`The model's chat template does not take this chat (${error instanceof Error ? error.message : String(error)}).`, "input");
    }
    const ids: number[] = [];
    let at = 0;
    for (const mark of text.matchAll(this.marks)) {
      ids.push(...this.encode(text.slice(at, mark.index).replaceAll(BREAK, "")), this.reserved.get(mark[0])!);
      at = mark.index + mark[0].length;
    }
    return [...ids, ...this.encode(text.slice(at).replaceAll(BREAK, ""))];
  }

  /** What one token looks like: its characters, or its bytes where they are only part of one. */
  show(id: number): string {
    const bytes = this.bytes[id];
    if (!bytes) return this.names[id] ?? `[${id}]`;
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    return text.includes("\ufffd") ? Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0").toUpperCase()}`).join("") : text;
  }

  /** The bytes that a token adds to a text: none for a special one, the name for other reserved ones. */
  bytesOf(id: number): Uint8Array {
    return this.bytes[id] ?? new TextEncoder().encode(this.special.has(id) ? "" : (this.names[id] ?? ""));
  }

  get size(): number {
    return this.names.length;
  }

  /** The bytes behind each token's name, as its kind of tokenizer writes them. */
  private spell(about: Json): void {
    const byteLevel = JSON.stringify(about.decoder ?? "").includes('"ByteLevel"');
    const table = byteLevel ? byteAlphabet() : null;
    const utf8 = new TextEncoder();
    for (const [id, name] of this.names.entries()) {
      if (name === undefined || this.reserved.has(name)) continue;
      const byte = /^<0x([0-9A-F]{2})>$/.exec(name);
      if (table) this.bytes[id] = Uint8Array.from(name, (character) => table.get(character) ?? 0x3f);
      else this.bytes[id] = byte ? Uint8Array.of(parseInt(byte[1]!, 16)) : utf8.encode(name.replaceAll("▁", " "));
    }
  }
}

/** GPT-2's spelling: each byte is one visible character (Radford et al. 2019). */
function byteAlphabet(): Map<string, number> {
  const table = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    table.set(String.fromCodePoint(visible ? byte : next++), byte);
  }
  return table;
}

/** Tokens in, text out: a character whose bytes come in several tokens comes with the last of them. */
export class TextStream {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(private readonly tokenizer: Tokenizer) {}

  push(id: number): string {
    return this.decoder.decode(this.tokenizer.bytesOf(id), { stream: true });
  }

  /** The rest, when no more tokens come: half a character becomes U+FFFD. */
  finish(): string {
    return this.decoder.decode();
  }
}
