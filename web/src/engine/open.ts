/**
 * The reader's own model: files that were chosen or dropped, made into the bundle that the engine
 * reads. Nothing leaves the page.
 *
 * | folder | how it is known |
 * |---|---|
 * | a bundle of ours | model.bin |
 * | a Hugging Face model | config.json with model.safetensors, or shards and their index |
 * | a LoRA | adapter_config.json with adapter_model.safetensors (PEFT), or adapter.bin |
 */

import { EngineError } from "./api";
import type { Progress } from "./api";
import { readConfig } from "./config";
import { readAdapter, readBundle } from "./format";
import { readPeft } from "./open_adapter";
import type { NamedAdapter } from "./open_adapter";
import { requireMemory, size } from "./guard";
import { decodeText, parseJson, plain, text } from "./guard_json";
import type { Plain } from "./guard_json";
import { bundleModel } from "./open_model";
import { readHeader } from "./open_safetensors";
import type { Stored } from "./open_safetensors";

export interface Opened {
  /** The bundle's file, model.bin; none where only an adapter was chosen. */
  bin: ArrayBuffer | null;
  /** The folder's own name. */
  name: string;
  adapter: NamedAdapter | null;
  /** The text of what lies beside it: tokenizer.json, tokenizer_config.json, chat_template.jinja. */
  beside: Map<string, string>;
}
export interface Chosen { name: string; blob: Blob }
export type Tell = (progress: Progress) => void;

const BESIDE = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
const LONGEST_TEXT = 64 * 2 ** 20; // the largest tokenizers have about 30 MB
const KNOWN = [...BESIDE, "config.json", "model.bin", "adapter.bin", "adapter_config.json", "adapter_model.safetensors", "model.safetensors.index.json"];

const folder = (name: string): string => name.replace(/[^/\\]*$/, "");
const depth = (path: string): number => path.split(/[/\\]/).length;
const nameOf = (path: string): string => path.split(/[/\\]/).at(-2) ?? "";

/** The folders of the model and of the adapter among what was chosen, the nearest of each; a folder with a config.json is a model's. */
export function sortFolders(chosen: Chosen[]): { model?: string; adapter?: string } {
  const nearest = (what: string, mark: RegExp, not: string[] = []): [string, string[]] | [undefined, string[]] => {
    const all = [...new Set(chosen.filter(({ name }) => mark.test(name)).map(({ name }) => folder(name)))].filter((path) => !not.includes(path));
    const [first, second] = all.sort((a, b) => depth(a) - depth(b));
    if (first !== undefined && second !== undefined && depth(first) === depth(second)) {
      throw new EngineError(`There is more than one ${what} here (in ${first || "."} and ${second}). Open one folder at a time.`, "input");
    }
    return [first, all];
  };
  const [model, models] = nearest("model", /(^|[/\\])(model\.bin|config\.json)$/);
  const [adapter] = nearest("adapter", /(^|[/\\])(adapter\.bin|adapter_config\.json)$/, models);
  if (model === undefined && adapter === undefined) throw refusal(chosen);
  // An adapter inside a model's folder is what a training left there; only one beside it is meant.
  const beside = adapter !== undefined && (model === undefined || depth(adapter) <= depth(model));
  return { ...(model === undefined ? {} : { model }), ...(beside ? { adapter } : {}) };
}

/** The files of one folder by their plain names. */
export function oneFolder(chosen: Chosen[], first: string): Map<string, Blob> {
  const files = new Map<string, Blob>();
  for (const { name, blob } of chosen) {
    const plainName = name.slice(first.length);
    if (folder(name) === first && (KNOWN.includes(plainName) || plainName.endsWith(".safetensors"))) files.set(plainName, blob);
  }
  return files;
}

/** Why these files are no model, by what they are. */
function refusal(chosen: Chosen[]): EngineError {
  const has = (end: RegExp): boolean => chosen.some(({ name }) => end.test(name));
  if (has(/\.gguf$/i)) return new EngineError("A .gguf file cannot be opened in the page; open the folder that it was made from, or use llama.cpp.", "unsupported");
  if (has(/\.(pt|pth|pkl|ckpt)$/i) || has(/pytorch_model.*\.bin$/i)) return new EngineError("This is a pickle, which may run code when it is opened. Save the model as safetensors.", "unsupported");
  if (has(/\.onnx$/i)) return new EngineError("An .onnx file cannot be opened here; open the model's own folder.", "unsupported");
  if (has(/\.safetensors$/i)) return new EngineError("The weights alone do not say what they mean: choose config.json and tokenizer.json with them, or the whole folder.", "input");
  return new EngineError("There is no model here. Choose a folder with config.json, model.safetensors and tokenizer.json, or one that “minimind export --to browser” wrote.", "input");
}

