/** What temperature and the cuts make of one distribution: rows for the picture, and its measures. Pure. */

import type { Sampling } from "../engine/api";
import { entropyBits, largest } from "../engine/odds";
import { shape } from "../engine/sampling";

export interface Pair { id: number; text: string; before: number; after: number; refused: boolean }
export interface Reshaped { pairs: Pair[]; rest: { before: number; after: number; count: number }; bitsBefore: number; bitsAfter: number; kept: number; shaped: Float64Array }

/**
 * The `count` likeliest tokens before and after, and all others together.
 * `raw` (V): probabilities at temperature 1. Their logarithms are scores as good as the model's own:
 * a constant that is added to all scores changes no distribution.
 */
export function reshape(raw: ArrayLike<number>, texts: string[], sampling: Sampling, count: number): Reshaped {
  const scores = Float64Array.from(raw, (p) => Math.log(Math.max(p, 1e-45)));
  const shaped = shape(scores, sampling, { ids: [], given: 0 });
  const order = largest(raw, count);
  const pairs = order.map((id) => ({ id, text: texts[id] ?? "", before: raw[id] ?? 0, after: shaped[id] ?? 0, refused: !((shaped[id] ?? 0) > 0) }));
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  let kept = 0;
  for (const p of shaped) if (p > 0) kept += 1;
  return {
    pairs,
    rest: {
      before: Math.max(0, 1 - sum(pairs.map((pair) => pair.before))),
      after: Math.max(0, 1 - sum(pairs.map((pair) => pair.after))),
      count: raw.length - pairs.length,
    },
    bitsBefore: entropyBits(raw), bitsAfter: entropyBits(shaped), kept, shaped,
  };
}

/** What the full width of the bars stands for: the least of a few round shares that holds them all. */
export function fullWidth({ pairs, rest }: Reshaped): number {
  const longest = Math.max(rest.before, rest.after, ...pairs.map((pair) => Math.max(pair.before, pair.after)));
  return [0.1, 0.25, 0.5].find((share) => longest <= share) ?? 1;
}
