/** Next-token odds before and after a change, and where two prompts correspond. Pure. */

import { largest } from "../engine/odds";

export interface Compared { id: number; text: string; before: number; after: number }

/** The likeliest tokens before and after, each once, in the order of the larger of the two. */
export function compare(before: ArrayLike<number>, after: ArrayLike<number>, texts: string[], count: number): Compared[] {
  const ids = new Set([...largest(before, count), ...largest(after, count)]);
  return [...ids]
    .map((id) => ({ id, text: texts[id] ?? "", before: before[id] ?? 0, after: after[id] ?? 0 }))
    .sort((a, b) => Math.max(b.before, b.after) - Math.max(a.before, a.after))
    .slice(0, count + 2);
}

/** How far two distributions are apart: half the sum of the differences, 0 to 1. */
export function moved(before: ArrayLike<number>, after: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < before.length; i++) sum += Math.abs((before[i] ?? 0) - (after[i] ?? 0));
  return sum / 2;
}

/**
 * For each position of `mine` the position of `theirs` that corresponds to it, or null. With one
 * length they go in pairs. Otherwise what is equal at the beginning and at the end does, and what
 * differs between has no partner: to put a vector there would compare unlike places.
 */
export function align(mine: number[], theirs: number[]): (number | null)[] {
  if (mine.length === theirs.length) return mine.map((_, i) => i);
  const shorter = Math.min(mine.length, theirs.length);
  let head = 0;
  while (head < shorter && mine[head] === theirs[head]) head++;
  let tail = 0;
  while (tail < shorter - head && mine[mine.length - 1 - tail] === theirs[theirs.length - 1 - tail]) tail++;
  return mine.map((_, i) => {
    if (i < head) return i;
    const fromEnd = mine.length - 1 - i;
    return fromEnd < tail ? theirs.length - 1 - fromEnd : null;
  });
}
