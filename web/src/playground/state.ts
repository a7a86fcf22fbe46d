/** What each view of the playground shows, and how the one that is open stands in the address. Pure. */

import type { Sampling } from "../engine/api";

export const TABS = ["stages", "chat", "inspect", "reshape"] as const;
export type Tab = (typeof TABS)[number];

export interface ViewState {
  model: string;
  /** The prompt; for chat, what is typed and not sent yet, which no link keeps. */
  ask: string;
  /** Tokens of an answer at most. */
  len: number;
  sampling: Sampling;
  /** Which token's odds are shown, counted from 0. */
  at: number;
  /** Ids that the answer begins with: the reader chose them. */
  path: number[];
  /** What the reader said in a chat, in order; in the inspector the talk before the prompt, both sides in turn. */
  say: string[];
  /** How strongly an adapter changes its model: 1 as it was trained. */
  scale: number;
  /** Whether a smaller model guesses ahead. */
  draft: boolean;
}
export type State = { tab: Tab } & Record<Tab, ViewState>;

export const PLAIN: Sampling = {
  temperature: 0, topK: 0, topP: 1, minP: 0, typicalP: 1, repetitionPenalty: 1,
  presencePenalty: 0, frequencyPenalty: 0, noRepeatNgram: 0, bias: {}, seed: 0,
};

interface Numeric { key: string; name: Exclude<keyof Sampling, "bias">; min: number; max: number; step: number }
/** The knobs of sampling: their names in the address, and their bounds. */
export const KNOBS: Numeric[] = [
  { key: "t", name: "temperature", min: 0, max: 2, step: 0.05 },
  { key: "k", name: "topK", min: 0, max: 100, step: 1 },
  { key: "p", name: "topP", min: 0.01, max: 1, step: 0.01 },
  { key: "minp", name: "minP", min: 0, max: 1, step: 0.01 },
  { key: "typ", name: "typicalP", min: 0.01, max: 1, step: 0.01 },
  { key: "rep", name: "repetitionPenalty", min: 1, max: 2, step: 0.05 },
  { key: "pres", name: "presencePenalty", min: -2, max: 2, step: 0.1 },
  { key: "freq", name: "frequencyPenalty", min: -2, max: 2, step: 0.1 },
  { key: "ngram", name: "noRepeatNgram", min: 0, max: 6, step: 1 },
  { key: "seed", name: "seed", min: 0, max: 9999, step: 1 },
];
export const MOST_TOKENS = 200;
const LONGEST = 2000; // characters of one text in a link: servers refuse longer addresses

/** A place where the little world may go on in sixteen ways, each as likely: 4 bits. */
export const OPEN = "There was once a restless beekeeper whose name was Lirena, and one bright afternoon in";

export function defaults(prompt: string): State {
  const view = (model: string, more: Partial<ViewState> = {}): ViewState =>
    ({ model, ask: prompt, len: 48, sampling: { ...PLAIN, bias: {} }, at: 0, path: [], say: [], scale: 1, draft: false, ...more });
  return {
    tab: "stages",
    stages: view(""),
    chat: view("world-tiny-grpo", { ask: "", len: 100 }),
    inspect: view("world-tiny-grpo"),
    reshape: view("world-tiny", { ask: OPEN, sampling: { ...PLAIN, temperature: 1, bias: {} } }),
  };
}

/** A number inside its bounds and on its step; null for what is none. */
export function bounded(text: string, knob: { min: number; max: number; step: number }): number | null {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) return null;
  const inside = Math.min(knob.max, Math.max(knob.min, value));
  return Number((knob.min + Math.round((inside - knob.min) / knob.step) * knob.step).toPrecision(12));
}

const LEN = { min: 1, max: MOST_TOKENS, step: 1 };
export const SCALE = { min: 0, max: 2, step: 0.05 };
const AT = { min: 0, max: MOST_TOKENS - 1, step: 1 };
const KEYS = ["tab", "model", "ask", "len", "at", "path", "say", "lora", "draft", ...KNOBS.map((knob) => knob.key)];

/** The state that the address names; what it does not name, or names wrongly, is the default's. */
export function fromQuery(query: string, prompt: string): State {
  const params = new URLSearchParams(query);
  const state = defaults(prompt);
  const tab = TABS.find((name) => name === params.get("tab"));
  if (tab) state.tab = tab;
  const view = state[state.tab];
  view.model = (params.get("model") ?? view.model).slice(0, 100);
  view.ask = (params.get("ask") ?? view.ask).slice(0, LONGEST);
  view.len = bounded(params.get("len") ?? "", LEN) ?? view.len;
  view.at = bounded(params.get("at") ?? "", AT) ?? view.at;
  view.draft = params.get("draft") === "1";
  view.scale = bounded(params.get("lora") ?? "", SCALE) ?? view.scale;
  view.say = params.getAll("say").slice(0, 40).map((text) => text.slice(0, LONGEST));
  const path = (params.get("path") ?? "").split(".").filter(Boolean).map(Number);
  if (path.every((id) => Number.isInteger(id) && id >= 0)) view.path = path.slice(0, MOST_TOKENS);
  for (const knob of KNOBS) view.sampling[knob.name] = bounded(params.get(knob.key) ?? "", knob) ?? view.sampling[knob.name];
  return state;
}

/** The address's query with the open view in it; what is at its default is left out. */
export function toQuery(state: State, prompt: string, query: string): string {
  const params = new URLSearchParams(query);
  for (const key of KEYS) params.delete(key);
  const view = state[state.tab];
  const usual = defaults(prompt)[state.tab];
  const put = (key: string, value: string | number, standard: string | number): void => {
    if (value !== standard) params.set(key, String(value));
  };
  put("tab", state.tab, "stages");
  if (state.tab !== "stages") put("model", view.model, usual.model);
  if (state.tab !== "chat") put("ask", view.ask.slice(0, LONGEST), usual.ask);
  put("len", view.len, usual.len);
  put("at", view.at, usual.at);
  put("path", view.path.join("."), "");
  put("lora", view.scale, usual.scale);
  put("draft", view.draft ? 1 : 0, 0);
  for (const text of view.say) params.append("say", text);
  for (const knob of KNOBS) put(knob.key, view.sampling[knob.name], usual.sampling[knob.name]);
  const text = params.toString();
  return text ? `?${text}` : "";
}
