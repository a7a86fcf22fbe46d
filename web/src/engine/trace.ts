/**
 * A pass over a whole text that keeps what a reader wants to see: attention, the stream after every
 * layer, and what the model would say if it ended there (the logit lens: nostalgebraist 2020).
 *
 * Shapes: T tokens, L layers, D hidden, H heads, K key-value heads, E head size, V vocabulary.
 */

import { EngineError, type Candidate, type Trace, type TraceWish } from "./api";
import type { Hooks, Model } from "./model";
import { neurons, neuronsOf } from "./neurons";
import { entropyBits, largest, rankOf, softmax } from "./odds";
import type { Session } from "./session";
import type { Tokenizer } from "./tokenizer";

const MOST_BYTES = 400e6; // of what is handed to the page

/** The likeliest tokens of a distribution, and where one of them stands. */
export function told(probabilities: Float64Array, top: number, tokenizer: Tokenizer): Candidate[] {
  return largest(probabilities, top).map((id, rank) => ({ id, text: tokenizer.show(id), probability: probabilities[id]!, rank }));
}

export function placed(probabilities: Float64Array, id: number, tokenizer: Tokenizer): Candidate {
  return { id, text: tokenizer.show(id), probability: probabilities[id]!, rank: rankOf(probabilities, id) };
}

export function trace(session: Session, tokenizer: Tokenizer, ids: number[], wish: TraceWish = {}): Trace {
  const { model } = session;
  const { layers, heads, hidden, vocabulary, expertsPerToken, sparse } = model.config;
  const T = ids.length;
  const top = Math.min(Math.max(0, Math.floor(wish.top ?? 10)), vocabulary);
  const bytes = (wish.attention ? 2 * layers * heads * T * T * 4 : 0) + (wish.stream ? (layers + 1) * T * hidden * 4 : 0);
  if (bytes > MOST_BYTES) throw new EngineError(`To show all of ${T} tokens takes ${Math.ceil(bytes / 1e6)} MB; give a shorter text.`, "memory");
  const each = <Kind>(count: number, make: () => Kind): Kind[] => Array.from({ length: count }, make);
  const result: Trace = { ids, texts: ids.map((id) => tokenizer.show(id)), next: [] };
  const attention = wish.attention ? each(layers, () => new Float32Array(heads * T * T)) : null;
  const stream = wish.stream ? each(layers + 1, () => new Float32Array(T * hidden)) : null;
  const added = wish.stream ? each(layers, () => new Float32Array(T * 2)) : null;
  const lens: NonNullable<Trace["lens"]> | null = wish.lens ? each(layers + 1, () => []) : null;
  const width = wish.neurons ? neuronsOf(model, wish.neurons.layer) : 0;
  const fired = new Float32Array(T * width);
  const experts = sparse.some(Boolean) ? each(layers, () => new Int32Array(T * expertsPerToken).fill(-1)) : null;

  const watch: Hooks = {
    stream: (layer, start, n, x) => {
      stream?.[layer + 1]!.set(x, start * hidden);
      const last = layer === layers - 1;
      if (!lens && !last) return;
      const scores = model.logits(0, n);
      for (let t = 0; t < n; t++) {
        const probabilities = softmax(scores.subarray(t * vocabulary, (t + 1) * vocabulary));
        const following = ids[start + t + 1];
        const actual = following === undefined ? null : placed(probabilities, following, tokenizer);
        const row = { top: told(probabilities, top, tokenizer), actual };
        lens?.[layer + 1]!.push(row);
        if (last) result.next.push({ ...row, entropyBits: entropyBits(probabilities) });
      }
    },
    branch: (layer, part, start, n, values) => {
      for (let t = 0; added && t < n; t++) {
        let sum = 0;
        for (let i = t * hidden; i < (t + 1) * hidden; i++) sum += values[i]! * values[i]!;
        added[layer]![(start + t) * 2 + (part === "attention" ? 0 : 1)] = Math.sqrt(sum);
      }
    },
    neurons: (layer, start, _n, values) => {
      if (layer === wish.neurons?.layer) fired.set(values, start * width);
    },
    experts: (layer, position, chosen) => experts?.[layer]!.set(chosen, position * expertsPerToken),
  };
  if (attention) {
    watch.attention = (layer, position, weights, room) => {
      for (let h = 0; h < heads; h++) attention[layer]!.set(weights.subarray(h * room, h * room + position + 1), (h * T + position) * T);
    };
  }
  session.advance(ids, wish.edits, 1, watch);
  if (attention) {
    result.attention = attention;
    result.valueWeighted = attention.map((weights, layer) => valueWeighted(model, layer, weights, T));
  }
  if (stream) result.stream = stream;
  if (added) result.added = added;
  if (lens) result.lens = lens;
  if (experts) result.experts = experts;
  if (wish.neurons) result.neurons = neurons(model, tokenizer, fired, wish.neurons);
  return result;
}

/**
 * Weight times the length of what comes with it, |a · v W_o|, each row made to sum to 1: a head that
 * looks at a token whose value is near zero takes nothing from it (Kobayashi et al. 2020,
 * arXiv:2004.10102). |v W_o|² = v (W_o W_oᵀ) v, so that one E × E product serves all tokens.
 */
function valueWeighted(model: Model, layer: number, weights: Float32Array, T: number): Float32Array {
  const { heads, kvHeads, headSize: E, hidden } = model.config;
  const out = model.matrix(model.weights.layers[layer]!.o);
  const values = model.values(layer, T);
  const shared = new Float32Array(heads * T * T);
  for (let h = 0; h < heads; h++) {
    const square = new Float64Array(E * E);
    for (let d = 0; d < hidden; d++) {
      const row = d * heads * E + h * E;
      for (let i = 0; i < E; i++) for (let j = 0; j < E; j++) square[i * E + j]! += out[row + i]! * out[row + j]!;
    }
    const length = Float64Array.from({ length: T }, (_, s) => {
      const v = (s * kvHeads + Math.floor((h * kvHeads) / heads)) * E;
      let sum = 0;
      for (let i = 0; i < E; i++) for (let j = 0; j < E; j++) sum += values[v + i]! * square[i * E + j]! * values[v + j]!;
      return Math.sqrt(Math.max(0, sum));
    });
    for (let t = 0; t < T; t++) {
      const row = (h * T + t) * T;
      let sum = 0;
      for (let s = 0; s <= t; s++) sum += shared[row + s] = weights[row + s]! * length[s]!;
      for (let s = 0; sum > 0 && s <= t; s++) shared[row + s]! /= sum;
    }
  }
  return shared;
}
