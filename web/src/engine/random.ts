/**
 * Numbers from a seed, and a model that has learned nothing: weights drawn as the package draws them
 * before training (minimind_wiki/model/transformer.py), so that the first stage needs no download.
 */

import type { Config } from "./config";
import type { Tensor } from "./format";
import { quantizeRows } from "./open_quantize";
import { wanted } from "./weights";

/** Uniform numbers in [0, 1), the same for the same seed: Marsaglia's xorshift with 128 bits of state. */
export function chances(seed: number): () => number {
  const state = new Uint32Array(4);
  let mixed = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  for (let i = 0; i < 4; i++) {
    // spread near seeds far apart, and never leave the state at zero
    mixed = (mixed + 0x9e3779b9) >>> 0;
    let z = mixed;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    state[i] = (z ^ (z >>> 16)) | (i === 0 ? 1 : 0);
  }
  const next = (): number => {
    const t = state[3]! ^ (state[3]! << 11);
    state.copyWithin(1, 0, 3);
    state[0] = state[1]! ^ (state[1]! >>> 19) ^ t ^ (t >>> 8);
    return state[0];
  };
  return () => (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53;
}

/** Numbers of a normal distribution around 0 (Box and Muller 1958, two from two). */
export function normals(chance: () => number): () => number {
  let spare: number | null = null;
  return () => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    const length = Math.sqrt(-2 * Math.log(1 - chance()));
    const angle = 2 * Math.PI * chance();
    spare = length * Math.sin(angle);
    return length * Math.cos(angle);
  };
}

/** All tensors of an untrained model of this shape. */
export function untrained(config: Config, seed: number): Map<string, Tensor> {
  const normal = normals(chances(seed));
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, start } of wanted(config)) {
    const drawn = new Float32Array(shape.reduce((a, b) => a * b));
    if ("constant" in start) drawn.fill(start.constant);
    else for (let i = 0; i < drawn.length; i++) drawn[i] = normal() * start.spread;
    if (shape.length === 1) {
      tensors.set(name, { shape, values: drawn });
      continue;
    }
    const values = new Int8Array(drawn.length);
    const scales = new Float32Array(shape[0]!);
    quantizeRows(drawn, shape[0]!, values, scales);
    tensors.set(name, { shape, values, scales });
  }
  return tensors;
}
