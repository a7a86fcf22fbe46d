/**
 * The forward pass: token ids in, scores of the next token out, with the keys and values of all
 * earlier tokens kept in a cache. It is the program of minimind_wiki/model/transformer.py, step by
 * step, and gives the same numbers (tests/parity/test_page_engine.py).
 *
 * Whoever wants to look or to change something gives `Hooks`: each is called where a tensor has just
 * been computed, with a view of it. Reading it shows it; writing to it changes the pass.
 *
 * Shapes: n tokens of one call, D hidden, H heads, K key-value heads, E head size, V vocabulary.
 */

import { EngineError } from "./api";
import type { Config } from "./config";
import type { Arena, Kernel } from "./kernel";
import { chooseExperts } from "./router";
import { addWave, alibiSlopes } from "./positions";
import { frequencies, writeTurns } from "./rope";
import type { FeedForward, Layer, Linear, Norm, Weights } from "./weights";

/** Most tokens that go through the layers together: it bounds the working space. */
export const CHUNK = 32;

export interface Hooks {
  /** The stream (n, D) after a layer; layer -1 is the embedding. */
  stream?(layer: number, start: number, n: number, x: Float32Array): void;
  /** Weights of one query, head by head: head h's are at h · room, for the places 0…position. */
  attention?(layer: number, position: number, weights: Float32Array, room: number): void;
  /** What the heads gathered, (n, H · E), before it is projected back. */
  heads?(layer: number, start: number, n: number, out: Float32Array): void;
  /** What attention or the MLP is about to add to the stream, (n, D). */
  branch?(layer: number, part: "attention" | "mlp", start: number, n: number, added: Float32Array): void;
  /** What the neurons of a layer's one MLP hold, (n, F), before they are projected back. */
  neurons?(layer: number, start: number, n: number, values: Float32Array): void;
  /** Experts that must not be chosen in this layer. */
  refused?(layer: number): Set<number> | undefined;
  /** Who was chosen for the token at a place. */
  experts?(layer: number, position: number, chosen: number[]): void;
}

/** A change to some matrices that can be switched on and off: a LoRA in the kernel's memory. */
export interface LowRank { layers: Map<string, { a: number; b: number; rank: number }>; scale: number }

/** One that has its memory from `take`, from `at` to `end`. */
export interface Placed extends LowRank { at: number; end: number }

/** The most that a LoRA may be wide in the middle. */
export const MOST_RANK = 1024;

type Buffer =
  | "x" | "h" | "q" | "heads" | "gate" | "up" | "answer" | "one" | "cos" | "sin" | "parts" | "units" | "low" | "middle" | "logits";

export class Model {
  /** Tokens in the cache. */
  length = 0;
  /** Tokens that there is room for: first a query's weights for each head, then keys and values. */
  private room = 0;
  private readonly kernel: Kernel;
  private readonly frequency: Float32Array;
  /** Dynamic scaling turns all keys anew for every length, so the cache keeps them unturned. */
  private readonly late: boolean;
  /** Address of ALiBi's slopes; 0 without them. */
  private readonly slopes: number = 0;
  private readonly at: Record<Buffer, number>;
  private cache: number;
  private adapters: LowRank[] = [];

  constructor(
    readonly config: Config,
    readonly weights: Weights,
    readonly arena: Arena,
  ) {
    this.kernel = arena.kernel;
    this.late = config.rope.type === "dynamic";
    this.frequency = frequencies(config.rope, config.headSize);
    const { hidden, headSize, heads, vocabulary } = config;
    const wide = Math.max(...config.widths);
    const floats = (count: number): number => arena.take(count * 4);
    const inner = Math.max(heads * headSize, hidden);
    this.at = {
      x: floats(CHUNK * hidden), h: floats(CHUNK * hidden), q: floats(CHUNK * heads * headSize),
      heads: floats(CHUNK * heads * headSize), gate: floats(CHUNK * wide), up: floats(CHUNK * wide),
      answer: floats(CHUNK * hidden), cos: floats((CHUNK * headSize) / 2), sin: floats((CHUNK * headSize) / 2),
      one: floats(hidden), parts: floats(CHUNK * Math.max(wide, inner)), units: floats(CHUNK), low: floats(CHUNK * Math.max(wide, inner)),
      middle: floats(CHUNK * MOST_RANK),
      logits: floats(CHUNK * Math.max(vocabulary, config.experts)),
    };
    if (config.positions === "alibi") {
      this.slopes = floats(heads);
      this.view(this.slopes, heads).set(alibiSlopes(heads));
    }
    this.cache = arena.take(0);
  }

