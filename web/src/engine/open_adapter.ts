/**
 * A LoRA folder in PEFT's format, read as minimind_wiki/infer/adapter.py reads it: for each layer, by its
 * full name, A (R, I) and B (O, R), and s = alpha / R, or alpha / √R with rank stabilization.
 */

import { EngineError } from "./api";
import type { AdapterFile, Tensor } from "./format";
import { count, shown, type Plain } from "./guard_json";
import { MOST_RANK } from "./model";
import { readFloats, readHeader } from "./open_safetensors";

export interface NamedAdapter {
  /** The folder's own name. */
  name: string;
  /** What the folder calls its model: the last part of a path or of a hub's name; may be empty. */
  base: string;
  file: AdapterFile;
}

const PREFIX = "base_model.model.";
const READ = ["peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "init_lora_weights"];
/** Of the numbers that an adapter computes, these say nothing. */
const SILENT = [
  "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "target_modules",
  "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_core", "megatron_config", "qalora_group_size",
  "runtime_config", "ensure_weight_tying",
];
const PLAIN_START: unknown[] = [true, false, null, undefined, "gaussian", "orthogonal", "eva"]; // others change the base too

/** The adapter; EngineError for an option that is not computed, and for files that do not fit together. */
export async function readPeft(about: Plain, weights: Blob): Promise<{ base: string; file: AdapterFile }> {
  if (about.peft_type !== "LORA") throw new EngineError(`adapter_config.json describes ${shown(about.peft_type ?? "no adapter")}, and the page applies LORA only.`, "unsupported");
  const strange = Object.keys(about).find((key) => !isNothing(about[key]) && !READ.includes(key) && !SILENT.includes(key))
    ?? (["none", undefined, null].includes(about.bias as string) ? undefined : "bias")
    ?? (PLAIN_START.includes(about.init_lora_weights) ? undefined : "init_lora_weights");
  if (strange) throw new EngineError(`adapter_config.json sets ${shown(strange)} to ${shown(about[strange])}, which the page does not compute. Merge the adapter into its model, and open that.`, "unsupported");
  const rank = count(about.r, "r in adapter_config.json", 1, MOST_RANK);
  const alpha = about.lora_alpha ?? 8;
  if (typeof alpha !== "number" || !Number.isFinite(alpha)) throw new EngineError(`adapter_config.json gives lora_alpha as ${shown(alpha)}, which is no number.`, "damaged");
  const tensors = new Map<string, Tensor>();
  for (const [name, stored] of await readHeader(weights, "adapter_model.safetensors")) {
    const plain = /^base_model\.model\.(.+\.lora_[AB])\.weight$/.exec(name)?.[1];
    if (!plain || stored.shape.length !== 2) throw new EngineError(`adapter_model.safetensors holds ${shown(name)}, which is no part of a LoRA (${PREFIX}LAYER.lora_A.weight).`, "unsupported");
    tensors.set(plain, { shape: stored.shape, values: await readFloats(stored, name) });
  }
  if (!tensors.size) throw new EngineError("adapter_model.safetensors is empty: there is nothing to apply.", "damaged");
  const scale = alpha / (about.use_rslora === true ? Math.sqrt(rank) : rank);
  const base = typeof about.base_model_name_or_path === "string" ? about.base_model_name_or_path : "";
  return { base: base.split(/[/\\]/).filter(Boolean).at(-1)?.slice(0, 100) ?? "", file: { base: "", scale, rank, tensors } };
}

/** A value that switches nothing on: false, null, 0, an empty text, list or object. */
function isNothing(value: unknown): boolean {
  return !value || (typeof value === "object" && Object.keys(value).length === 0);
}
