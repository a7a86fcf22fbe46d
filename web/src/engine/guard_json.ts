/**
 * JSON from a file that anyone may have written. `JSON.parse` runs nothing, but what comes out can
 * still do harm: nesting that overflows the stack of whoever walks it, a field that is not there and
 * that every object inherits, a number that is no size. So every field is read through these
 * functions, and a wrong one is an `EngineError` that names it.
 */

import { EngineError } from "./api";

export type Plain = Readonly<Record<string, unknown>>;

const DEEPEST = 32; // no file of a model nests further than about ten
const LARGEST = 2 ** 53 - 1;

function damaged(message: string): EngineError {
  return new EngineError(message, "damaged");
}

/** The value of a JSON text. `name` is what the reader calls the file. */
export function parseJson(text: string, name: string): unknown {
  if (depth(text) > DEEPEST) throw damaged(`${name} nests deeper than any model's file; it is not read.`);
  try {
    return JSON.parse(text);
  } catch {
    throw damaged(`${name} is not JSON: it is damaged or cut short. Get it again from its source.`);
  }
}

/** UTF-8 to text. Bytes that are no text are a damaged file, not question marks. */
export function decodeText(bytes: BufferSource, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw damaged(`${name} is not text: it is damaged. Get it again from its source.`);
  }
}

/** How many brackets are open at once, brackets inside strings aside. */
function depth(text: string): number {
  let open = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const sign = text[i];
    if (sign === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
    } else if (sign === "{" || sign === "[") deepest = Math.max(deepest, ++open);
    else if (sign === "}" || sign === "]") open--;
  }
  return deepest;
}

/** An object, and not an array; only its own fields answer, "__proto__" among them. */
export function plain(value: unknown, name: string): Plain {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw damaged(`${name} is no object.`);
  return Object.assign(Object.create(null) as object, value) as Plain;
}

export function list(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw damaged(`${name} is no list.`);
  return value as unknown[];
}

/** A whole number from `least` to `most`. */
export function count(value: unknown, name: string, least = 0, most = LARGEST): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    throw damaged(`${name} is ${shown(value)}; it must be a whole number from ${least} to ${most}.`);
  }
  return value;
}

export function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw damaged(`${name} is ${shown(value)}; it must be text.`);
  return value;
}

/** The sizes of a tensor; their product is a size that a file can have. */
export function shape(value: unknown, name: string): number[] {
  const sizes = list(value, `${name}'s shape`).map((side) => count(side, `a side of ${name}`, 0, 2 ** 31));
  if (sizes.length > 8) throw damaged(`${name} has ${sizes.length} axes; no model has such a tensor.`);
  count(sizes.reduce((product, side) => product * side, 1), `the size of ${name}`);
  return sizes;
}

/** A value in a message: short, whatever it is. */
export function shown(value: unknown): string {
  const said = typeof value === "string" ? JSON.stringify(value) : Array.isArray(value) ? "a list" : String(typeof value === "object" && value ? "an object" : value);
  return said.length > 60 ? `${said.slice(0, 57)}…` : said;
}
