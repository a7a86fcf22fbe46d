/**
 * What config.json says of a model, in our own words, checked: a value that this engine does not
 * compute is refused by its name, never ignored.
 *
 * The names in the file are transformers'; `minimind` and `minimind_moe` are the package's own layouts.
 */

import { EngineError } from "./api";
import { POSITIONS, type Positions } from "./positions";

export interface Rope {
  theta: number;
  type: "default" | "linear" | "dynamic" | "yarn" | "llama3";
  factor: number;
  /** Trained length. */
  original: number;
  fast: number;
  slow: number;
  attention: number;
}

export interface Config {
  family: string;
  layers: number;
  hidden: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  vocabulary: number;
  context: number;
  eps: number;
  qkNorm: boolean;
  /** GPT-2's blocks: LayerNorm, a GELU in the place of the gate, biases. */
  gpt2: boolean;
  positions: Positions;
  tied: boolean;
  /** Width of the feed-forward of each layer: of one expert where the layer has experts. */
  widths: number[];
  /** Layers whose feed-forward has experts. */
  sparse: boolean[];
  experts: number;
  expertsPerToken: number;
  sharedExperts: number;
  sharedGate: boolean;
  normTopk: boolean;
  /** A bias that takes part in the choice of experts and not in their weights. */
  routerBias: boolean;
  /** Tokens that a query of each layer sees; 0: all before it. */
  windows: number[];
  /** First tokens that stay visible beside a window. */
  sinks: number;
  rope: Rope;
  /** Tokens that end a text. */
  stops: number[];
  /** For weights that are drawn in the page. */
  initializer: number;
  shrinkResidual: boolean;
}

type Json = Record<string, unknown>;

const MOST_EXPERTS = 20_000; // a file that only says so must not fill the memory with their names
const SPARSE = ["qwen3_moe", "qwen2_moe", "mixtral", "minimind_moe"];
const FAMILIES = ["llama", "mistral", "ministral", "qwen3", "gpt2", "minimind", ...SPARSE];
const NEUTRAL: Record<string, unknown[]> = {
  attention_bias: [false, null, undefined],
  mlp_bias: [false, null, undefined],
  qkv_bias: [false, null, undefined],
  hidden_act: ["silu", null, undefined],
  activation_function: ["gelu_new", "gelu_pytorch_tanh", null, undefined],
  scale_attn_by_inverse_layer_idx: [false, null, undefined],
  scale_attn_weights: [true, null, undefined],
};
const GPT2_NAMES: Record<string, string> = { // ours: transformers'
  hidden_size: "n_embd", num_hidden_layers: "n_layer", num_attention_heads: "n_head", intermediate_size: "n_inner",
  max_position_embeddings: "n_positions", rms_norm_eps: "layer_norm_epsilon",
};

export function unsupported(what: string): EngineError {
  return new EngineError(`This model has ${what}, which the page's engine does not compute; use the Python package for it.`, "unsupported");
}

function damaged(what: string): EngineError {
  return new EngineError(`The model's config.json is damaged: ${what}.`, "damaged");
}

/** A whole number of the file from `low` to `high`. */
function count(json: Json, name: string, low: number, high: number, otherwise?: number): number {
  const value = own(json, name) ?? otherwise;
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    throw damaged(`${name} is ${show(value)}, and not a whole number from ${low} to ${high}`);
  }
  return value;
}

function amount(json: Json, name: string, low: number, high: number, otherwise?: number): number {
  const value = own(json, name) ?? otherwise;
  if (typeof value !== "number" || !(value >= low && value <= high)) throw damaged(`${name} is ${show(value)}`);
  return value;
}

/** Only what the file itself says: never something that every object inherits. */
function own(json: Json, name: string): unknown {
  return Object.hasOwn(json, name) ? json[name] : undefined;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "missing").slice(0, 40);
}

/** GPT-2's config.json in the names of the others. */
function inOurNames(json: Json): Json {
  const named: Json = { rms_norm_eps: 1e-5, tie_word_embeddings: true, ...json };
  for (const [ours, theirs] of Object.entries(GPT2_NAMES)) if (Object.hasOwn(json, theirs)) named[ours] = json[theirs];
  named.intermediate_size ??= 4 * Number(named.hidden_size);
  return named;
}

