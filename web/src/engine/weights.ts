/**
 * A model's tensors: which there must be, of which shape, and where they lie in the kernel's memory.
 * The names are transformers' (and the package's), so that weights need no translation.
 */

import { EngineError } from "./api";
import type { Config } from "./config";
import type { Tensor } from "./format";
import type { Arena } from "./kernel";

/** A matrix in the kernel's memory: int8 rows, their scales, and what is added behind (0: nothing). */
export interface Linear { name: string; weight: number; scale: number; bias: number; inputs: number; outputs: number }
/** A norm's gain, and its bias: an RMSNorm has none (0). */
export interface Norm { gain: number; bias: number }
/** Without a gate: GPT-2's, with a GELU. */
export interface FeedForward { gate: Linear | null; up: Linear; down: Linear }
export interface Layer {
  inputNorm: Norm;
  q: Linear;
  k: Linear;
  v: Linear;
  o: Linear;
  /** Gains of the norms over each head's query and key; 0 where there are none. */
  qNorm: number;
  kNorm: number;
  postNorm: Norm;
  mlp: FeedForward | null;
  router: Linear | null;
  routerBias: number;
  experts: FeedForward[];
  shared: FeedForward[];
  sharedGate: Linear | null;
}
export interface Weights {
  embed: Linear;
  /** The learned table of positions. */
  positions: Linear | null;
  layers: Layer[];
  norm: Norm;
  head: Linear;
  bytes: number;
  parameters: number;
}

export interface Wanted {
  name: string;
  shape: number[];
  /** How it starts before training: the spread of a normal distribution, or a constant. */
  start: { spread: number } | { constant: number };
}

/** Every tensor that a model of this shape has, in the order in which a pass reads them. */
export function wanted(config: Config): Wanted[] {
  const { hidden, headSize, gpt2 } = config;
  const spread = config.initializer;
  const writer = config.shrinkResidual ? spread / Math.sqrt(2 * config.layers) : spread;
  const list: Wanted[] = [];
  const matrix = (name: string, outputs: number, inputs: number, wide = spread): void => {
    list.push({ name: `${name}.weight`, shape: [outputs, inputs], start: { spread: wide } });
  };
  const gain = (name: string, size: number): void => {
    list.push({ name: `${name}.weight`, shape: [size], start: { constant: 1 } });
  };
  const bias = (name: string, size: number): void => {
    if (gpt2) list.push({ name: `${name}.bias`, shape: [size], start: { constant: 0 } });
  };
  const norm = (name: string): void => (gain(name, hidden), bias(name, hidden));
  const linear = (name: string, outputs: number, inputs: number, wide = spread): void => (matrix(name, outputs, inputs, wide), bias(name, outputs));
  const feedForward = (name: string, width: number): void => {
    if (!gpt2) matrix(`${name}.gate_proj`, width, hidden);
    linear(`${name}.up_proj`, width, hidden);
    linear(`${name}.down_proj`, hidden, width, writer);
  };
  matrix("model.embed_tokens", config.vocabulary, hidden);
  if (config.positions === "learned") matrix("model.embed_positions", config.context, hidden);
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    norm(`${at}.input_layernorm`);
    linear(`${at}.self_attn.q_proj`, config.heads * headSize, hidden);
    linear(`${at}.self_attn.k_proj`, config.kvHeads * headSize, hidden);
    linear(`${at}.self_attn.v_proj`, config.kvHeads * headSize, hidden);
    linear(`${at}.self_attn.o_proj`, hidden, config.heads * headSize, writer);
    if (config.qkNorm) {
      gain(`${at}.self_attn.q_norm`, headSize);
      gain(`${at}.self_attn.k_norm`, headSize);
    }
    norm(`${at}.post_attention_layernorm`);
    const width = config.widths[layer]!;
    if (!config.sparse[layer]) {
      feedForward(`${at}.mlp`, width);
      continue;
    }
    if (config.routerBias) {
      list.push({ name: `${at}.mlp.e_score_correction_bias`, shape: [config.experts], start: { constant: 0 } });
    }
    matrix(`${at}.mlp.gate`, config.experts, hidden);
    for (let i = 0; i < config.experts; i++) feedForward(`${at}.mlp.experts.${i}`, width);
    for (let i = 0; i < config.sharedExperts; i++) feedForward(`${at}.mlp.shared_experts.${i}`, width);
    if (config.sharedGate) matrix(`${at}.mlp.shared_expert_gate`, 1, hidden);
  }
  norm("model.norm");
  if (!config.tied) matrix("lm_head", config.vocabulary, hidden);
  return list;
}

