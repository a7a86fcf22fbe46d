/**
 * Rotary positions: how many radians each pair of coordinates turns per token, after the scaling that
 * config.json asks for. The sums are those of minimind_wiki/model/rope_scaling.py, rounded to float32
 * where torch rounds, since an angle of a hundred turns shows every lost digit.
 */

import type { Rope } from "./config";

const f = Math.fround;

/** Radians per position of each of the E/2 pairs. `length` is that of the whole text; only "dynamic" asks for it. */
export function frequencies(rope: Rope, headSize: number, length = 0): Float32Array {
  const half = headSize / 2;
  const { type, factor, original, fast, slow } = rope;
  const stretched = type === "dynamic" ? Math.max(1, (factor * length) / original - (factor - 1)) : 1;
  const theta = stretched === 1 ? rope.theta : rope.theta * stretched ** (headSize / (headSize - 2));
  const plain = Float32Array.from({ length: half }, (_, i) => 1 / f(theta ** f((2 * i) / headSize)));
  if (type === "linear") return plain.map((value) => value / factor);
  if (type === "yarn") {
    const pair = (turns: number): number => (half * Math.log(original / (turns * 2 * Math.PI))) / Math.log(rope.theta);
    const first = Math.max(Math.floor(pair(fast)), 0);
    const last = Math.min(Math.ceil(pair(slow)), headSize - 1);
    return plain.map((value, i) => {
      const slowed = Math.min(1, Math.max(0, (i - first) / (last - first || 0.001)));
      return value * (1 - slowed) + (value / factor) * slowed;
    });
  }
  if (type === "llama3") {
    return plain.map((value) => {
      const turns = (original * value) / (2 * Math.PI);
      const kept = Math.min(1, Math.max(0, (turns - slow) / (fast - slow)));
      return value * kept + (value / factor) * (1 - kept);
    });
  }
  return plain;
}

/** cos and sin of the n places from `start` on, each (n, E/2), written to the two views. */
export function writeTurns(
  cos: Float32Array, sin: Float32Array, frequency: Float32Array, start: number, n: number, size: number,
): void {
  for (let t = 0, at = 0; t < n; t++) {
    for (let i = 0; i < frequency.length; i++, at++) {
      const angle = f((start + t) * frequency[i]!);
      cos[at] = Math.cos(angle) * size;
      sin[at] = Math.sin(angle) * size;
    }
  }
}
