/**
 * A model engine without a model: the same answers each time, of the right shapes, at once. For
 * tests of what stands on `ModelEngine`; its numbers mean nothing.
 */

import { EngineError } from "../src/engine/api";
import type { Candidate, Drawn, Edit, Finished, GenerateRequest, Message, ModelEngine, ModelInfo, Progress, Sampling, Shipped, Source, Trace, TraceWish } from "../src/engine/api";

const WORDS = "Ada Ben Cleo the a box key lamp garden kitchen has puts takes walks to in on red blue 3 4 5 7 12 and then so is answer Question Answer user assistant end";
const PIECES = [
  ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)),
  "\n", "é", "<img src=x onerror=alert(1)>",
  ...WORDS.split(" ").filter((word) => word.length > 1).flatMap((word) => [word, ` ${word}`]),
];
const LAYERS = 3;
const HEADS = 4;
const HIDDEN = 16;
const STOP = PIECES.indexOf("end");

const entry = (id: string, stage: Shipped["stage"], chat: boolean, base?: string): Shipped =>
  ({ id, title: id, stage, chat, bytes: stage === "random" ? 0 : 2_400_000, folder: stage === "random" ? undefined : id, base });

export const FAKE_SHIPPED: Shipped[] = [
  entry("random", "random", false, "world-tiny"),
  entry("world-nano", "pretrained", false),
  entry("world-tiny", "pretrained", false),
  entry("world-tiny-chat", "sft", true),
  entry("world-tiny-dpo", "dpo", true, "world-tiny-chat"),
  entry("world-tiny-grpo", "rl", true, "world-tiny-chat"),
];

export class FakeEngine implements ModelEngine {
  loaded = new Map<string, ModelInfo>();
  /** Milliseconds that each token takes. */
  constructor(private pace = 0) {}

  shipped(): Promise<Shipped[]> {
    return Promise.resolve(FAKE_SHIPPED);
  }

  async load(source: Source, progress?: (p: Progress) => void, signal?: AbortSignal): Promise<ModelInfo> {
    const id = source.kind === "shipped" ? source.id : source.name;
    const known = this.loaded.get(id);
    if (known) return known;
    if (source.kind === "shipped" && !FAKE_SHIPPED.some((shipped) => shipped.id === id)) throw new EngineError(`There is no model "${id}" here.`, "missing");
    for (let part = 0; part <= 4; part++) {
      if (signal?.aborted) throw new EngineError("Loading was stopped.", "stopped");
      progress?.({ loaded: part * 600_000, total: 2_400_000, from: "network" });
      await this.wait();
    }
    const info = about(id);
    this.loaded.set(id, info);
    return info;
  }

  unload(model: string): Promise<void> {
    this.loaded.delete(model);
    return Promise.resolve();
  }

  encode(_model: string, text: string): Promise<{ ids: number[]; texts: string[] }> {
    return Promise.resolve(row(cut(text)));
  }

  chat(_model: string, messages: Message[]): Promise<{ ids: number[]; texts: string[] }> {
    return Promise.resolve(row(cut(`${messages.map((message) => `${message.role}\n${message.content}\n`).join("")}assistant\n`)));
  }

  trace(model: string, ids: number[], wish: TraceWish = {}): Promise<Trace> {
    const T = ids.length;
    const next = (layer: number): Trace["next"] =>
      ids.map((_, t) => {
        const odds = softmax(scores(model, ids.slice(0, t + 1), wish.edits, layer));
        const after = ids[t + 1];
        return { top: likeliest(odds, wish.top ?? 10), actual: after === undefined ? null : candidate(odds, after), entropyBits: bits(odds) };
      });
    const perLayer = (size: number, salt: number): Float32Array[] =>
      Array.from({ length: LAYERS }, (_, layer) => normals(hash([salt, layer, ...ids, edited(wish.edits)]), size));
    const trace: Trace = { ids, texts: ids.map((id) => PIECES[id] ?? "�"), next: next(LAYERS) };
    if (wish.attention) {
      trace.attention = perLayer(HEADS * T * T, 1).map((values) => causal(values, T));
      trace.valueWeighted = perLayer(HEADS * T * T, 2).map((values) => causal(values, T));
    }
    if (wish.stream || wish.lens) {
      trace.added = perLayer(T * 2, 4).map((values) => values.map((v) => 1 + Math.abs(v)));
    }
    if (wish.stream) trace.stream = [normals(hash([3, ...ids]), T * HIDDEN), ...perLayer(T * HIDDEN, 3)];
    if (wish.lens) trace.lens = Array.from({ length: LAYERS + 1 }, (_, layer) => next(layer).map(({ top, actual }) => ({ top, actual })));
    return Promise.resolve(trace);
  }

  distribution(model: string, ids: number[], sampling: Partial<Sampling> = {}, edits?: Edit[]): Promise<{ raw: Float32Array; shaped: Float32Array; texts: string[] }> {
    const logits = scores(model, ids, edits);
    const heat = sampling.temperature ?? 1;
    return Promise.resolve({ raw: softmax(logits), shaped: softmax(logits.map((v) => v / (heat || 1e-3))), texts: [...PIECES] });
  }

