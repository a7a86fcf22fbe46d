/**
 * What the page and the model's worker say to each other: types only, the one place that both sides
 * read. The worker (`worker.ts`) holds models and computes; `client.ts` is the page's side.
 *
 * Shapes: T tokens of the row, L layers, H query heads, K key-value heads, E head size, D hidden,
 * V vocabulary. Arrays are row-major.
 */

/** A model that the site ships, as `assets/build/lm/models.json` lists it. */
export interface Shipped {
  id: string; // "world-tiny-chat"
  title: string;
  /** Where in training it stands. An adapter stands on its base. */
  stage: "random" | "pretrained" | "sft" | "dpo" | "rl";
  /** Folder of the bundle, relative to models.json; none for "random", which is drawn in the page. */
  folder?: string;
  /** Bytes to fetch, tokenizer included. */
  bytes: number;
  /** Content hash of model.bin: the cache's key. */
  sha256?: string;
  /** For an adapter: the id of the model that it changes. For "random": whose shape it has. */
  base?: string;
  /** What the folder holds: model.bin or adapter.bin, and the tokenizer's files. */
  files?: { name: string; bytes: number; sha256: string }[];
  /** For "random": the content of config.json, from which it is drawn. */
  config?: Record<string, unknown>;
  /** Whether it answers in chat, or continues text. */
  chat: boolean;
}

/** What a loaded model is. */
export interface ModelInfo {
  id: string;
  title: string;
  family: string; // "llama", "qwen3", "qwen3_moe"
  parameters: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  hidden: number;
  intermediate: number;
  vocabulary: number;
  context: number;
  /** Layers' windows where attention is limited to the last tokens, null where it is not. */
  windows: (number | null)[];
  experts: number;
  expertsPerToken: number;
  /** Adapters that can be switched on: ids. */
  adapters: string[];
  /** Bytes that the weights, and the cache for each token, take in memory. */
  weightBytes: number;
  cacheBytesPerToken: number;
  hasChatTemplate: boolean;
  /** Of an adapter: the id of the model that it changes. */
  base?: string;
}

export type Source =
  | { kind: "shipped"; id: string }
  /**
   * The reader's own: a browser bundle, a model folder with safetensors, a LoRA folder, or a model's and
   * a LoRA's together. Nothing leaves the page. A LoRA alone goes onto the model that it names, or onto `onto`.
   */
  | { kind: "files"; name: string; files: { name: string; blob: Blob }[]; onto?: string };

export interface Progress {
  loaded: number;
  total: number;
  from: "network" | "cache" | "disk";
  /** One line for the reader where something went otherwise than hoped, and was dealt with. */
  note?: string;
}

/** A change to the pass. All that are given hold at once. */
export type Edit =
  | { kind: "head"; layer: number; head: number } // its output becomes zero
  | { kind: "part"; layer: number; part: "attention" | "mlp" | "both" } // adds nothing to the stream
  | { kind: "expert"; layer: number; expert: number } // never chosen
  /** The stream after `layer` (-1: the embedding) at `position` is taken from a pass over other ids. */
  | { kind: "patch"; layer: number; position: number; fromIds: number[]; fromPosition: number }
  | { kind: "adapter"; id: string; scale: number };

/** A token with its odds; `rank` 0 is the likeliest. */
export interface Candidate { id: number; text: string; probability: number; rank: number }

/** What a pass over a whole row shows. Absent is what was not asked for. */
export interface Trace {
  ids: number[];
  texts: string[];
  /** For each position: the likeliest next tokens, and where the real next one stands. */
  next: { top: Candidate[]; actual: Candidate | null; entropyBits: number }[];
  /** L arrays of H·T·T: the weights of attention. */
  attention?: Float32Array[];
  /** L arrays of H·T·T: weight times the length of what it brings, |a · v W_o|, each row summing to 1. */
  valueWeighted?: Float32Array[];
  /** L+1 arrays of T·D: the stream after the embedding and after each layer. */
  stream?: Float32Array[];
  /** L+1 rows of T: the likeliest tokens if the model ended there (logit lens). */
  lens?: { top: Candidate[]; actual: Candidate | null }[][];
  /** L arrays of T·2: lengths of what attention and the MLP add to the stream. */
  added?: Float32Array[];
  /** L arrays of T·expertsPerToken: the experts chosen, where there are any. */
  experts?: Int32Array[];
  neurons?: Neurons;
}