/** Copy the tensors into the kernel's memory. EngineError where they are not what config.json says. */
export function placeWeights(config: Config, tensors: Map<string, Tensor>, arena: Arena): Weights {
  const begin = arena.size;
  const places = new Map<string, Linear | number>();
  let parameters = 0;
  for (const { name, shape } of wanted(config)) {
    const tensor = tensors.get(name);
    if (!tensor || tensor.shape.length !== shape.length || tensor.shape.some((side, i) => side !== shape[i])) {
      throw wrong(`${name} should be ${shape.join(" × ")} and is ${tensor ? tensor.shape.join(" × ") : "missing"}`);
    }
    const [outputs, inputs] = shape as [number, number];
    const at = arena.take(tensor.values.byteLength);
    if (tensor.values instanceof Float32Array) {
      if (shape.length !== 1) throw wrong(`${name} is not int8`);
      arena.floats(at, outputs).set(tensor.values);
      places.set(name, at);
    } else {
      arena.bytes(at, tensor.values.length).set(tensor.values);
      const scale = arena.take(outputs * 4);
      arena.floats(scale, outputs).set(tensor.scales!);
      places.set(name, { name: name.slice(0, -".weight".length), weight: at, scale, bias: 0, inputs, outputs });
    }
    if (!name.endsWith("e_score_correction_bias")) parameters += tensor.values.length; // that is none: nothing trains it
  }
  if (places.size !== tensors.size) throw wrong(`it has ${tensors.size - places.size} tensors too many`);
  const weights = assemble(config, places);
  return { ...weights, bytes: arena.size - begin, parameters };
}

function wrong(what: string): EngineError {
  return new EngineError(`The model's weights are not those that its config.json describes: ${what}.`, "damaged");
}

function assemble(config: Config, places: Map<string, Linear | number>): Omit<Weights, "bytes" | "parameters"> {
  const vector = (name: string): number => (places.get(name) as number | undefined) ?? 0;
  const matrix = (name: string): Linear => ({ ...(places.get(`${name}.weight`) as Linear), bias: vector(`${name}.bias`) });
  const norm = (name: string): Norm => ({ gain: vector(`${name}.weight`), bias: vector(`${name}.bias`) });
  const feedForward = (name: string): FeedForward => ({
    gate: config.gpt2 ? null : matrix(`${name}.gate_proj`), up: matrix(`${name}.up_proj`), down: matrix(`${name}.down_proj`),
  });
  const many = (name: string, count: number): FeedForward[] => Array.from({ length: count }, (_, i) => feedForward(`${name}.${i}`));
  const layers = config.sparse.map((sparse, layer): Layer => {
    const at = `model.layers.${layer}`;
    const part = (name: string): Linear => matrix(`${at}.self_attn.${name}_proj`);
    return {
      inputNorm: norm(`${at}.input_layernorm`),
      q: part("q"), k: part("k"), v: part("v"), o: part("o"),
      qNorm: vector(`${at}.self_attn.q_norm.weight`),
      kNorm: vector(`${at}.self_attn.k_norm.weight`),
      postNorm: norm(`${at}.post_attention_layernorm`),
      mlp: sparse ? null : feedForward(`${at}.mlp`),
      router: sparse ? matrix(`${at}.mlp.gate`) : null,
      routerBias: vector(`${at}.mlp.e_score_correction_bias`),
      experts: sparse ? many(`${at}.mlp.experts`, config.experts) : [],
      shared: sparse ? many(`${at}.mlp.shared_experts`, config.sharedExperts) : [],
      sharedGate: sparse && config.sharedGate ? matrix(`${at}.mlp.shared_expert_gate`) : null,
    };
  });
  const embed = matrix("model.embed_tokens");
  const positions = config.positions === "learned" ? matrix("model.embed_positions") : null;
  return { embed, positions, layers, norm: norm("model.norm"), head: config.tied ? embed : matrix("lm_head") };
}
