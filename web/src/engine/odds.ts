/** From scores to what a reader is shown: probabilities, ranks, the likeliest tokens, entropy. */

import { EngineError } from "./api";

/**
 * softmax(scores) in float64, whatever the scores are stored in. EngineError where they are no
 * numbers: weights that are damaged can be so large that a pass overflows.
 */
export function softmax(scores: ArrayLike<number>): Float64Array {
  let best = -Infinity;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > best) best = scores[i]!;
  const powers = new Float64Array(scores.length);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += powers[i] = Math.exp(scores[i]! - best);
  if (!(sum > 0)) throw new EngineError("The model's scores are no numbers: its weights are damaged, or larger than this engine can compute with.", "damaged");
  for (let i = 0; i < powers.length; i++) powers[i] = powers[i]! / sum;
  return powers;
}

/** The `count` largest, the largest first; of equals the lower index first. */
export function largest(values: ArrayLike<number>, count: number): number[] {
  const kept: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (kept.length === count && !(value > values[kept[count - 1]!]!)) continue;
    let place = kept.length;
    while (place > 0 && value > values[kept[place - 1]!]!) place--;
    kept.splice(place, 0, i);
    if (kept.length > count) kept.pop();
  }
  return kept;
}

/** How many come before `index` in the order of `largest`. */
export function rankOf(values: ArrayLike<number>, index: number): number {
  const own = values[index]!;
  let rank = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > own || (values[i] === own && i < index)) rank++;
  return rank;
}

/** -Σ p log2 p: how many yes-or-no questions the next token is worth. */
export function entropyBits(probabilities: ArrayLike<number>): number {
  let bits = 0;
  for (let i = 0; i < probabilities.length; i++) {
    const p = probabilities[i]!;
    if (p > 0) bits -= p * Math.log2(p);
  }
  return bits;
}
