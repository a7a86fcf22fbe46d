/** A Hugging Face model folder as a bundle: read, checked against config.json, quantized row by row. */

import { EngineError } from "./api";
import type { Progress } from "./api";
import type { Config } from "./config";
import { requireMemory } from "./guard";
import type { Plain } from "./guard_json";
import { checkTensors, inFullNames, sought } from "./open_names";
import type { Sought } from "./open_names";
import { layOut, quantizeRows, writeBundle } from "./open_quantize";
import { readFloats } from "./open_safetensors";
import type { Stored } from "./open_safetensors";

export interface Ways {
  tell: (progress: Progress) => void;
  signal?: AbortSignal | undefined;
  hashOf: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
}

/** The bundle's file. The largest tensor stands in memory as float32 beside it, and no more. */
export async function bundleModel(
  about: Plain, config: Config, found: Map<string, Stored>, beside: Map<string, string>, { tell, signal, hashOf }: Ways,
): Promise<ArrayBuffer> {
  const all = sought(config);
  const stored = inFullNames(config, found);
  checkTensors(all, stored, config.tied);
  const plan = layOut(all);
  const largest = Math.max(...[...stored.values()].map(({ blob }) => blob.size)) * 4;
  requireMemory(2.2 * plan.bytes + largest, "This model"); // here, and once more in the engine
  const byName = new Map(all.map((tensor) => [tensor.name, tensor]));
  const files: Record<string, string> = {};
  for (const [name, content] of beside) files[name] = await hashOf(new TextEncoder().encode(content));
  let done = 0;
  const bundle = await writeBundle({ config: about, files }, plan, async (entry, data, start) => {
    if (signal?.aborted) throw new EngineError("Opening was stopped.", "stopped");
    const tensor = byName.get(entry.name) as Sought;
    const values = part(await readFloats(stored.get(tensor.source) as Stored, tensor.source), tensor);
    const [rows] = entry.shape as [number];
    if (entry.dtype === "float32") new Float32Array(data, start + entry.offset, values.length).set(values);
    else quantizeRows(values, rows, new Int8Array(data, start + entry.offset, values.length), new Float32Array(data, start + (entry.scales as number), rows));
    done += entry.dtype === "int8" ? values.length : 4 * values.length;
    tell({ loaded: Math.min(done, plan.bytes), total: plan.bytes, from: "disk" });
  }, hashOf);
  tell({ loaded: plan.bytes, total: plan.bytes, from: "disk" });
  return bundle;
}

/** The rows or columns that are this tensor's, where several lie side by side in the source. */
function part(read: Float32Array, { shape, part: share, transposed }: Sought): Float32Array {
  const [rows, columns = 1] = shape as [number, number?];
  const values = transposed ? changedOver(read, columns) : read;
  if (!share) return values;
  if (share.axis === 0) return values.subarray(share.index * rows * columns, (share.index + 1) * rows * columns);
  const wide = columns * share.of;
  const cut = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const from = row * wide + share.index * columns;
    cut.set(values.subarray(from, from + columns), row * columns);
  }
  return cut;
}

/** A matrix of so many rows with its axes changed over. */
function changedOver(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows;
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}
