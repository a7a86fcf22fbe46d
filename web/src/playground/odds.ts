/** The odds of a next token as rows of bars, and how a token is written out. Pure. */

import type { Candidate } from "../engine/api";

/** A bar: a token, or all that are not shown, together. */
export interface Row { text: string; probability: number; taken: boolean; rest?: boolean; id?: number }

/** A token as readers see it: what is no letter gets a sign, so that " a" and "a" differ. */
export function shown(text: string): string {
  if (text === "") return "∅";
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length)).replace(/\r/g, "␍");
}

/** The likeliest `count` tokens, and one row for the rest, so that the bars always sum to one. */
export function rows(top: Candidate[], taken: number | null, count: number): Row[] {
  const first = top.slice(0, count);
  const bars: Row[] = first.map((one) => ({ text: one.text, probability: one.probability, taken: one.id === taken, id: one.id }));
  const rest = Math.max(0, 1 - first.reduce((sum, one) => sum + one.probability, 0));
  return [...bars, { text: "all others", probability: rest, taken: taken !== null && !first.some((one) => one.id === taken), rest: true }];
}

/** Where two answers part: the first place at which their tokens differ, or null for equal ones. */
export function parting(a: { id: number }[], b: { id: number }[]): number | null {
  const length = Math.max(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i]?.id !== b[i]?.id) return i;
  return null;
}

/** "2.4 MB", "380 KB". */
export function bytes(count: number): string {
  if (count === 0) return "0 KB";
  return count >= 999_500 ? `${(count / 1e6).toFixed(count < 9.95e6 ? 1 : 0)} MB` : `${Math.max(1, Math.round(count / 1000))} KB`;
}
