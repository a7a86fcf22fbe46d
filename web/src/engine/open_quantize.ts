/**
 * Weights as the bundle has them: int8 with one scale for each row, the same bytes that the package
 * writes (minimind_wiki/infer/export/, a test compares them).
 */

import type { Sought } from "./open_names";

const ALIGN = 64;
const STEPS = 127; // of int8, on each side
const MAGIC = "MMB1";

/**
 * The row's largest size is 127 steps; each weight becomes the nearest whole number of them. Every
 * operation is rounded to float32 and halves go to the even side, as numpy does it.
 */
export function quantizeRows(weights: Float32Array, rows: number, steps: Int8Array, scales: Float32Array): void {
  const inputs = weights.length / rows;
  for (let row = 0; row < rows; row++) {
    const from = row * inputs;
    let largest = 0;
    for (let i = from; i < from + inputs; i++) largest = Math.max(largest, Math.abs(weights[i] as number));
    const scale = Math.fround(largest / STEPS) || 1; // a row of zeros
    scales[row] = scale;
    for (let i = from; i < from + inputs; i++) steps[i] = toEven(Math.fround((weights[i] as number) / scale));
  }
}

/** Added to a small number, 1.5 · 2^52 leaves no room for its fraction: the sum is rounded to even. */
function toEven(value: number): number {
  return value + 6755399441055744 - 6755399441055744;
}

export interface Entry { name: string; shape: number[]; dtype: "int8" | "float32"; offset: number; scales?: number }

/** Where each tensor lies in the data, and how long that is. */
export function layOut(all: Sought[]): { entries: Entry[]; bytes: number } {
  let end = 0;
  const put = (size: number): number => {
    const at = Math.ceil(end / ALIGN) * ALIGN;
    end = at + size;
    return at;
  };
  const entries = all.map(({ name, shape }): Entry => {
    const count = shape.reduce((product, side) => product * side, 1);
    if (shape.length !== 2) return { name, shape, dtype: "float32", offset: put(4 * count) };
    return { name, shape, dtype: "int8", offset: put(count), scales: put(4 * (shape[0] as number)) };
  });
  return { entries, bytes: end };
}

/** The bundle's file. `fill` writes the data; `hash` says what its hash is, once it is written. */
export async function writeBundle(
  header: { config: unknown; files: Record<string, string> },
  plan: { entries: Entry[]; bytes: number },
  fill: (entry: Entry, data: ArrayBuffer, start: number) => Promise<void>,
  hash: (data: Uint8Array<ArrayBuffer>) => Promise<string>,
): Promise<ArrayBuffer> {
  const text = (sha256: string): Uint8Array => new TextEncoder().encode(JSON.stringify({ ...header, bytes: plan.bytes, sha256, tensors: plan.entries }));
  const blank = "0".repeat(64); // of the length that the hash will have
  const start = Math.ceil((8 + text(blank).length) / ALIGN) * ALIGN;
  const file = new ArrayBuffer(start + plan.bytes);
  for (const entry of plan.entries) await fill(entry, file, start);
  const head = new Uint8Array(file, 0, start).fill(0x20);
  head.set(new TextEncoder().encode(MAGIC));
  new DataView(file).setUint32(4, start - 8, true);
  head.set(text(await hash(new Uint8Array(file, start))), 8);
  return file;
}
