/** Small models to be opened, and seeded ways to spoil a file. */

import type { Chosen } from "../src/engine/open";

export const CONFIG = {
  model_type: "qwen3", vocab_size: 12, hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
  head_dim: 4, intermediate_size: 6, max_position_embeddings: 32, rope_theta: 10000, rms_norm_eps: 1e-6, tie_word_embeddings: true, eos_token_id: 2,
};
export interface Model { config: Record<string, unknown>; tensors: Record<string, { shape: number[]; values: Float32Array }> }

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function tinyModel(): Model {
  const draw = random(1);
  const tensors: Model["tensors"] = {};
  const put = (name: string, ...shape: number[]): void => {
    const count = shape.reduce((a, b) => a * b, 1);
    tensors[name] = { shape, values: Float32Array.from({ length: count }, () => draw() - 0.5) };
  };
  put("model.embed_tokens.weight", 12, 8);
  for (const layer of [0, 1]) {
    const at = `model.layers.${layer}`;
    for (const [part, rows, inputs] of [["q", 8, 8], ["k", 4, 8], ["v", 4, 8], ["o", 8, 8]] as const) put(`${at}.self_attn.${part}_proj.weight`, rows, inputs);
    for (const part of ["q", "k"]) put(`${at}.self_attn.${part}_norm.weight`, 4);
    for (const [part, rows, inputs] of [["gate", 6, 8], ["up", 6, 8], ["down", 8, 6]] as const) put(`${at}.mlp.${part}_proj.weight`, rows, inputs);
    for (const part of ["input", "post_attention"]) put(`${at}.${part}_layernorm.weight`, 8);
  }
  put("model.norm.weight", 8);
  return { config: CONFIG, tensors };
}

/** A safetensors file with this header (an object, or any text) and data. */
export function safetensors(header: unknown, data: Uint8Array, length?: number): ArrayBuffer {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const whole = new Uint8Array(8 + text.length + data.length);
  new DataView(whole.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  whole.set(text, 8);
  whole.set(data, 8 + text.length);
  return whole.buffer;
}

export function weights({ tensors }: Model): ArrayBuffer {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + values.byteLength] };
    parts.push(new Uint8Array(values.buffer));
    end += values.byteLength;
  }
  const data = new Uint8Array(end);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return safetensors(header, data);
}

export function folder(model: Model, under = ""): Chosen[] {
  const file = (name: string, content: BlobPart): Chosen => ({ name: under + name, blob: new Blob([content]) });
  return [file("config.json", JSON.stringify(model.config)), file("model.safetensors", weights(model)), file("tokenizer.json", "{}")];
}

/** A wrong value for a field, of any kind. */
export function spoil(draw: () => number, value: unknown): unknown {
  const wrong: unknown[] = [
    null, -1, 0, 1, 1.5, 2 ** 31, 2 ** 53, -0, 1e308, "", "toString", "__proto__", "<img src=x onerror=alert(1)>", [], [[]], {}, true,
    [2 ** 31, 2 ** 31], [-1, 4], { __proto__: null }, { length: 3 }, "9".repeat(300), [null], value, [value], typeof value === "number" ? value + 1 : 7,
    typeof value === "number" ? value * 2 : 64,
  ];
  return wrong[Math.floor(draw() * wrong.length)];
}

/** One field somewhere below `root` gets another value, goes, or gets a neighbour. */
export function spoilJson(draw: () => number, root: unknown): unknown {
  const copy = structuredClone(root) as Record<string, unknown>;
  let at: Record<string, unknown> = copy;
  for (;;) {
    const keys = Object.keys(at);
    const key = keys[Math.floor(draw() * keys.length)];
    if (key === undefined) return copy;
    const value = at[key];
    if (typeof value === "object" && value !== null && Object.keys(value).length > 0 && draw() < 0.8) {
      at = value as Record<string, unknown>;
      continue;
    }
    const way = draw();
    if (way < 0.75) at[key] = spoil(draw, value);
    else if (way < 0.9) delete at[key];
    else if (Array.isArray(at)) at.push(spoil(draw, value));
    else {
      const extra = ["__proto__", "constructor", "length", "extra"][Math.floor(draw() * 4)] as string;
      Object.defineProperty(at, extra, { value: spoil(draw, value), enumerable: true }); // as JSON.parse would
    }
    return copy;
  }
}

/** Some bytes are cut off, turned, zeroed, repeated or moved. */
export function spoilBytes(draw: () => number, sound: ArrayBuffer): ArrayBuffer {
  const bytes = new Uint8Array(sound.slice(0));
  const somewhere = (): number => Math.floor((draw() < 0.5 ? draw() ** 3 : draw()) * bytes.length); // often in the header
  const way = Math.floor(draw() * 5);
  if (way === 0) return bytes.buffer.slice(0, somewhere());
  if (way === 1) for (let i = 0; i < 1 + draw() * 8; i++) bytes[somewhere()]! ^= 1 << Math.floor(draw() * 8);
  else if (way === 2) bytes.fill(Math.floor(draw() * 256), somewhere(), somewhere());
  else if (way === 3) bytes.copyWithin(somewhere(), somewhere(), somewhere());
  else for (let at = somewhere(), i = 0; i < 4 && at + i < bytes.length; i++) bytes[at + i] = Math.floor(draw() * 256);
  return bytes.buffer;
}