export function readConfig(file: Json): Config {
  const family = String(own(file, "model_type") ?? "none");
  const json = family === "gpt2" ? inOurNames(file) : file;
  if (!FAMILIES.includes(family)) throw unsupported(`the layout “${family.slice(0, 40)}”`);
  for (const [name, allowed] of Object.entries(NEUTRAL)) {
    if (name === "qkv_bias" && family !== "qwen2_moe") continue;
    if (!allowed.includes(own(json, name))) throw unsupported(`${name} = ${show(own(json, name))}`);
  }
  const ours = family.startsWith("minimind");
  const gpt2 = family === "gpt2" || (ours && own(json, "family") === "gpt2");
  const said = (ours ? own(json, "positions") : "") || (gpt2 ? "learned" : "rotary");
  const positions = POSITIONS.find((kind) => kind === said);
  if (!positions) throw unsupported(`positions “${show(said)}”`);

  const hidden = count(json, "hidden_size", 1, 65536);
  const layers = count(json, "num_hidden_layers", 1, 512);
  const heads = count(json, "num_attention_heads", 1, 1024);
  const kvHeads = count(json, "num_key_value_heads", 1, 1024, heads);
  const headSize = count(json, "head_dim", 1, 4096, hidden / heads);
  if (heads % kvHeads) throw damaged(`${kvHeads} key heads do not divide ${heads} heads`);
  if (gpt2 && (kvHeads !== heads || SPARSE.includes(family) || own(json, "qk_norm"))) throw unsupported("GPT-2's blocks with shared key heads, experts or q/k-norm");
  if (positions === "sinusoidal" && hidden % 2) throw damaged(`hidden_size ${hidden} is odd, but sinusoidal positions are pairs`);
  if (positions === "rotary" && headSize % 2) throw damaged(`head_dim ${headSize} is odd, but rotary positions turn pairs`);
  const context = count(json, "max_position_embeddings", 1, 1 << 24);
  const rope = readRope(json, ours, headSize, positions, context);
  const eos = own(json, "eos_token_id");
  return {
    family, gpt2, positions, layers, hidden, heads, kvHeads, headSize, rope,
    vocabulary: count(json, "vocab_size", 1, 1 << 22),
    // Of a folder with dynamic scaling, transformers says the trained length and not the longest text.
    context: rope.type === "dynamic" && !ours ? Math.floor(context * rope.factor) : context,
    eps: amount(json, "rms_norm_eps", 0, 1, 1e-6),
    qkNorm: Boolean(own(json, "qk_norm") ?? ["qwen3", "qwen3_moe"].includes(family)),
    tied: own(json, "tie_word_embeddings") === true,
    ...readExperts(json, family, layers),
    windows: readWindows(json, family, layers),
    sinks: ours ? count(json, "attention_sinks", 0, 1 << 24, 0) : 0,
    stops: (Array.isArray(eos) ? eos : [eos]).filter((id): id is number => Number.isInteger(id)),
    initializer: amount(json, "initializer_range", 0, 10, 0.02),
    shrinkResidual: own(json, "scale_residual_init") !== false,
  };
}

type Experts = Pick<
  Config,
  "widths" | "sparse" | "experts" | "expertsPerToken" | "sharedExperts" | "sharedGate" | "normTopk" | "routerBias"
>;

function readExperts(json: Json, family: string, layers: number): Experts {
  const dense = count(json, "intermediate_size", 1, 1 << 20);
  const every = Array.from({ length: layers }, (_, layer) => layer);
  if (!SPARSE.includes(family)) {
    const none = { experts: 0, expertsPerToken: 0, sharedExperts: 0, sharedGate: false, normTopk: false, routerBias: false };
    return { ...none, widths: every.map(() => dense), sparse: every.map(() => false) };
  }
  const mixtral = family === "mixtral";
  const experts = count(json, Object.hasOwn(json, "num_experts") ? "num_experts" : "num_local_experts", 1, 4096);
  const width = mixtral ? dense : count(json, "moe_intermediate_size", 1, 1 << 20);
  const step = mixtral ? 1 : count(json, "decoder_sparse_step", 1, 512, 1);
  const plain = mixtral ? [] : (own(json, "mlp_only_layers") ?? []);
  if (!Array.isArray(plain)) throw damaged("mlp_only_layers is no list");
  const sparse = every.map((layer) => (layer + 1) % step === 0 && !plain.includes(layer));
  const most = sparse.filter(Boolean).length * experts;
  if (most > MOST_EXPERTS) throw unsupported(`${most} experts`);
  let shared = 0;
  if (family === "qwen2_moe") {
    const wide = count(json, "shared_expert_intermediate_size", 1, 1 << 22);
    if (wide % width) throw unsupported(`a shared expert of width ${wide}`);
    shared = wide / width;
    if (shared > 64) throw unsupported(`${shared} shared experts`);
  } else if (family === "minimind_moe") shared = count(json, "num_shared_experts", 0, 64, 0);
  return {
    experts, sparse,
    expertsPerToken: count(json, "num_experts_per_tok", 1, experts),
    sharedExperts: shared,
    sharedGate: shared > 0 && (family === "qwen2_moe" || own(json, "shared_expert_gate") === true),
    normTopk: mixtral || own(json, "norm_topk_prob") === true,
    routerBias: Number(own(json, "router_bias_rate") ?? 0) > 0,
    widths: sparse.map((has) => (has ? width : dense)),
  };
}

