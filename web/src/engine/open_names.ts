/**
 * Where each tensor of a model is found in a Hugging Face folder: most under their own names, the
 * experts of Mixtral and Qwen2-MoE under others (minimind_wiki/infer/hub_moe.py has the same table).
 */

import { EngineError } from "./api";
import type { Config } from "./config";
import type { Stored } from "./open_safetensors";
import { wanted } from "./weights";

export interface Sought {
  name: string;
  shape: number[];
  /** The tensor in the folder. */
  source: string;
  /** It is one of several that lie side by side in the source, along this axis. */
  part?: { axis: 0 | 1; index: number; of: number };
}

const MIXTRAL: Record<string, string> = { gate_proj: "w1", down_proj: "w2", up_proj: "w3" };
const SHARED = /\.shared_experts\.(\d+)\.(\w+)\.weight$/;

/** All tensors of the model, in the order of a pass. A tied head is the embedding, and is not listed. */
export function sought(config: Config): Sought[] {
  return wanted(config).map(({ name, shape }) => {
    if (config.family === "mixtral") {
      const theirs = name.replace(".mlp.", ".block_sparse_moe.");
      return { name, shape, source: theirs.includes(".experts.") ? theirs.replace(/(gate|up|down)_proj/, (part) => MIXTRAL[part] as string) : theirs };
    }
    const shared = config.family === "qwen2_moe" ? SHARED.exec(name) : null;
    if (!shared) return { name, shape, source: name };
    const [, index, part] = shared as unknown as [string, string, string]; // several are stored as one wide one
    return { name, shape, source: name.replace(SHARED, `.shared_expert.${part}.weight`), part: { axis: part === "down_proj" ? 1 : 0, index: Number(index), of: config.sharedExperts } };
  });
}

/** Tables that can be computed, which some folders store nevertheless. */
const COMPUTED = [".inv_freq", ".attn.masked_bias"];

/** EngineError, naming the first that differ, unless the folder holds exactly what config.json asks for. */
export function checkTensors(all: Sought[], found: Map<string, Stored>, tied: boolean): void {
  const names = new Set(all.map(({ source }) => source));
  const missing = [...names].filter((name) => !found.has(name));
  const extra = [...found.keys()].filter((name) => !names.has(name) && !COMPUTED.some((end) => name.endsWith(end)) && !(tied && name === "lm_head.weight"));
  if (missing.length || extra.length) {
    const some = (what: string, list: string[]): string[] => (list.length ? [`${what} ${list.slice(0, 3).join(", ").slice(0, 200)}${list.length > 3 ? ` and ${list.length - 3} more` : ""}`] : []);
    const said = [...some("lacks", missing), ...some("has besides", extra)].join("; it ");
    throw new EngineError(`The weights do not belong to this config.json: the file ${said}. Take the config.json that was saved with them.`, "unsupported");
  }
  for (const { name, shape, source, part } of all) {
    const whole = shape.map((side, axis) => (part?.axis === axis ? side * part.of : side));
    const there = found.get(source)?.shape ?? [];
    if (whole.join() !== there.join()) {
      throw new EngineError(`${name} has the shape (${there.join(", ")}), but config.json asks for (${whole.join(", ")}). Take the config.json that was saved with these weights.`, "damaged");
    }
  }
}