  /** Bytes that each token takes in the cache. */
  get cacheBytes(): number {
    return this.config.layers * 2 * this.config.kvHeads * this.config.headSize * 4;
  }

  /** The low-rank changes that hold from now on, and how strongly. */
  use(adapters: LowRank[]): void {
    this.adapters = adapters;
  }

  /** Memory that stays, such as an adapter's. The cache lies last, so what it holds is dropped. */
  take(bytes: number): number {
    this.length = this.room = 0;
    this.arena.cut(this.cache);
    const at = this.arena.take(bytes);
    this.cache = this.arena.take(0);
    return at;
  }

  /** Give back the memory of an adapter: the others that lie behind it move up. */
  give(gone: Placed, others: Iterable<Placed>): void {
    this.adapters = [];
    this.length = this.room = 0;
    const behind = [...others].filter(({ at }) => at > gone.at).sort((a, b) => a.at - b.at);
    this.arena.cut(gone.at);
    for (const one of behind) {
      const to = this.arena.take(one.end - one.at);
      const moved = to - one.at;
      this.arena.move(one.at, to, one.end - one.at);
      for (const part of one.layers.values()) (part.a += moved), (part.b += moved);
      (one.at += moved), (one.end += moved);
    }
    this.cache = this.arena.take(0);
  }

  /**
   * Run up to CHUNK ids that follow what the cache holds; afterwards `logits` scores them. `whole` is
   * the length of the text that they are part of.
   */
  forward(ids: readonly number[], hooks: Hooks = {}, whole = this.length + ids.length): void {
    const { config, weights, kernel, at } = this;
    const { hidden, layers } = config;
    const start = this.length;
    const n = ids.length;
    this.reserve(start + n);
    if (config.positions === "rotary") this.writeTables(start, n, whole);
    this.embed(ids, start);
    hooks.stream?.(-1, start, n, this.view(at.x, n * hidden));
    for (let layer = 0; layer < layers; layer++) {
      const parts = weights.layers[layer]!;
      this.norm(at.h, at.x, parts.inputNorm, n);
      this.attention(layer, parts, start, n, hooks);
      hooks.branch?.(layer, "attention", start, n, this.view(at.answer, n * hidden));
      kernel.add_scaled(at.x, at.answer, 1, n * hidden);
      this.norm(at.h, at.x, parts.postNorm, n);
      if (parts.mlp) this.feedForward(parts.mlp, at.h, at.answer, n, (values) => hooks.neurons?.(layer, start, n, values));
      else this.mixture(layer, parts, start, n, hooks);
      hooks.branch?.(layer, "mlp", start, n, this.view(at.answer, n * hidden));
      kernel.add_scaled(at.x, at.answer, 1, n * hidden);
      hooks.stream?.(layer, start, n, this.view(at.x, n * hidden));
    }
    this.length = start + n;
  }

  /** Scores (count, V) of what follows the tokens from `first` on in the stream as it stands. */
  logits(first: number, count: number): Float32Array {
    const { weights, at } = this;
    const { hidden, vocabulary } = this.config;
    this.norm(at.h, at.x + first * hidden * 4, weights.norm, count);
    this.linear(weights.head, at.h, at.logits, count);
    return this.view(at.logits, count * vocabulary);
  }

  /** Scores (V) of a direction (D) of the stream, by the last norm's gain and the head, past all layers. */
  scoresOf(direction: Float32Array): Float32Array {
    const { weights, at } = this;
    const { hidden, vocabulary } = this.config;
    const gain = this.view(weights.norm.gain, hidden);
    this.view(at.h, hidden).set(direction.map((x, i) => x * gain[i]!));
    this.linear(weights.head, at.h, at.logits, 1);
    return this.view(at.logits, vocabulary);
  }

  /** The values (count, K · E) in the cache of a layer. */
  values(layer: number, count: number): Float32Array {
    return this.view(this.kept(layer, 1), count * this.config.kvHeads * this.config.headSize);
  }

  /** A matrix (O, I) written out as floats, with the adapters that are on. */
  matrix({ name, weight, scale, inputs, outputs }: Linear): Float32Array {
    const steps = this.arena.bytes(weight, outputs * inputs);
    const scales = this.view(scale, outputs);
    const full = Float32Array.from(steps, (step, i) => step * scales[Math.floor(i / inputs)]!);
    for (const { layers, scale: factor } of this.adapters) {
      const low = layers.get(name);
      if (!low) continue;
      const a = this.view(low.a, low.rank * inputs);
      const b = this.view(low.b, outputs * low.rank);
      for (let o = 0; o < outputs; o++) {
        for (let r = 0; r < low.rank; r++) {
          const times = factor * b[o * low.rank + r]!;
          for (let i = 0; i < inputs; i++) full[o * inputs + i]! += times * a[r * inputs + i]!;
        }
      }
    }
    return full;
  }

