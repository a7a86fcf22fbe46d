/** The file that `minimind path … --out` writes: what a check on the reader's machine found. */

import { FOUND, LIMIT, isDate, isDict, isText } from "./model";
import type { ModuleProgress } from "./model";

export interface Part { name: string; passed: boolean; found: string }
export interface Result { path: string; made: string; parts: Part[] }

/** Read it. Throws an Error with one sentence for the reader when it is something else. */
export function readResult(text: string, path: string): Result {
  const how = `Choose the file that “minimind path ${path} … --out” wrote.`;
  if (text.length > LIMIT) throw new Error(`This file is too large to be a result. ${how}`);
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error(`This file is not JSON. ${how}`);
  }
  if (!isDict(data) || data.minimind_path !== 1 || !isDate(data.made) || !Array.isArray(data.parts)) {
    throw new Error(`This is no result of a check. ${how}`);
  }
  if (data.path !== path) throw new Error(`This is the result of another path. ${how}`);
  const parts = data.parts.filter(isDict).flatMap(({ name, passed, found }) =>
    isText(name) && typeof passed === "boolean" && isText(found) ? [{ name, passed, found: found.slice(0, FOUND) }] : []);
  return { path, made: data.made, parts };
}

/** Note what passed. A part that passed before stays passed: it was done once. */
export function noteResult(entry: ModuleProgress, result: Result, asked: string[]): number {
  const kept = (entry.exercise ??= {});
  let passed = 0;
  for (const part of result.parts) {
    const name = `${result.path}/${part.name}`;
    if (!part.passed || !asked.includes(name)) continue;
    kept[name] = { ...kept[name], passed: result.made, at: result.made, found: part.found };
    passed += 1;
  }
  return passed;
}