/** Some neurons of a layer's MLP: those that fire most at the token `at`. */
export interface Neurons {
  /** How many the layer has, and the size of its largest number on this text. */
  width: number; most: number; at: number;
  /** A number for each token; `raises`: the words that the neuron's value raises most, with the sign that it has where it is largest. */
  rows: { neuron: number; values: number[]; raises: string[] }[];
}

/** Which: `at` -1 is the last token; `keep` is shown first wherever it stands (-1: none). */
export interface NeuronWish { layer: number; at: number; top: number; keep: number }

export interface TraceWish {
  /** How many likely tokens at each place (default 10). */
  top?: number;
  attention?: boolean;
  stream?: boolean;
  lens?: boolean;
  neurons?: NeuronWish;
  edits?: Edit[];
}

export interface Sampling {
  temperature: number; // 0: the likeliest
  topK: number; // 0: off
  topP: number; // 1: off
  minP: number; // 0: off
  typicalP: number; // 1: off
  repetitionPenalty: number; // 1: off
  presencePenalty: number;
  frequencyPenalty: number;
  noRepeatNgram: number; // 0: off
  bias: Record<number, number>;
  seed: number;
}

export interface GenerateRequest {
  ids: number[];
  maxTokens: number;
  sampling: Partial<Sampling>; // the rest is plain greedy
  /** Likely tokens to tell of each (default 5). */
  alternatives?: number;
  edits?: Edit[];
  /** A smaller model that guesses ahead; the distribution of what is drawn stays the same. */
  draft?: { model: string; tokens: number };
}

export interface Drawn {
  id: number;
  /** The characters that this token completes; a character of several tokens comes with its last. */
  text: string;
  /** Before sampling's filters, at temperature 1. */
  probability: number;
  rank: number;
  top: Candidate[];
  /** Guessed by the draft model, and accepted. */
  drafted?: boolean;
}

export interface Finished { reason: "stop" | "length" | "aborted"; tokens: number; seconds: number; tokensPerSecond: number; accepted?: number; drafted?: number }

export interface Message { role: "system" | "user" | "assistant" | "tool"; content: string }

/** What the page calls; every call may throw `EngineError`, whose message is for the reader. */
export interface ModelEngine {
  /** What the site ships. */
  shipped(): Promise<Shipped[]>;
  /** Load once; a second call gives the same. An adapter's id loads its base and the adapter. */
  load(source: Source, progress?: (p: Progress) => void, signal?: AbortSignal): Promise<ModelInfo>;
  unload(model: string): Promise<void>;
  encode(model: string, text: string): Promise<{ ids: number[]; texts: string[] }>;
  /** Ids of a chat, through the model's template, up to where the assistant begins. */
  chat(model: string, messages: Message[], thinking?: boolean): Promise<{ ids: number[]; texts: string[] }>;
  trace(model: string, ids: number[], wish?: TraceWish): Promise<Trace>;
  /** The whole next-token distribution after `ids`, (V), before and after sampling's filters. */
  distribution(model: string, ids: number[], sampling?: Partial<Sampling>, edits?: Edit[]): Promise<{ raw: Float32Array; shaped: Float32Array; texts: string[] }>;
  generate(model: string, request: GenerateRequest, drawn: (token: Drawn) => void, signal?: AbortSignal): Promise<Finished>;
}

/** A failure that a reader can do something about. */
export class EngineError extends Error {
  constructor(
    message: string,
    readonly code: "missing" | "offline" | "damaged" | "unsupported" | "memory" | "storage" | "input" | "stopped",
  ) {
    super(message);
    this.name = "EngineError";
  }
}
