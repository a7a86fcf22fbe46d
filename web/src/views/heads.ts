/**
 * What heads of attention do on a text, as numbers, and how their patterns are drawn. Pure.
 * `minimind_wiki/book/views/measures.py` computes the same for the recorded pictures; a test holds
 * the two together.
 */

import { step, STEPS } from "./scale";

export const MEASURES = ["one back", "first", "itself", "same", "after same"] as const;
export type Measure = (typeof MEASURES)[number];
export type Measures = Record<Measure, number | null>;

/** One head of a layer's H·T·T weights, as T rows of T. */
export function headRows(layer: Float32Array, head: number, size: number): Float32Array[] {
  return Array.from({ length: size }, (_, i) => layer.subarray((head * size + i) * size, (head * size + i + 1) * size));
}

/** Means over the rows where each can be told; null where no row can tell. */
export function headMeasures(rows: ArrayLike<number>[], ids: number[]): Measures {
  const found: Record<Measure, number[]> = { "one back": [], first: [], itself: [], same: [], "after same": [] };
  rows.forEach((row, i) => {
    const at = (j: number): number => row[j] ?? 0;
    if (i >= 1) found.itself.push(at(i));
    if (i >= 2) {
      found["one back"].push(at(i - 1));
      found.first.push(at(0));
    }
    const copies = ids.slice(0, i).flatMap((id, j) => (id === ids[i] ? [j] : []));
    const sum = (places: number[]): number => places.reduce((total, j) => total + at(j), 0);
    if (copies.length) found.same.push(sum(copies));
    const after = copies.map((j) => j + 1).filter((j) => j < i);
    if (after.length) found["after same"].push(sum(after));
  });
  const mean = (given: number[]): number | null => (given.length ? given.reduce((a, b) => a + b, 0) / given.length : null);
  return Object.fromEntries(MEASURES.map((name) => [name, mean(found[name])])) as Measures;
}

/** The same for a head that spreads its weight evenly: what has to be beaten. */
export function evenMeasures(ids: number[]): Measures {
  return headMeasures(ids.map((_, i) => new Array<number>(i + 1).fill(1 / (i + 1))), ids);
}

/** The largest measure, by which a head is named. */
export function strongest(measures: Measures): [Measure | "", number] {
  let best: [Measure | "", number] = ["", 0];
  for (const name of MEASURES) {
    const value = measures[name];
    if (value !== null && (best[0] === "" || value > best[1])) best = [name, value];
  }
  return best;
}

/** A pattern as one path for each step of the scale; a token is one unit wide and one high. */
export function patternPaths(rows: ArrayLike<number>[]): string[] {
  const paths = new Array<string>(STEPS).fill("");
  rows.forEach((row, i) => {
    for (let j = 0; j <= i; ) {
      const level = step(row[j] ?? 0);
      const start = j;
      while (j <= i && step(row[j] ?? 0) === level) j++;
      paths[level] += `M${start} ${i}h${j - start}v1H${start}z`;
    }
  });
  paths[0] = "";
  return paths;
}

/** The outline of what can be seen: each token and all before it. */
export function stairs(size: number): string {
  return `M0 0${Array.from({ length: size }, (_, i) => `H${i + 1}V${i + 1}`).join("")}H0z`;
}

/** Where an arrow key leads in a grid of layers and heads. */
export function neighbour(layer: number, head: number, key: string, layers: number, heads: number): [number, number] | null {
  const move: Record<string, [number, number]> = {
    ArrowLeft: [layer, head - 1], ArrowRight: [layer, head + 1], ArrowUp: [layer - 1, head], ArrowDown: [layer + 1, head],
    Home: [layer, 0], End: [layer, heads - 1],
  };
  const to = move[key];
  if (!to) return null;
  return [Math.min(layers - 1, Math.max(0, to[0])), Math.min(heads - 1, Math.max(0, to[1]))];
}
