/** A site with one small untrained model, for tests of the engine: bytes are its tokens. */

import { readConfig } from "../src/engine/config";
import type { Config } from "../src/engine/config";
import { Engine } from "../src/engine/engine";
import { start } from "../src/engine/loader";
import { untrained } from "../src/engine/random";

export const RESERVED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"];

/** tokenizer.json of a byte-level tokenizer without merges: 256 bytes, then the reserved tokens. */
export function byteTokenizer(): string {
  const vocab: Record<string, number> = {};
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    vocab[String.fromCodePoint(visible ? byte : next++)] = byte;
  }
  RESERVED.forEach((name, i) => (vocab[name] = 256 + i));
  const kind = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return JSON.stringify({
    version: "1.0", normalizer: null, pre_tokenizer: kind, post_processor: null, decoder: kind,
    added_tokens: RESERVED.map((content, i) => ({ id: 256 + i, content, special: i < 3, single_word: false, lstrip: false, rstrip: false, normalized: false })),
    model: { type: "BPE", vocab, merges: [], dropout: null, unk_token: null, byte_fallback: false, fuse_unk: false },
  });
}

export const TEMPLATE =
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

export const SHAPE = {
  model_type: "llama", vocab_size: 260, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  head_dim: 8, intermediate_size: 24, max_position_embeddings: 600, rope_theta: 10000, rms_norm_eps: 1e-6, tie_word_embeddings: false,
  eos_token_id: 258, initializer_range: 0.5,
};

export function shapeOf(change: Record<string, unknown> = {}): Config {
  return readConfig({ ...SHAPE, ...change });
}

/** An engine that holds the models of these seeds, under the names "m0", "m1" … */
export async function smallEngine(seeds: number[] = [0], change: Record<string, unknown> = {}, pause = (): Promise<void> => new Promise((done) => setImmediate(done))): Promise<Engine> {
  const engine = new Engine({
    folder: "/", fetchBundle: never, list: never, openFiles: never, pause,
  });
  const texts = new Map([
    ["tokenizer.json", byteTokenizer()],
    ["tokenizer_config.json", JSON.stringify({ chat_template: TEMPLATE, bos_token: "<|im_start|>" })],
  ]);
  for (const [i, seed] of seeds.entries()) {
    const config = shapeOf(change);
    engine.loader.put(await start({ id: `m${i}`, title: `m${i}` }, config, untrained(config, seed), texts, `hash${i}`));
  }
  return engine;
}

function never(): never {
  throw new Error("a test fetched something");
}
