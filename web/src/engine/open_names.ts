/**
 * Where each tensor of a model is found in a Hugging Face folder: most under their own names, the
 * experts of Mixtral and Qwen2-MoE under others (minimind_wiki/infer/hub_moe.py has the same table), and
 * all of GPT-2 (hub_tensors.py), which stores its matrices transposed, and q, k and v as one.
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
  /** The source stands with its axes changed over; `part` is of what it becomes. */
  transposed?: boolean;
}

const MIXTRAL: Record<string, string> = { gate_proj: "w1", down_proj: "w2", up_proj: "w3" };
const SHARED = /\.shared_experts\.(\d+)\.(\w+)\.weight$/;

/** All tensors of the model, in the order of a pass. A tied head is the embedding, and is not listed. */
export function sought(config: Config): Sought[] {
  return wanted(config).map(({ name, shape }) => {
    if (config.family === "gpt2") return soughtInGpt2(name, shape);
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

const GPT2: [string, string][] = [
  ["model.embed_tokens", "transformer.wte"], ["model.embed_positions", "transformer.wpe"], ["model.norm", "transformer.ln_f"],
  ["model.layers", "transformer.h"], ["input_layernorm", "ln_1"], ["post_attention_layernorm", "ln_2"],
  ["self_attn.o_proj", "attn.c_proj"], ["mlp.up_proj", "mlp.c_fc"], ["mlp.down_proj", "mlp.c_proj"],
];

function soughtInGpt2(name: string, shape: number[]): Sought {
  const letter = /self_attn\.([qkv])_proj/.exec(name);
  const ours = letter ? name.replace(letter[0], "attn.c_attn") : name;
  const source = GPT2.reduce((text, [from, to]) => text.replace(from, to), ours);
  return {
    name, shape, source, transposed: /\.c_(attn|proj|fc)\.weight$/.test(source),
    ...(letter ? { part: { axis: 0 as const, index: "qkv".indexOf(letter[1]!), of: 3 } } : {}),
  };
}

/** The folder's tensors under the names that are sought: some GPT-2s are saved without their first word, or with their mask. */
export function inFullNames(config: Config, found: Map<string, Stored>): Map<string, Stored> {
  if (config.family !== "gpt2") return found;
  const kept = [...found].filter(([name]) => !name.endsWith(".attn.bias"));
  return new Map(kept.map(([name, stored]) => [/^(transformer\.|lm_head)/.test(name) ? name : `transformer.${name}`, stored]));
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
  for (const { name, shape, source, part, transposed } of all) {
    const whole = shape.map((side, axis) => (part?.axis === axis ? side * part.of : side));
    if (transposed) whole.reverse();
    const there = found.get(source)?.shape ?? [];
    if (whole.join() !== there.join()) {
      throw new EngineError(`${name} has the shape (${there.join(", ")}), but config.json asks for (${whole.join(", ")}). Take the config.json that was saved with these weights.`, "damaged");
    }
  }
}