  /** The stream's first state: the rows of the tokens, with what absolute positions add. */
  private embed(ids: readonly number[], start: number): void {
    const { config, weights, kernel, at } = this;
    const { hidden } = config;
    const row = (to: number, table: Linear, index: number, times = 1): void =>
      kernel.widen(to, table.weight + index * hidden, this.view(table.scale, table.outputs)[index]! * times, hidden);
    const wave = config.positions === "sinusoidal";
    for (const [t, id] of ids.entries()) {
      const x = at.x + t * hidden * 4;
      row(x, weights.embed, id, wave ? Math.sqrt(hidden) : 1); // the waves are of size 1, the rows are not
      if (wave) addWave(this.view(x, hidden), start + t);
      if (!weights.positions) continue;
      row(at.one, weights.positions, start + t);
      kernel.add_scaled(x, at.one, 1, hidden);
    }
  }

  private norm(y: number, x: number, { gain, bias }: Norm, n: number): void {
    const { hidden, eps } = this.config;
    if (bias) this.kernel.layer_norm(y, x, gain, bias, n, hidden, eps);
    else this.kernel.rms_norm(y, x, gain, n, hidden, eps);
  }

  /** Where keys that are turned late stand, and the tables for all places: behind the cache. */
  private lateParts(): { turned: number; cos: number; sin: number } {
    const { headSize, kvHeads } = this.config;
    const turned = this.kept(this.config.layers, 0);
    const cos = turned + this.room * kvHeads * headSize * 4;
    return { turned, cos, sin: cos + this.room * headSize * 2 };
  }

  /** The angles of the new places; of all of them, where the whole text's length decides. */
  private writeTables(start: number, n: number, whole: number): void {
    const { rope, headSize } = this.config;
    const { cos, sin } = this.late ? this.lateParts() : this.at;
    const [from, count] = this.late ? [0, start + n] : [start, n];
    const frequency = this.late ? frequencies(rope, headSize, whole) : this.frequency;
    const size = (count * headSize) / 2;
    writeTurns(this.view(cos, size), this.view(sin, size), frequency, from, count, rope.attention);
  }

  /** Turn the n new queries and keys by their places. Returns where the keys of all places stand, turned. */
  private turn(keys: number, start: number, n: number): number {
    const { kernel, at } = this;
    const { heads, kvHeads, headSize, positions } = this.config;
    if (positions !== "rotary") return keys;
    const row = kvHeads * headSize * 4;
    if (!this.late) {
      kernel.rope(at.q, at.cos, at.sin, n, heads, headSize);
      kernel.rope(keys + start * row, at.cos, at.sin, n, kvHeads, headSize);
      return keys;
    }
    const { turned, cos, sin } = this.lateParts();
    const first = start * headSize * 2;
    kernel.rope(at.q, cos + first, sin + first, n, heads, headSize);
    this.arena.bytes(turned, (start + n) * row).set(this.arena.bytes(keys, (start + n) * row));
    kernel.rope(turned, cos, sin, start + n, kvHeads, headSize);
    return turned;
  }

  private attention(layer: number, parts: Layer, start: number, n: number, hooks: Hooks): void {
    const { config, kernel, at } = this;
    const { heads, kvHeads, headSize, eps } = config;
    const row = kvHeads * headSize * 4;
    const keys = this.kept(layer, 0);
    const values = this.kept(layer, 1);
    const k = keys + start * row;
    this.linear(parts.q, at.h, at.q, n);
    this.linear(parts.k, at.h, k, n);
    this.linear(parts.v, at.h, values + start * row, n);
    if (parts.qNorm) kernel.rms_norm(at.q, at.q, parts.qNorm, n * heads, headSize, eps);
    if (parts.kNorm) kernel.rms_norm(k, k, parts.kNorm, n * kvHeads, headSize, eps);
    const turned = this.turn(keys, start, n);
    // The kernel leaves the weights of the last query behind: to see each, ask for one at a time.
    const step = hooks.attention ? 1 : n;
    for (let t = 0; t < n; t += step) {
      const inner = t * heads * headSize * 4;
      kernel.attend(
        at.heads + inner, at.q + inner, turned, values, this.cache, this.room, step, start + t,
        heads, kvHeads, headSize, config.windows[layer]!, config.sinks, this.slopes,
      );
      hooks.attention?.(layer, start + t, this.view(this.cache, heads * this.room), this.room);
    }
    hooks.heads?.(layer, start, n, this.view(at.heads, n * heads * headSize));
    this.linear(parts.o, at.heads, at.answer, n);
  }

