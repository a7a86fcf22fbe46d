/**
 * The neurons of one MLP on a text: those that fire most at a token, and which words the value of
 * each raises. A neuron is one number that the MLP projects down again; its value is the column of
 * that projection (Geva et al. 2021, arXiv:2012.14913), read straight by the last norm's gain and the
 * head, past all layers above. `minimind_wiki/book/views/make.py` records the same.
 *
 * Shapes: T tokens, F neurons, D hidden.
 */

import { EngineError, type Neurons, type NeuronWish } from "./api";
import type { Model } from "./model";
import { largest } from "./odds";
import type { Tokenizer } from "./tokenizer";

const RAISED = 3; // words of each

/** The `top` neurons of row `at` of (T, F), largest first whatever their sign; `keep` comes before them. */
export function firing(values: Float32Array, width: number, at: number, top: number, keep = -1): number[] {
  const sizes = values.subarray(at * width, (at + 1) * width).map(Math.abs);
  const found = largest(sizes, Math.min(top, width));
  if (keep < 0 || keep >= width) return found;
  return [keep, ...found.filter((neuron) => neuron !== keep)].slice(0, Math.max(1, found.length));
}

/** The place of the largest number, whatever its sign. */
export function peak(values: number[]): number {
  return values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best] ?? 0) ? i : best), 0);
}

/** Width F of a layer's MLP. EngineError for a layer that is not there, or that has experts. */
export function neuronsOf(model: Model, layer: number): number {
  const { layers } = model.config;
  if (!Number.isInteger(layer) || layer < 0 || layer >= layers) {
    throw new EngineError(`There is no layer ${layer} in this model; they go from 0 to ${layers - 1}.`, "input");
  }
  const { mlp } = model.weights.layers[layer]!;
  if (!mlp) throw new EngineError(`Layer ${layer} of this model has experts in place of one feed-forward; choose another layer or model.`, "input");
  return mlp.up.outputs;
}

/** The rows that a page shows, from the values (T, F) of all. */
export function neurons(model: Model, tokenizer: Tokenizer, values: Float32Array, wish: NeuronWish): Neurons {
  const width = neuronsOf(model, wish.layer);
  const size = values.length / width;
  const at = wish.at < 0 || wish.at >= size ? size - 1 : wish.at;
  const down = model.matrix(model.weights.layers[wish.layer]!.mlp!.down);
  const rows = firing(values, width, at, wish.top, wish.keep).map((neuron) => {
    const own = Array.from({ length: size }, (_, t) => values[t * width + neuron]!);
    const sign = Math.sign(own[peak(own)]!) || 1;
    const value = Float32Array.from({ length: model.config.hidden }, (_, d) => sign * down[d * width + neuron]!);
    return { neuron, values: own, raises: largest(model.scoresOf(value), RAISED).map((id) => tokenizer.show(id)) };
  });
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return { width, at, most, rows };
}