  async generate(model: string, request: GenerateRequest, drawn: (token: Drawn) => void, signal?: AbortSignal): Promise<Finished> {
    const ids = [...request.ids];
    const heat = request.sampling.temperature ?? 0;
    let reason: Finished["reason"] = "length";
    let tokens = 0;
    let drafted = 0;
    while (tokens < request.maxTokens) {
      await this.wait();
      if (signal?.aborted) { reason = "aborted"; break; }
      const odds = softmax(scores(model, ids, request.edits));
      const top = likeliest(odds, request.alternatives ?? 5);
      let id = top[0]?.id ?? 0;
      if (heat > 0) {
        let point = uniform(hash([request.sampling.seed ?? 0, tokens]));
        id = odds.findIndex((p) => (point -= p) <= 0);
        if (id < 0) id = PIECES.length - 1;
      }
      if (id === STOP) { reason = "stop"; break; }
      ids.push(id);
      tokens += 1;
      const guess = request.draft ? hash(ids) % 3 > 0 : undefined;
      if (guess) drafted += 1;
      const { probability, rank } = candidate(odds, id);
      drawn({ id, text: PIECES[id] ?? "", probability, rank, top, ...(guess ? { drafted: true } : {}) });
    }
    return { reason, tokens, seconds: tokens / 100, tokensPerSecond: 100, ...(request.draft ? { accepted: drafted, drafted: tokens } : {}) };
  }

  private wait(): Promise<void> {
    return new Promise((done) => setTimeout(done, this.pace));
  }
}

function about(id: string): ModelInfo {
  return {
    id, title: id, family: "qwen3", parameters: 2_160_000, layers: LAYERS, heads: HEADS, kvHeads: 2, headSize: 4, hidden: HIDDEN, intermediate: 48,
    vocabulary: PIECES.length, context: 512, windows: [null, null, 8], experts: 0, expertsPerToken: 0,
    adapters: /dpo|grpo/.test(id) ? [id] : [], weightBytes: 2_200_000, cacheBytesPerToken: LAYERS * 2 * 2 * 4 * 4, hasChatTemplate: /chat|dpo|grpo/.test(id),
  };
}

/** The longest piece at each place. */
function cut(text: string): number[] {
  const ids: number[] = [];
  for (let at = 0; at < text.length; ) {
    let best = PIECES.indexOf("?");
    let length = 1;
    PIECES.forEach((piece, id) => {
      if (piece.length >= length && text.startsWith(piece, at)) [best, length] = [id, piece.length];
    });
    ids.push(best);
    at += length;
  }
  return ids;
}

const row = (ids: number[]): { ids: number[]; texts: string[] } => ({ ids, texts: ids.map((id) => PIECES[id] ?? "") });
const edited = (edits: Edit[] = []): number => (edits.length ? hash([...JSON.stringify(edits)].map((c) => c.charCodeAt(0))) : 0);

function scores(model: string, ids: number[], edits?: Edit[], layer = LAYERS): Float32Array {
  const seed = hash([...[...model].map((c) => c.charCodeAt(0)), ...ids.slice(-3), edited(edits), layer]);
  const sharp = model === "random" ? 0.1 : 0.8 + layer * 0.5;
  // Words more often than letters: the text then looks a little like text.
  return normals(seed, PIECES.length).map((value, id) => value * sharp + (id > 97 ? 2 : 0));
}

function softmax(logits: Float32Array): Float32Array {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const lifted = logits.map((value) => Math.exp(value - top));
  const sum = lifted.reduce((a, b) => a + b, 0);
  return lifted.map((value) => value / sum);
}

function candidate(odds: Float32Array, id: number): Candidate {
  const probability = odds[id] ?? 0;
  return { id, text: PIECES[id] ?? "", probability, rank: odds.filter((p) => p > probability).length };
}

const likeliest = (odds: Float32Array, count: number): Candidate[] =>
  [...odds.keys()].sort((a, b) => (odds[b] ?? 0) - (odds[a] ?? 0)).slice(0, count).map((id) => candidate(odds, id));

const bits = (odds: Float32Array): number => odds.reduce((sum, p) => sum - (p > 0 ? p * Math.log2(p) : 0), 0);

/** Rows of H·T·T that look back only, each summing to 1. */
function causal(values: Float32Array, T: number): Float32Array {
  for (let start = 0; start < values.length; start += T) {
    const q = (start / T) % T;
    const weights = softmax(values.slice(start, start + q + 1));
    values.fill(0, start, start + T);
    values.set(weights, start);
  }
  return values;
}

function hash(numbers: number[]): number {
  let h = 2166136261;
  for (const n of numbers) h = Math.imul(h ^ n, 16777619) >>> 0;
  return h;
}

function uniform(seed: number): number {
  let t = (seed + 0x6d2b79f5) | 0;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

function normals(seed: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const [a, b] = [uniform(hash([seed, i, 1])), uniform(hash([seed, i, 2]))];
    return Math.sqrt(-2 * Math.log(a || 1e-9)) * Math.cos(2 * Math.PI * b);
  });
}