  private feedForward(parts: FeedForward, x: number, y: number, n: number, seen?: (values: Float32Array) => void): void {
    const { kernel, at } = this;
    this.linear(parts.up, x, at.up, n);
    if (parts.gate) {
      this.linear(parts.gate, x, at.gate, n);
      kernel.swiglu(at.gate, at.up, n * parts.gate.outputs);
    } else kernel.gelu(at.up, n * parts.up.outputs);
    const inner = parts.gate ? at.gate : at.up;
    seen?.(this.view(inner, n * parts.down.inputs));
    this.linear(parts.down, inner, y, n);
  }

  /** Experts: each token visits those that the router chose, and the shared ones. */
  private mixture(layer: number, parts: Layer, start: number, n: number, hooks: Hooks): void {
    const { config, kernel, at } = this;
    const { hidden } = config;
    const refused = hooks.refused?.(layer);
    const bias = parts.routerBias ? this.view(parts.routerBias, config.experts) : null;
    for (let t = 0; t < n; t++) {
      const x = at.h + t * hidden * 4;
      const y = at.answer + t * hidden * 4;
      this.linear(parts.router!, x, at.logits, 1);
      const { chosen, weight } = chooseExperts(this.view(at.logits, config.experts), config, bias, refused);
      hooks.experts?.(layer, start + t, chosen);
      this.view(y, hidden).fill(0);
      for (let i = 0; i < chosen.length; i++) {
        this.feedForward(parts.experts[chosen[i]!]!, x, at.one, 1);
        kernel.add_scaled(y, at.one, weight[i]!, hidden);
      }
      let open = 1;
      if (parts.sharedGate) {
        this.linear(parts.sharedGate, x, at.logits, 1);
        open = 1 / (1 + Math.exp(-this.view(at.logits, 1)[0]!));
      }
      for (const shared of parts.shared) {
        this.feedForward(shared, x, at.one, 1);
        kernel.add_scaled(y, at.one, open, hidden);
      }
    }
  }

  /** y = W x + b, and s B A x for each adapter that changes W. */
  private linear(matrix: Linear, x: number, y: number, n: number): void {
    const { kernel, at } = this;
    kernel.linear(y, x, matrix.weight, matrix.scale, n, matrix.inputs, matrix.outputs, at.parts, at.units);
    for (let t = 0; matrix.bias && t < n; t++) kernel.add_scaled(y + t * matrix.outputs * 4, matrix.bias, 1, matrix.outputs);
    for (const { layers, scale } of this.adapters) {
      const low = layers.get(matrix.name);
      if (!low) continue;
      kernel.linear_f32(at.middle, x, low.a, n, matrix.inputs, low.rank);
      kernel.linear_f32(at.low, at.middle, low.b, n, low.rank, matrix.outputs);
      kernel.add_scaled(y, at.low, scale, n * matrix.outputs);
    }
  }

  /** Address of a layer's keys (0) or values (1). */
  private kept(layer: number, which: 0 | 1): number {
    const { heads, kvHeads, headSize } = this.config;
    return this.cache + (heads + (layer * 2 + which) * kvHeads * headSize) * this.room * 4;
  }

  /** Make room for so many tokens in the cache; what it holds moves to its new place. */
  private reserve(tokens: number): void {
    const { config, arena } = this;
    if (tokens <= this.room) return;
    if (tokens > config.context) {
      throw new EngineError(`The text has ${tokens} tokens, and this model reads at most ${config.context}; shorten it.`, "input");
    }
    const old = this.room;
    const room = Math.min(config.context, Math.max(256, 2 * old, tokens));
    const late = this.late ? (config.kvHeads + 1) * config.headSize * 4 : 0;
    const each = this.cacheBytes + config.heads * 4 + late;
    arena.cut(this.cache);
    try {
      arena.take(room * each);
    } catch (error) {
      arena.cut(this.cache + old * each);
      throw error;
    }
    const row = config.kvHeads * config.headSize * 4;
    const bytes = arena.bytes(this.cache, room * each);
    // The last first: its new place lies behind everything that has not moved yet.
    for (let part = config.layers * 2 - 1; part >= 0; part--) {
      const from = (config.heads * 4 + part * row) * old;
      bytes.copyWithin((config.heads * 4 + part * row) * room, from, from + this.length * row);
    }
    this.room = room;
  }

  private view(at: number, count: number): Float32Array {
    return this.arena.floats(at, count);
  }
}