/** Make what was chosen ready for the engine. EngineError says what to do where it cannot be. */
export async function openFiles(chosen: Chosen[], tell: Tell = () => undefined, signal?: AbortSignal): Promise<Opened> {
  const { model, adapter: lora } = sortFolders(chosen);
  const adapter = lora === undefined ? null : await openAdapter(oneFolder(chosen, lora), nameOf(lora));
  if (model === undefined) return { bin: null, name: "", adapter, beside: new Map() };
  const files = oneFolder(chosen, model);
  const beside = await readBeside(files);
  const opened = { name: nameOf(model), adapter, beside };
  const bundle = files.get("model.bin");
  if (bundle) return { ...opened, bin: await openBundle(bundle, beside, tell) };
  const about = await readJson(files, "config.json");
  const stored = await readWeights(files, "model.safetensors");
  if (!beside.has("tokenizer.json")) throw new EngineError("tokenizer.json is missing: without it the page cannot turn text into tokens. Choose it with the others.", "missing");
  const bin = await bundleModel(about, readConfig({ ...about }), stored, beside, { tell, signal, hashOf });
  return { ...opened, bin };
}

/** A LoRA: ours in one file, or PEFT's two. */
async function openAdapter(files: Map<string, Blob>, name: string): Promise<NamedAdapter> {
  const ours = files.get("adapter.bin");
  if (ours) return { name, base: "", file: readAdapter(await readBytes(ours, "adapter.bin")) };
  const about = await readJson(files, "adapter_config.json");
  const weights = files.get("adapter_model.safetensors");
  if (!weights) throw new EngineError("adapter_model.safetensors is missing: choose it together with adapter_config.json.", "missing");
  requireMemory(3 * weights.size, "This adapter");
  return { name, ...(await readPeft(about, weights)) };
}

/** A file of ours: its hashes are checked where the page can compute them. */
async function openBundle(blob: Blob, beside: Map<string, string>, tell: Tell): Promise<ArrayBuffer> {
  requireMemory(2.2 * blob.size, "This model");
  const bin = await readBytes(blob, "model.bin");
  const { sha256, files } = readBundle(bin);
  if (sha256) {
    const start = 8 + new DataView(bin).getUint32(4, true);
    for (const [name, wished, bytes] of [["model.bin", sha256, new Uint8Array(bin, start)], ...besideHashes(files, beside)] as [string, string, Uint8Array<ArrayBuffer>][]) {
      const found = await hashOf(bytes);
      if (found && found !== wished) throw new EngineError(`${name} is damaged or cut short: its hash is not the one in the header. Export the model again.`, "damaged");
    }
    if (!beside.has("tokenizer.json")) throw new EngineError("tokenizer.json is missing: choose it together with model.bin.", "missing");
  }
  tell({ loaded: blob.size, total: blob.size, from: "disk" });
  return bin;
}

function besideHashes(files: Record<string, string>, beside: Map<string, string>): [string, string, Uint8Array][] {
  return [...beside].flatMap(([name, content]) => (Object.hasOwn(files, name) ? [[name, files[name] as string, new TextEncoder().encode(content)]] : []));
}

async function readBeside(files: Map<string, Blob>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of BESIDE) {
    const blob = files.get(name);
    if (blob) found.set(name, await readText(blob, name));
  }
  return found;
}

async function readText(blob: Blob, name: string): Promise<string> {
  if (blob.size > LONGEST_TEXT) throw new EngineError(`${name} has ${size(blob.size)}, more than any of its kind.`, "damaged");
  return decodeText(await readBytes(blob, name), name);
}

function readBytes(blob: Blob, name: string): Promise<ArrayBuffer> {
  return blob.arrayBuffer().catch(() => {
    throw new EngineError(`${name} cannot be read any more. Choose the folder again.`, "missing");
  });
}

async function readJson(files: Map<string, Blob>, name: string): Promise<Plain> {
  const blob = files.get(name);
  if (!blob) throw new EngineError(`${name} is missing: choose it with the others, or the whole folder.`, "missing");
  return plain(parseJson(await readText(blob, name), name), name);
}

/** The tensors of one file, or of the shards that its index names. */
async function readWeights(files: Map<string, Blob>, name: string): Promise<Map<string, Stored>> {
  const whole = files.get(name);
  if (whole) return readHeader(whole, name);
  const index = `${name}.index.json`;
  if (!files.has(index)) throw new EngineError(`${name} is missing: choose it with the others, or the whole folder.`, "missing");
  const map = plain((await readJson(files, index)).weight_map, `${index}'s weight_map`);
  const shards = [...new Set(Object.values(map).map((shard) => text(shard, `a name in ${index}`)))].sort();
  const found = new Map<string, Stored>();
  for (const shard of shards) {
    const blob = files.get(shard);
    if (!blob) throw new EngineError(`${shard.slice(0, 100)} is missing, which ${index} names. Choose all shards.`, "missing");
    for (const [tensor, stored] of await readHeader(blob, shard)) {
      if (found.has(tensor)) throw new EngineError(`${tensor} is in two shards. Copy the folder again.`, "damaged");
      found.set(tensor, stored);
    }
  }
  return found;
}

/** SHA-256 in hexadecimal; empty where the page cannot compute it (served without https). */
export async function hashOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (!subtle) return "";
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
