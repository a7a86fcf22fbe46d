/** What a view shows, and how that stands in the address. Pure. */

import type { Edit } from "../engine/api";

export type Show = "attention" | "lens" | "patch" | "cache" | "next" | "tokens" | "neurons";

/** What the fence says of a view; `bytes` are those of its model's files. */
export interface ViewSpec {
  show: Show; name: string; title: string; model: string; prompt: string; other: string;
  layer: number; head: number; length: number; bytes: number; shapes?: Shape[]; shape?: Shape;
}

/** What decides the size of a cache. */
export interface Shape {
  id: string; title: string; layers: number; heads: number; kvHeads: number; headSize: number;
  context: number; windows: (number | null)[];
}

export interface ViewState {
  model: string;
  ask: string;
  /** The prompt whose vectors are put in. */
  other: string;
  layer: number;
  head: number;
  /** The token whose row or column is shown; -1: the last. */
  at: number;
  /** The neuron that stays in view; -1: none. */
  neuron: number;
  by: "weights" | "values";
  /** Whether a model that chats gets the text through its template, or as plain text. */
  form: "text" | "chat";
  /** What is switched off: "2.3" a head, "1.a" a layer's attention, "1.m" its MLP. */
  off: string[];
  length: number;
}

const LONGEST = 600; // characters of a prompt in a link
const OFF = /^(\d{1,3})\.(\d{1,3}|a|m)$/;

export function fresh(spec: ViewSpec): ViewState {
  const { model, prompt, other, layer, head, length } = spec;
  return { model, ask: prompt, other, layer, head, at: -1, neuron: -1, by: "weights", form: "text", off: [], length };
}

const prefix = (name: string): string => `${name.split("/").at(-1) ?? name}.`;
const whole = (text: string | null, usual: number, low: number): number => {
  const value = Number(text);
  return text !== null && text.trim() !== "" && Number.isInteger(value) && value >= low && value <= 1e6 ? value : usual;
};

/** The state that the address names, or null where it says nothing about this view. */
export function fromQuery(spec: ViewSpec, query: string): ViewState | null {
  const params = new URLSearchParams(query);
  const get = (key: string): string | null => params.get(prefix(spec.name) + key);
  const usual = fresh(spec);
  if (!Object.keys(usual).some((key) => get(key) !== null)) return null;
  return {
    model: (get("model") ?? usual.model).slice(0, 100),
    ask: (get("ask") ?? usual.ask).slice(0, LONGEST),
    other: (get("other") ?? usual.other).slice(0, LONGEST),
    layer: whole(get("layer"), usual.layer, 0),
    head: whole(get("head"), usual.head, 0),
    at: whole(get("at"), usual.at, -1),
    neuron: whole(get("neuron"), usual.neuron, -1),
    by: get("by") === "values" ? "values" : "weights",
    form: get("form") === "chat" ? "chat" : "text",
    off: (get("off") ?? "").split("_").filter((name) => OFF.test(name)).slice(0, 100),
    length: Math.max(1, whole(get("length"), usual.length, 1)),
  };
}

/** The query with this view's state in it; what is at its default is left out. */
export function toQuery(spec: ViewSpec, state: ViewState, query: string): string {
  const params = new URLSearchParams(query);
  const usual = fresh(spec);
  for (const [key, value] of Object.entries(state) as [keyof ViewState, ViewState[keyof ViewState]][]) {
    const name = prefix(spec.name) + key;
    const text = Array.isArray(value) ? value.join("_") : String(value);
    if (text === (Array.isArray(value) ? "" : String(usual[key]))) params.delete(name);
    else params.set(name, text.slice(0, LONGEST));
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** The edits that `off` stands for; those that this model does not have are left out. */
export function edits(off: string[], layers: number, heads: number): Edit[] {
  return off.flatMap((name): Edit[] => {
    const [, first, second] = OFF.exec(name) ?? [];
    const layer = Number(first);
    if (first === undefined || layer >= layers) return [];
    if (second === "a" || second === "m") return [{ kind: "part", layer, part: second === "a" ? "attention" : "mlp" }];
    return Number(second) < heads ? [{ kind: "head", layer, head: Number(second) }] : [];
  });
}

/** In words: "head 3 of layer 2", "the MLP of layer 1". */
export function offName(name: string): string {
  const [, layer, what] = OFF.exec(name) ?? [];
  if (what === "a") return `attention of layer ${layer}`;
  if (what === "m") return `MLP of layer ${layer}`;
  return `layer ${layer}, head ${what}`;
}

export function toggled(off: string[], name: string): string[] {
  return off.includes(name) ? off.filter((other) => other !== name) : [...off, name];
}
