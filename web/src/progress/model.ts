/** What is kept about a reader, on the reader's own machine. Pure functions: no DOM, no storage. */

export interface QuizAnswer {
  /** Indices of chosen options, or the number as typed. */
  value: number[] | string;
  /** null: chosen but not yet checked. */
  ok: boolean | null;
  attempts: number;
  /** Whether the first checked attempt was right. */
  first?: boolean;
  at: string;
}
export interface Guess { choice: number; text: string; right?: boolean; at: string }
export interface ExerciseState {
  draft?: string; passed?: string; opened?: string; hints?: number; at: string;
  /** What a check on the reader's machine found, in one sentence. */
  found?: string;
}
export interface ModuleProgress {
  read?: string;
  quiz?: { total: number; answers: Record<string, QuizAnswer> };
  predict?: Record<string, Guess>;
  lab?: Record<string, string>;
  exercise?: Record<string, ExerciseState>;
}
export interface Progress { version: 1; modules: Record<string, ModuleProgress> }

export const LIMIT = 2_000_000;
/** Letters that are kept of what a check found. */
export const FOUND = 300;

export function empty(): Progress {
  return { version: 1, modules: {} };
}

type Dict = Record<string, unknown>;
export const isDict = (x: unknown): x is Dict => typeof x === "object" && x !== null && !Array.isArray(x);
export const isText = (x: unknown): x is string => typeof x === "string" && x.length < 200_000;
export const isDate = (x: unknown): x is string => isText(x) && !Number.isNaN(Date.parse(x));
/** Keys come from a file: these three would reach into the prototype. */
const safe = (key: string): boolean => !["__proto__", "constructor", "prototype"].includes(key);

function table<T>(x: unknown, keep: (v: unknown) => T | null): Record<string, T> {
  const out: Record<string, T> = {};
  if (!isDict(x)) return out;
  for (const [key, value] of Object.entries(x)) {
    const kept = safe(key) ? keep(value) : null;
    if (kept !== null) out[key] = kept;
  }
  return out;
}

function answer(x: unknown): QuizAnswer | null {
  if (!isDict(x) || !isDate(x.at) || typeof x.attempts !== "number") return null;
  const list = Array.isArray(x.value) && x.value.every((v) => Number.isInteger(v));
  if (!list && !isText(x.value)) return null;
  const ok = x.ok === null || typeof x.ok === "boolean" ? x.ok : null;
  const kept: QuizAnswer = { value: x.value as number[] | string, ok, attempts: x.attempts, at: x.at };
  if (typeof x.first === "boolean") kept.first = x.first;
  return kept;
}

function guess(x: unknown): Guess | null {
  if (!isDict(x) || !Number.isInteger(x.choice) || !isText(x.text) || !isDate(x.at)) return null;
  const kept: Guess = { choice: x.choice as number, text: x.text, at: x.at };
  if (typeof x.right === "boolean") kept.right = x.right;
  return kept;
}

function exercise(x: unknown): ExerciseState | null {
  if (!isDict(x) || !isDate(x.at)) return null;
  const kept: ExerciseState = { at: x.at };
  if (isText(x.draft)) kept.draft = x.draft;
  if (isDate(x.passed)) kept.passed = x.passed;
  if (isDate(x.opened)) kept.opened = x.opened;
  if (typeof x.hints === "number") kept.hints = x.hints;
  if (isText(x.found)) kept.found = x.found.slice(0, FOUND);
  return kept;
}

function moduleProgress(x: unknown): ModuleProgress | null {
  if (!isDict(x)) return null;
  const kept: ModuleProgress = {};
  if (isDate(x.read)) kept.read = x.read;
  if (isDict(x.quiz) && typeof x.quiz.total === "number") {
    kept.quiz = { total: x.quiz.total, answers: table(x.quiz.answers, answer) };
  }
  if (isDict(x.predict)) kept.predict = table(x.predict, guess);
  if (isDict(x.lab)) kept.lab = table(x.lab, (v) => (isDate(v) ? v : null));
  if (isDict(x.exercise)) kept.exercise = table(x.exercise, exercise);
  return kept;
}

/** Read a progress file. Throws an Error with one sentence for the reader when it is not one. */
export function parse(text: string): Progress {
  if (text.length > LIMIT) throw new Error("This file is too large to be a progress file.");
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON. Choose a file that was saved with “Export”.");
  }
  if (!isDict(data) || data.version !== 1 || !isDict(data.modules)) {
    throw new Error("This is not a progress file of version 1. Choose one saved with “Export”.");
  }
  return { version: 1, modules: table(data.modules, moduleProgress) };
}

type Dated = { at: string };
function newer<T extends Dated>(
  a: Record<string, T> | undefined,
  b: Record<string, T> | undefined,
): Record<string, T> {
  const out = { ...a };
  for (const [key, value] of Object.entries(b ?? {})) {
    const mine = out[key];
    if (!mine || mine.at < value.at) out[key] = value;
  }
  return out;
}

/** Both together; where both know something, the later one stands. */
export function merge(a: Progress, b: Progress): Progress {
  const out = empty();
  for (const slug of new Set([...Object.keys(a.modules), ...Object.keys(b.modules)])) {
    const x = a.modules[slug] ?? {};
    const y = b.modules[slug] ?? {};
    const both: ModuleProgress = {};
    const read = x.read ?? y.read;
    if (read) both.read = read;
    if (x.quiz || y.quiz) {
      both.quiz = {
        total: (y.quiz ?? x.quiz)?.total ?? 0,
        answers: newer(x.quiz?.answers, y.quiz?.answers),
      };
    }
    if (x.predict || y.predict) both.predict = newer(x.predict, y.predict);
    if (x.lab || y.lab) both.lab = { ...x.lab, ...y.lab };
    if (x.exercise || y.exercise) both.exercise = newer(x.exercise, y.exercise);
    out.modules[slug] = both;
  }
  return out;
}

export interface Summary {
  read: boolean; guessed: boolean; right: number; total: number; review: number; labs: number; passed: number;
  /** Of the parts that were touched or can be counted: 0..1. */
  share: number;
}

/** What a path or a module header shows. A module is four parts: page, quiz, lab, exercise. */
export function summarize(x: ModuleProgress | undefined): Summary {
  const answers = Object.values(x?.quiz?.answers ?? {});
  const right = answers.filter((a) => a.ok === true).length;
  const total = x?.quiz?.total ?? 0;
  const labs = Object.keys(x?.lab ?? {}).length;
  const passed = Object.values(x?.exercise ?? {}).filter((e) => e.passed).length;
  const parts = [x?.read ? 1 : 0, total ? right / total : 0, labs ? 1 : 0, passed ? 1 : 0];
  return {
    read: Boolean(x?.read), guessed: Object.keys(x?.predict ?? {}).length > 0, right, total, labs, passed,
    review: answers.filter((a) => a.ok === false).length,
    share: parts.reduce((a, b) => a + b, 0) / parts.length,
  };
}
