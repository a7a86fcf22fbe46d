/** Knobs: their defaults, their bounds, and how they stand in the address. Pure. */

import type { Knobs } from "../runtime/protocol";

export interface Choice { value: string | number | boolean; label?: string }
export interface Knob {
  name: string; label?: string; type: "range" | "choice" | "toggle";
  min?: number; max?: number; step?: number; scale?: "linear" | "log2";
  options?: Choice[]; default: string | number | boolean; help?: string; unit?: string;
}

export const defaults = (knobs: Knob[]): Knobs =>
  Object.fromEntries(knobs.map((knob) => [knob.name, knob.default]));

/** A value from outside, made valid; the default when it cannot be. */
export function clean(knob: Knob, text: string): string | number | boolean {
  if (knob.type === "toggle") return text === "1" || text === "true";
  if (knob.type === "choice") {
    const found = knob.options?.find((option) => String(option.value) === text);
    return found ? found.value : knob.default;
  }
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) return knob.default;
  const min = knob.min ?? Number.NEGATIVE_INFINITY;
  const max = knob.max ?? Number.POSITIVE_INFINITY;
  const step = knob.step ?? 1;
  const from = Number.isFinite(min) ? min : 0;
  const snapped = from + Math.round((Math.min(max, Math.max(min, number)) - from) / step) * step;
  // 0.30000000000000004 is not a value that anyone set.
  return Number(Math.min(max, snapped).toPrecision(12));
}

/** "normalization/stack" is `stack` in the address, so that it stays readable. */
const prefix = (lab: string): string => `${lab.split("/").at(-1) ?? lab}.`;

/** The knobs that the address sets, or null when it says nothing about this lab. */
export function fromQuery(lab: string, knobs: Knob[], query: string): Knobs | null {
  const params = new URLSearchParams(query);
  const named = knobs.filter((knob) => params.has(prefix(lab) + knob.name));
  if (named.length === 0) return null;
  const values = defaults(knobs);
  for (const knob of named) values[knob.name] = clean(knob, params.get(prefix(lab) + knob.name) ?? "");
  return values;
}

/** The query with this lab's knobs in it; values at their default are left out. */
export function toQuery(lab: string, knobs: Knob[], values: Knobs, query: string): string {
  const params = new URLSearchParams(query);
  for (const knob of knobs) {
    const value = values[knob.name];
    const key = prefix(lab) + knob.name;
    if (value === undefined || value === knob.default) params.delete(key);
    else params.set(key, typeof value === "boolean" ? (value ? "1" : "0") : String(value));
  }
  const text = params.toString().replace(/%2F/g, "/");
  return text ? `?${text}` : "";
}

/** How a range's value is shown: no trailing noise, thin groups. */
export function show(knob: Knob, value: string | number | boolean): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") {
    const text = Math.abs(value) > 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)
      ? value.toExponential().replace("e", " × 10^").replace("^+", "^")
      : String(value);
    return knob.unit ? `${text} ${knob.unit}` : text;
  }
  return knob.options?.find((option) => option.value === value)?.label ?? value;
}
