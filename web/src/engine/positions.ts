/**
 * Positions that are not rotary: a wave added to the embedding, a penalty on distance. The sums are
 * those of minimind_wiki/model/positions.py.
 */

/** How positions enter a model: turned keys, a learned table, waves, a penalty on distance, or not at all. */
export const POSITIONS = ["rotary", "learned", "sinusoidal", "alibi", "none"] as const;
export type Positions = (typeof POSITIONS)[number];

const f = Math.fround;

/** Add sin(p · f) and cos(p · f) in turn, f = 10000^(-2i/D), to the D numbers of place p (Vaswani et al. 2017). */
export function addWave(x: Float32Array, place: number): void {
  for (let i = 0; i < x.length; i += 2) {
    const angle = f(place / f(10000 ** f(i / x.length)));
    x[i]! += f(Math.sin(angle));
    x[i + 1]! += f(Math.cos(angle));
  }
}

/** How much a score loses for each token of distance, one for each head (Press et al. 2022). */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  return Array.from({ length: heads }, (_, h) => 2 ** (h < power ? (-8 / power) * (h + 1) : (-4 / power) * (2 * (h - power) + 1)));
}
