/**
 * Weights from a safetensors file on the reader's disk, one tensor at a time, so that a large file
 * never stands in memory as a whole.
 *
 *     bytes 0–7       length H of the header, unsigned, little-endian
 *     bytes 8–8+H     the header, JSON: name → dtype, shape, data_offsets [begin, end)
 *     then            the data; offsets count from here
 *
 * As in the format's own reader, the tensors must fill the data without gap and without overlap:
 * in a gap anything could be hidden, and an overlap makes a small file name endless weights.
 */

import { EngineError } from "./api";
import { count, decodeText, list, parseJson, plain, shape, shown, text } from "./guard_json";

const LONGEST_HEADER = 100_000_000; // the format's own limit
const WIDTH: Record<string, number> = { F32: 4, F16: 2, BF16: 2 };

export interface Stored {
  file: string;
  dtype: string;
  shape: number[];
  /** Where its bytes lie in the file. */
  blob: Blob;
}

function damaged(message: string): EngineError {
  return new EngineError(`${message} It is damaged or cut short; copy it again.`, "damaged");
}

/** What the file holds, by name, in the file's order. */
export async function readHeader(blob: Blob, file: string): Promise<Map<string, Stored>> {
  if (blob.size < 8) throw damaged(`${file} is too short for a safetensors file.`);
  const view = new DataView(await blob.slice(0, 8).arrayBuffer());
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > LONGEST_HEADER || 8 + length > blob.size) throw damaged(`${file} says that its header has ${length} bytes.`);
  const header = plain(parseJson(decodeText(await blob.slice(8, 8 + length).arrayBuffer(), `${file}'s header`), `${file}'s header`), `${file}'s header`);
  const data = blob.slice(8 + length);
  const found = new Map<string, Stored>();
  const spans: [number, number, string][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const entry = plain(value, name);
    const dtype = text(entry.dtype, `${name}'s dtype`);
    const width = Object.hasOwn(WIDTH, dtype) ? (WIDTH[dtype] as number) : 0;
    if (!width) {
      throw new EngineError(`${file} stores ${shown(name)} as ${shown(dtype)}; the page reads F32, F16 and BF16. Save the model in one of them.`, "unsupported");
    }
    const sizes = shape(entry.shape, name);
    const [from, to, more] = list(entry.data_offsets, `${name}'s offsets`);
    const begin = count(from, `${name}'s begin`, 0, data.size);
    const end = count(to, `${name}'s end`, begin, data.size);
    const bytes = sizes.reduce((product, side) => product * side, 1) * width;
    if (more !== undefined || end - begin !== bytes) throw damaged(`${file} gives ${shown(name)} ${end - begin} bytes where its shape asks for ${bytes}.`);
    spans.push([begin, end, name]);
    found.set(name, { file, dtype, shape: sizes, blob: data.slice(begin, end) });
  }
  let filled = 0;
  for (const [begin, end, name] of spans.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    if (begin !== filled) throw damaged(`In ${file}, ${shown(name)} does not begin where the tensor before it ends.`);
    filled = end;
  }
  if (filled !== data.size) throw damaged(`${file} has ${data.size - filled} bytes that belong to no tensor.`);
  return found;
}

/** The numbers of a tensor. EngineError where one of them is none: such a model answers nothing. */
export async function readFloats(tensor: Stored, name: string): Promise<Float32Array> {
  const bytes = await tensor.blob.arrayBuffer().catch(() => {
    throw new EngineError(`${tensor.file} cannot be read any more. Choose the folder again.`, "missing");
  });
  const values = tensor.dtype === "F32" ? new Float32Array(bytes) : widen(new Uint16Array(bytes), tensor.dtype);
  if (!values.every(Number.isFinite)) throw damaged(`${tensor.file} has a value in ${shown(name)} that is no number.`);
  return values;
}

/** 16 bits to float32; exact, as float32 has more of everything. */
export function widen(halves: Uint16Array, dtype: string): Float32Array {
  const bits = new Uint32Array(halves.length);
  const values = new Float32Array(bits.buffer);
  if (dtype === "BF16") {
    for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16;
    return values;
  }
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i] as number;
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) values[i] = (sign ? -1 : 1) * fraction * 2 ** -24; // zero and subnormals
    else bits[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return values;
}
