/** What a cache of keys and values takes. Pure; `minimind_wiki/book/views/cache.py` has the same. */

import type { Shape } from "./state";

export const FORMATS = ["float32", "float16", "int8"] as const;
export type Format = (typeof FORMATS)[number];

/** Bytes of one key or value; int8 has a scale of four bytes beside it. */
export function vectorBytes(size: number, format: Format): number {
  return { float32: 4 * size, float16: 2 * size, int8: size + 4 }[format];
}

/** Bytes of each layer: a key and a value for each token and key head, no more than its window. */
export function cacheBytes(shape: Pick<Shape, "kvHeads" | "headSize" | "windows">, tokens: number, format: Format): number[] {
  const each = 2 * shape.kvHeads * vectorBytes(shape.headSize, format);
  return shape.windows.map((window) => each * Math.min(tokens, window ?? tokens));
}

export const total = (bytes: number[]): number => bytes.reduce((sum, each) => sum + each, 0);

/** Bytes for reading, in powers of a thousand. */
export function inWords(size: number): string {
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < 3) [value, unit] = [value / 1000, unit + 1];
  if (unit === 0) return `${size} B`;
  return `${value.toFixed(value < 99.95 ? 1 : 0)} ${["B", "kB", "MB", "GB"][unit] ?? ""}`;
}

/** Positions of a slider from 0 to 66 as lengths from 16 to 32,768 tokens, evenly in the logarithm. */
export const SLIDER = 66;
export const lengthAt = (position: number): number => {
  const exact = 2 ** (4 + position / 6);
  const round = exact < 256 ? 1 : 2 ** Math.max(0, Math.floor(Math.log2(exact)) - 6);
  return Math.round(exact / round) * round;
};
export const positionOf = (length: number): number => {
  const exact = (Math.log2(Math.max(1, length)) - 4) * 6;
  return Math.min(SLIDER, Math.max(0, Math.round(exact)));
};