function readWindows(json: Json, family: string, layers: number): number[] {
  const all = (size: number): number[] => Array.from({ length: layers }, () => size);
  const named = !["llama", "gpt2", "minimind", "minimind_moe"].includes(family);
  const off = named && family !== "mistral" && family !== "ministral" && family !== "mixtral" && own(json, "use_sliding_window") !== true;
  const size = off || own(json, "sliding_window") == null ? 0 : count(json, "sliding_window", 0, 1 << 24);
  if (!size || family === "llama" || family === "gpt2") return all(0);
  if (family.startsWith("minimind")) {
    const text = String(own(json, "full_layers") ?? "");
    const full = text.split(",").filter(Boolean).map(Number);
    return all(size).map((window, layer) => (full.includes(layer) ? 0 : window));
  }
  const kinds = own(json, "layer_types");
  if (Array.isArray(kinds)) return all(size).map((window, layer) => (kinds[layer] === "full_attention" ? 0 : window));
  if (family === "qwen3" || family === "qwen2_moe") throw unsupported("a window without layer_types");
  return all(size);
}

function readRope(json: Json, ours: boolean, headSize: number, positions: Positions, context: number): Rope {
  const nested = own(json, "rope_parameters") ?? own(json, "rope_scaling") ?? {};
  if (typeof nested !== "object" || Array.isArray(nested)) throw damaged("rope_parameters is no object");
  const named = nested as Json;
  const source: Json = ours
    ? {
        rope_type: own(json, "rope_type"), factor: own(json, "rope_factor"),
        original_max_position_embeddings: own(json, "rope_original_positions"),
        beta_fast: own(json, "rope_beta_fast"), beta_slow: own(json, "rope_beta_slow"),
        high_freq_factor: own(json, "rope_beta_fast"), low_freq_factor: own(json, "rope_beta_slow"),
        attention_factor: own(json, "rope_attention_factor"),
      }
    : { ...named };
  const base = own(ours ? json : named, "rope_theta") ?? own(json, "rope_theta") ?? 10000;
  const theta = amount({ rope_theta: base }, "rope_theta", 1, 1e12);
  const type = source.rope_type ?? source.type ?? "default";
  if (own(named, "partial_rotary_factor") != null && own(named, "partial_rotary_factor") !== 1) throw unsupported("partial_rotary_factor");
  const plain: Rope = { theta, type: "default", factor: 1, original: 0, fast: 0, slow: 0, attention: 1 };
  if (type === "default") return plain;
  if (positions !== "rotary") throw damaged(`it stretches rotary positions (${show(type)}), but positions are ${positions}`);
  const factor = amount(source, "factor", 1, 1e6);
  if ((type === "ntk" || type === "dynamic") && headSize < 4) throw damaged(`head_dim ${headSize} is too small for ${type}`);
  if (type === "ntk") return { ...plain, theta: theta * factor ** (headSize / (headSize - 2)) };
  if (type === "linear") return { ...plain, type, factor };
  if (type === "dynamic") return { ...plain, type, factor, original: ours ? amount(source, "original_max_position_embeddings", 1, 1 << 24) : context };
  if (type !== "yarn" && type !== "llama3") throw unsupported(`rotary scaling ${show(type)}`);
  if (own(named, "truncate") === false || own(named, "mscale") != null || own(named, "mscale_all_dim") != null) {
    throw unsupported("yarn with truncate or mscale");
  }
  const yarn = type === "yarn";
  const original = amount(source, "original_max_position_embeddings", 1, 1 << 24, context);
  return {
    theta, type, factor, original,
    fast: amount(source, yarn ? "beta_fast" : "high_freq_factor", 0, 1e6, yarn ? 32 : 4),
    slow: amount(source, yarn ? "beta_slow" : "low_freq_factor", 0, 1e6, 1),
    attention: yarn ? amount(source, "attention_factor", 0, 1e3, 0.1 * Math.log(factor) + 1) : 1,
  };
}
