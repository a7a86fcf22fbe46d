/** A LoRA in the kernel's memory: W x + s · B (A x), where A is (R, I) and B is (O, R). */

import { EngineError } from "./api";
import type { AdapterFile } from "./format";
import { MOST_RANK, type Placed } from "./model";
import type { Model } from "./model";
import type { Session } from "./session";
import type { Linear } from "./weights";

/** The matrices that an adapter may change, by their names. */
function matrices(model: Model): Map<string, Linear> {
  const found = new Map<string, Linear>();
  for (const layer of model.weights.layers) {
    const blocks = [...(layer.mlp ? [layer.mlp] : []), ...layer.experts, ...layer.shared];
    for (const part of [layer.q, layer.k, layer.v, layer.o, ...blocks.flatMap(({ gate, up, down }) => [...(gate ? [gate] : []), up, down])]) found.set(part.name, part);
  }
  return found;
}

/**
 * Place an adapter beside its model, in the place of an earlier one of this name. EngineError where it
 * belongs to another model; the earlier one then stays.
 */
export function placeAdapter(id: string, file: AdapterFile, session: Session, modelHash: string): void {
  const { model } = session;
  if (file.base && file.base !== modelHash) throw new EngineError("The adapter was made for other weights than these; load the model that it belongs to.", "damaged");
  const known = matrices(model);
  const names = new Set([...file.tensors.keys()].map((name) => name.replace(/\.lora_[AB]$/, "")));
  let bytes = 0;
  const plan: [string, Float32Array, Float32Array][] = [];
  for (const name of names) {
    const matrix = known.get(name);
    const a = file.tensors.get(`${name}.lora_A`);
    const b = file.tensors.get(`${name}.lora_B`);
    const fits = matrix && a && b && file.rank <= MOST_RANK && a.shape[0] === file.rank && a.shape[1] === matrix.inputs;
    if (!fits || b.shape[0] !== matrix.outputs || b.shape[1] !== file.rank) {
      throw new EngineError(`The adapter does not fit this model (${name.slice(0, 80)}); open the model that it was trained on, then the adapter.`, "damaged");
    }
    plan.push([name, a.values as Float32Array, b.values as Float32Array]);
    bytes += a.values.byteLength + b.values.byteLength;
  }
  session.drop(id);
  const start = model.take(bytes);
  let at = start;
  const put = (values: Float32Array): number => {
    model.arena.floats(at, values.length).set(values);
    at += values.byteLength;
    return at - values.byteLength;
  };
  const layers = new Map(plan.map(([name, a, b]) => [name, { a: put(a), b: put(b), rank: file.rank }]));
  session.forget();
  session.adapters.set(id, { scale: file.scale, layers, at: start, end: at } satisfies Placed);
}
