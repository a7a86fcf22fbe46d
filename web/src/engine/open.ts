/**
 * The reader's own model: files that were chosen or dropped, made into the bundle that the engine
 * reads. Nothing leaves the page.
 *
 * | folder | how it is known |
 * |---|---|
 * | a bundle of ours | model.bin |
 * | a Hugging Face model | config.json with model.safetensors, or shards and their index |
 */

import { EngineError } from "./api";
import type { Progress } from "./api";
import { readConfig } from "./config";
import { readAdapter, readBundle } from "./format";
import { requireMemory, size } from "./guard";
import { decodeText, parseJson, plain, text } from "./guard_json";
import type { Plain } from "./guard_json";
import { bundleModel } from "./open_model";
import { readHeader } from "./open_safetensors";
import type { Stored } from "./open_safetensors";

export interface Opened {
  kind: "model" | "adapter";
  /** The bundle's file: model.bin, or an adapter's. */
  bin: ArrayBuffer;
  /** The text of what lies beside it: tokenizer.json, tokenizer_config.json, chat_template.jinja. */
  beside: Map<string, string>;
}
export interface Chosen { name: string; blob: Blob }
export type Tell = (progress: Progress) => void;

const BESIDE = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
const LONGEST_TEXT = 64 * 2 ** 20; // the largest tokenizers have about 30 MB
const KNOWN = [...BESIDE, "config.json", "model.bin", "adapter.bin", "adapter_config.json", "adapter_model.safetensors", "model.safetensors.index.json"];

/** The files of one model by their plain names: those that lie in the folder of its config. */
export function oneFolder(chosen: Chosen[]): Map<string, Blob> {
  const folder = (name: string): string => name.replace(/[^/\\]*$/, "");
  const marks = chosen.filter(({ name }) => /(^|[/\\])(model\.bin|adapter\.bin|config\.json|adapter_config\.json)$/.test(name));
  const folders = [...new Set(marks.map(({ name }) => folder(name)))].sort((a, b) => a.length - b.length);
  const [first, second] = folders;
  if (first === undefined) throw refusal(chosen);
  if (second !== undefined && second.length === first.length) {
    throw new EngineError(`There is more than one model here (in ${first || "."} and ${second}). Open one folder at a time.`, "input");
  }
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
  const files = oneFolder(chosen);
  const beside = await readBeside(files);
  const bundle = files.get("model.bin") ?? files.get("adapter.bin");
  if (bundle) return { ...(await openBundle(bundle, beside, tell)), beside };
  if (!files.has("config.json")) throw new EngineError("This is a LoRA adapter, which changes another model. Merge it into its model first, then open that.", "unsupported");
  const about = await readJson(files, "config.json");
  const stored = await readWeights(files, "model.safetensors");
  if (!beside.has("tokenizer.json")) throw new EngineError("tokenizer.json is missing: without it the page cannot turn text into tokens. Choose it with the others.", "missing");
  const bin = await bundleModel(about, readConfig({ ...about }), stored, beside, { tell, signal, hashOf });
  return { kind: "model", bin, beside };
}

/** A file of ours: its hashes are checked where the page can compute them. */
async function openBundle(blob: Blob, beside: Map<string, string>, tell: Tell): Promise<{ kind: "model" | "adapter"; bin: ArrayBuffer }> {
  requireMemory(2.2 * blob.size, "This model");
  const bin = await blob.arrayBuffer().catch(() => {
    throw new EngineError("The model's file cannot be read any more. Choose it again.", "missing");
  });
  const adapter = isAdapter(bin);
  if (adapter) readAdapter(bin);
  const { sha256, files } = adapter ? { sha256: "", files: {} } : readBundle(bin);
  if (sha256) {
    const start = 8 + new DataView(bin).getUint32(4, true);
    for (const [name, wished, bytes] of [["model.bin", sha256, new Uint8Array(bin, start)], ...besideHashes(files, beside)] as [string, string, Uint8Array<ArrayBuffer>][]) {
      const found = await hashOf(bytes);
      if (found && found !== wished) throw new EngineError(`${name} is damaged or cut short: its hash is not the one in the header. Export the model again.`, "damaged");
    }
    if (!beside.has("tokenizer.json")) throw new EngineError("tokenizer.json is missing: choose it together with model.bin.", "missing");
  }
  tell({ loaded: blob.size, total: blob.size, from: "disk" });
  return { kind: adapter ? "adapter" : "model", bin };
}

function besideHashes(files: Record<string, string>, beside: Map<string, string>): [string, string, Uint8Array][] {
  return [...beside].flatMap(([name, content]) => (Object.hasOwn(files, name) ? [[name, files[name] as string, new TextEncoder().encode(content)]] : []));
}

function isAdapter(bin: ArrayBuffer): boolean {
  try {
    readAdapter(bin);
    return true;
  } catch {
    return false; // a model, or damaged: reading it as a model will say
  }
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
  const bytes = await blob.arrayBuffer().catch(() => {
    throw new EngineError(`${name} cannot be read any more. Choose the folder again.`, "missing");
  });
  return decodeText(bytes, name);
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
