/** Questions and how they are judged. Pure. */

export interface Option {
  text?: string; text_html?: string; right?: boolean; why?: string; why_html?: string;
}
export interface Question {
  id: string;
  type: "single" | "multi" | "number";
  ask?: string; ask_html?: string;
  options?: Option[];
  answer?: number;
  /** Absolute, in the question's unit. */
  tolerance?: number;
  /** Share of the answer, e.g. 0.05. */
  relative_tolerance?: number;
  unit?: string;
  why?: string; why_html?: string;
}
export interface Quiz { id: string; title?: string; questions: Question[] }

/**
 * A number as people write it: "0,5", "1.2e-4", "3 × 10^-4", "−2", "50 %", "1 000". NaN if it is none.
 * A lone comma is a decimal comma; commas before a point, or several, separate thousands.
 */
export function readNumber(text: string): number {
  let t = text.trim().replace(/[\s\u00a0\u202f_]/g, "").replace(/[\u2212\u2013]/g, "-");
  t = t.replace(/[×x*·]?10(?:\^|\*\*)\(?([+-]?\d+)\)?$/i, (_, power: string) => `e${power}`);
  if (t.startsWith("e")) t = `1${t}`;
  if (t.endsWith("%")) t = t.slice(0, -1);
  const commas = (t.match(/,/g) ?? []).length;
  if (commas > 1 || (commas === 1 && t.includes("."))) t = t.replace(/,/g, "");
  else t = t.replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(t) ? Number(t) : Number.NaN;
}

/** All that a text can mean: "786,432" is also the number with a comma for the thousands. */
export function readings(text: string): number[] {
  const thousands = /^\s*[+\u2212-]?\d{1,3},\d{3}\s*$/.test(text) ? [readNumber(text.replace(",", ""))] : [];
  return [readNumber(text), ...thousands];
}

/** An answer for reading: "786,432", "0.4242". */
export function written(answer: number): string {
  return Number.isInteger(answer) ? answer.toLocaleString("en-US") : String(Number(answer.toPrecision(4)));
}

/** How far from the answer still counts. With nothing given: 1 % (rounding), exact for 0. */
export function margin(question: Question): number {
  const answer = Math.abs(question.answer ?? 0);
  const absolute = question.tolerance ?? 0;
  const relative = (question.relative_tolerance ?? 0) * answer;
  if (question.tolerance === undefined && question.relative_tolerance === undefined) {
    return 0.01 * answer;
  }
  return Math.max(absolute, relative);
}

/** Is this answer right? `value`: chosen option indices, or the typed number. */
export function judge(question: Question, value: number[] | string): boolean {
  if (question.type === "number") {
    if (typeof value !== "string" || question.answer === undefined) return false;
    const { answer } = question;
    // 1e-12: 0.1 + 0.2 must not fail at the edge of the tolerance.
    const slack = 1e-12 * Math.max(1, Math.abs(answer));
    return readings(value).some((typed) => Math.abs(typed - answer) <= margin(question) + slack);
  }
  if (typeof value === "string") return false;
  const right = (question.options ?? []).flatMap((o, i) => (o.right ? [i] : []));
  return value.length === right.length && right.every((i) => value.includes(i));
}

/** Has the reader given something that can be judged? */
export function answered(question: Question, value: number[] | string): boolean {
  if (question.type === "number") return typeof value === "string" && !Number.isNaN(readNumber(value));
  return typeof value !== "string" && value.length > 0;
}
