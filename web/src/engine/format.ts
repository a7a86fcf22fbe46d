/**
 * The bundle that the package exports (minimind_wiki/infer/export/bundle.py): one file with a JSON
 * header and the data behind it. It may come from anyone, so nothing in it is believed: every
 * offset, shape and type is checked against the data before a byte is used.
 */

import { EngineError } from "./api";
import { readConfig, type Config } from "./config";
import { decodeText, parseJson } from "./guard_json";

export interface Tensor {
  shape: number[];
  values: Int8Array | Float32Array;
  /** Of int8 values: one for each row. */
  scales?: Float32Array;
}
export interface Bundle {
  config: Config;
  tensors: Map<string, Tensor>;
  /** Hash of the data, by which an adapter names its model. */
  sha256: string;
  /** Hashes of the files beside it. */
  files: Record<string, string>;
}
export interface AdapterFile {
  /** Hash of the data of the model that it belongs to; empty where the file does not know it. */
  base: string;
  /** What B A is multiplied by. */
  scale: number;
  rank: number;
  tensors: Map<string, Tensor>;
}

const MAGIC = 0x31424d4d; // "MMB1", little-endian
const ALIGN = 64;
const LONGEST_HEADER = 1 << 24;
const MOST_TENSORS = 200_000;
type Json = Record<string, unknown>;

function damaged(what: string): EngineError {
  return new EngineError(`The model's file is damaged or cut short (${what}); load it again.`, "damaged");
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** Header and data of a file. */
function open(buffer: ArrayBuffer): { header: Json; data: ArrayBuffer; start: number } {
  if (buffer.byteLength < 8) throw damaged("no header");
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new EngineError("This file is no model that the page can read: it does not begin with MMB1.", "unsupported");
  const length = view.getUint32(4, true);
  const start = 8 + length;
  if (length > LONGEST_HEADER || start > buffer.byteLength || start % ALIGN) throw damaged("the header's length");
  const header = parseJson(decodeText(new Uint8Array(buffer, 8, length), "The model's header"), "The model's header");
  if (!isObject(header)) throw damaged("the header is no object");
  if (header.bytes !== buffer.byteLength - start) throw damaged("its length");
  return { header, data: buffer, start };
}

/** The bytes of one tensor, or an error: whole numbers, inside the data, at a multiple of 64. */
function place(offset: unknown, bytes: number, room: number): [number, number] {
  const good = typeof offset === "number" && Number.isInteger(offset) && offset >= 0 && offset % ALIGN === 0;
  if (!good || offset + bytes > room) throw damaged("an offset outside the data");
  return [offset, offset + bytes];
}

function readTensors(header: Json, data: ArrayBuffer, start: number): Map<string, Tensor> {
  if (!Array.isArray(header.tensors) || header.tensors.length > MOST_TENSORS) throw damaged("its list of tensors");
  const room = data.byteLength - start;
  const tensors = new Map<string, Tensor>();
  const used: [number, number][] = [];
  for (const entry of header.tensors as unknown[]) {
    if (!isObject(entry) || typeof entry.name !== "string" || tensors.has(entry.name)) throw damaged("a tensor's name");
    const shape = entry.shape;
    if (!Array.isArray(shape) || (shape.length !== 1 && shape.length !== 2)) throw damaged("a shape");
    let size = 1;
    for (const side of shape as unknown[]) {
      if (typeof side !== "number" || !Number.isInteger(side) || side < 1 || side > room) throw damaged("a shape");
      size *= side;
    }
    if (size > room) throw damaged("a shape larger than the data");
    const sides = shape as number[];
    if (entry.dtype === "int8") {
      if (sides.length !== 2) throw damaged("int8 values without rows");
      const [from] = (used.push(place(entry.offset, size, room)), used.at(-1)!);
      const rows = sides[0]!;
      const [at] = (used.push(place(entry.scales, rows * 4, room)), used.at(-1)!);
      const scales = new Float32Array(data, start + at, rows);
      if (!scales.every(Number.isFinite)) throw damaged("a scale that is no number");
      tensors.set(entry.name, { shape: sides, values: new Int8Array(data, start + from, size), scales });
    } else if (entry.dtype === "float32") {
      const [from] = (used.push(place(entry.offset, size * 4, room)), used.at(-1)!);
      const values = new Float32Array(data, start + from, size);
      if (!values.every(Number.isFinite)) throw damaged("a weight that is no number");
      tensors.set(entry.name, { shape: sides, values });
    } else throw damaged("a type of number");
  }
  used.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < used.length; i++) {
    if (used[i]![0] < used[i - 1]![1]) throw damaged("tensors that overlap");
  }
  return tensors;
}

/** Read a model's bundle. EngineError "damaged" or "unsupported" for anything else. */
export function readBundle(buffer: ArrayBuffer): Bundle {
  const { header, data, start } = open(buffer);
  if (header.adapter !== undefined) throw new EngineError("This file is an adapter; load it together with its model.", "unsupported");
  if (!isObject(header.config)) throw damaged("no config");
  const files: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, hash] of Object.entries(isObject(header.files) ? header.files : {})) files[name] = String(hash);
  const config = readConfig(header.config);
  return { config, tensors: readTensors(header, data, start), sha256: String(header.sha256), files };
}

/** Read an adapter's file: a LoRA's A (R, I) and B (O, R) of each layer that it changes. */
export function readAdapter(buffer: ArrayBuffer): AdapterFile {
  const { header, data, start } = open(buffer);
  const about = header.adapter;
  if (!isObject(about)) throw new EngineError("This file is no adapter.", "unsupported");
  const { base, scale, rank } = about;
  if (typeof base !== "string" || typeof scale !== "number" || !Number.isFinite(scale)) throw damaged("the adapter's scale");
  if (typeof rank !== "number" || !Number.isInteger(rank) || rank < 1 || rank > 4096) throw damaged("the adapter's rank");
  const tensors = readTensors(header, data, start);
  for (const { values } of tensors.values()) {
    if (!(values instanceof Float32Array)) throw damaged("an adapter in int8");
  }
  return { base, scale, rank, tensors };
}
