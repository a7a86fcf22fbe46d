/**
 * The one scale of the site for probabilities and weights of attention: six steps, evenly spaced in
 * the square root, so that the small ones are told apart too. Its colours are `--mm-seq-0` … `-5`.
 * `minimind_wiki/book/views/scale.py` draws the recorded pictures with the same steps.
 */

export const STEPS = 6;

/** The step of a number from 0 to 1: 0 below 3 %, 5 from 69 % on. */
export function step(share: number): number {
  if (!(share > 0)) return 0;
  return Math.min(STEPS - 1, Math.floor(STEPS * Math.sqrt(share) + 1e-9));
}

/** Where the steps begin: 0, 1/36, 4/36 … */
export const BOUNDS: number[] = Array.from({ length: STEPS }, (_, k) => (k / STEPS) ** 2);

/** A share as readers see it: "42 %", "0.3 %", "< 0.1 %". */
export function percent(share: number): string {
  if (share <= 0) return "0 %";
  if (share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
