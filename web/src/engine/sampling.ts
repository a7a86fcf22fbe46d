/**
 * From scores to one token. The filters and their order are those of minimind_wiki/infer/draw.py: bias,
 * repetition, presence and frequency, repeated n-grams; then temperature, top-k, top-p, min-p, typical.
 * Refused tokens get the score -Infinity. tests/parity/test_page_engine.py holds each equal to ours.
 */

import { EngineError, type Sampling } from "./api";
import { largest, softmax } from "./odds";

/** Changes nothing, and takes the likeliest token. */
export const GREEDY: Sampling = {
  temperature: 0, topK: 0, topP: 1, minP: 0, typicalP: 1, repetitionPenalty: 1, presencePenalty: 0,
  frequencyPenalty: 0, noRepeatNgram: 0, bias: {}, seed: 0,
};

/** The text so far: all ids, and how many of them were given, not drawn. */
export interface History { ids: readonly number[]; given: number }

const RANGES: Record<Exclude<keyof Sampling, "bias">, [number, number]> = {
  temperature: [0, 1000], topK: [0, 2 ** 31], topP: [0, 1], minP: [0, 1], typicalP: [0.001, 1],
  repetitionPenalty: [0.01, 100], presencePenalty: [-100, 100], frequencyPenalty: [-100, 100],
  noRepeatNgram: [0, 1000], seed: [-(2 ** 53), 2 ** 53],
};

/** All settings, checked. EngineError "input" names the one that has no meaning. */
export function settings(given: Partial<Sampling> = {}): Sampling {
  const told = Object.entries(given).filter(([, value]) => value !== undefined);
  const all: Sampling = { ...GREEDY, ...Object.fromEntries(told) };
  for (const [name, [low, high]] of Object.entries(RANGES) as [keyof typeof RANGES, [number, number]][]) {
    const value = all[name];
    if (typeof value !== "number" || !(value >= low && value <= high)) throw new EngineError(`${name} is ${value}; give a number from ${low} to ${high}.`, "input");
  }
  if (all.temperature > 0 && all.temperature < 1e-5) throw new EngineError("temperature is too near 0; give 0, or 0.00001 or more.", "input");
  return all;
}

/** The distribution (V) that the next token is drawn from; with temperature 0 all of it on the best. */
export function shape(scores: ArrayLike<number>, sampling: Sampling, history: History): Float64Array {
  const changed = adjust(Float64Array.from(scores), sampling, history);
  if (sampling.temperature === 0) {
    const certain = new Float64Array(scores.length);
    certain[largest(changed, 1)[0]!] = 1;
    return certain;
  }
  return softmax(cut(changed, sampling));
}

/** What depends on the text so far. */
export function adjust(scores: Float64Array, sampling: Sampling, { ids, given }: History): Float64Array {
  for (const [id, bias] of Object.entries(sampling.bias)) if (Number(id) < scores.length) scores[Number(id)]! += bias;
  const { repetitionPenalty, presencePenalty, frequencyPenalty, noRepeatNgram } = sampling;
  if (repetitionPenalty !== 1) {
    for (const id of new Set(ids)) scores[id] = scores[id]! < 0 ? scores[id]! * repetitionPenalty : scores[id]! / repetitionPenalty;
  }
  if (presencePenalty || frequencyPenalty) {
    const drawn = ids.slice(given);
    for (const id of drawn) scores[id]! -= frequencyPenalty;
    for (const id of new Set(drawn)) scores[id]! -= presencePenalty;
  }
  if (!noRepeatNgram || ids.length < noRepeatNgram) return scores;
  const free = scores.slice();
  const begun = ids.slice(ids.length + 1 - noRepeatNgram);
  for (let at = 0; at + noRepeatNgram <= ids.length; at++) {
    if (begun.every((id, i) => ids[at + i] === id)) free[ids[at + noRepeatNgram - 1]!] = -Infinity;
  }
  return free.some(Number.isFinite) ? free : scores; // a rule that leaves no token does not hold
}

/** Temperature, and what cuts the distribution. */
export function cut(scores: Float64Array, sampling: Sampling): Float64Array {
  const { temperature, topK, topP, minP, typicalP } = sampling;
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / temperature;
  if (topK > 0) keepTopK(scores, topK);
  if (topP < 1) keepTopP(scores, topP);
  if (minP > 0) keepMinP(scores, minP);
  if (typicalP < 1) keepTypical(scores, typicalP);
  return scores;
}

/** Refuse every score below the k-th largest. */
function keepTopK(scores: Float64Array, k: number): void {
  if (k >= scores.length) return;
  const kth = Float64Array.from(scores).sort()[scores.length - k]!;
  refuse(scores, (i) => scores[i]! < kth);
}

/** Keep the fewest most probable tokens whose probabilities reach p together; always the first. */
function keepTopP(scores: Float64Array, p: number): void {
  const probability = softmax(scores);
  const order = byValue(probability, (i) => -probability[i]!);
  const refused = new Set<number>();
  let before = 0;
  for (const [place, i] of order.entries()) {
    if (place > 0 && before >= p) refused.add(i);
    before += probability[i]!;
  }
  refuse(scores, (i) => refused.has(i));
}

/** Refuse tokens less likely than p times the likeliest (Nguyen et al. 2024, arXiv:2407.01082). */
function keepMinP(scores: Float64Array, p: number): void {
  const probability = softmax(scores);
  const bar = p * probability.reduce((a, b) => Math.max(a, b), 0);
  refuse(scores, (i) => probability[i]! < bar);
}

/** Keep the tokens whose surprise is nearest to the expected one (Meister et al. 2022, arXiv:2202.00666). */
function keepTypical(scores: Float64Array, mass: number): void {
  const probability = softmax(scores);
  const entropy = probability.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
  const distance = probability.map((p) => Math.abs(-Math.log(p) - entropy));
  const order = byValue(probability, (i) => distance[i]!);
  let together = 0;
  let last = order.at(-1)!;
  for (const i of order) {
    together += probability[i]!;
    if (together >= mass) {
      last = i;
      break;
    }
  }
  refuse(scores, (i) => !(distance[i]! <= distance[last]!));
}

/** Indices of what is possible at all, ordered by a key. */
function byValue(probability: Float64Array, key: (index: number) => number): number[] {
  const possible: number[] = [];
  for (let i = 0; i < probability.length; i++) if (probability[i]! > 0) possible.push(i);
  return possible.sort((a, b) => key(a) - key(b) || a - b);
}

function refuse(scores: Float64Array, which: (index: number) => boolean): void {
  const refused: number[] = [];
  for (let i = 0; i < scores.length; i++) if (which(i)) refused.push(i);
  for (const i of refused) scores[i] = -Infinity;
}

/** One index, drawn with these weights; `chance` gives numbers from 0 to 1. */
export function drawFrom(weights: Float64Array, chance: () => number): number {
  const point = chance() * weights.reduce((a, b) => a + b, 0);
  let sum = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i]! <= 0) continue;
    last = i;
    sum += weights[i]!;
    if (point < sum) return i;
  }
  return last; // rounding left the point behind the end
}
