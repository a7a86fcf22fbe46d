/** The knobs of sampling, folded: what each does in one line, and its value in sight. */

import { h } from "../dom";
import type { Sampling } from "../engine/api";
import { knobPanel } from "../lab/knobs";
import { KNOBS, MOST_TOKENS } from "./state";
import type { ViewState } from "./state";

const SAID: Record<Exclude<keyof Sampling, "bias">, [string, string]> = {
  temperature: ["Temperature", "Divides the scores. 0 takes the likeliest; above 1 the unlikely gain."],
  topK: ["Top-k", "Keeps the k likeliest. 0 is off."],
  topP: ["Top-p", "Keeps the fewest that reach this share together. 1 is off."],
  minP: ["Min-p", "Refuses what is less likely than this share of the likeliest. 0 is off."],
  typicalP: ["Typical", "Keeps what is about as surprising as expected. 1 is off."],
  repetitionPenalty: ["Repetition", "Lowers the scores of tokens that stand in the text. 1 is off."],
  presencePenalty: ["Presence", "Taken from tokens that were drawn before."],
  frequencyPenalty: ["Frequency", "The same, for each time that they were drawn."],
  noRepeatNgram: ["No repeated runs", "Refuses a run of so many tokens that stands there already. 0 is off."],
  seed: ["Seed", "The dice: the same seed draws the same."],
};

export type KnobName = keyof typeof SAID;
export const ALL = KNOBS.map((knob) => knob.name);

/** A panel of these knobs; `changed` is called after the state has the new values. */
export function samplingPanel(state: ViewState, names: KnobName[], changed: (name: string) => void, length = true): HTMLElement {
  const knobs = KNOBS.filter((knob) => names.includes(knob.name)).map((knob) => {
    const [label, help] = SAID[knob.name];
    // A seed is any number; a slider reaches the first hundred of them.
    const max = knob.name === "seed" ? Math.max(99, state.sampling.seed) : knob.max;
    return { name: knob.name, label, help, type: "range" as const, min: knob.min, max, step: knob.step, default: state.sampling[knob.name] };
  });
  const len = { name: "len", label: "Tokens at most", type: "range" as const, min: 1, max: MOST_TOKENS, step: 1, default: state.len };
  const start = { ...state.sampling, len: state.len, bias: 0 };
  let before: Record<string, unknown> = start;
  const panel = knobPanel(length ? [...knobs, len] : knobs, start, () => {
    const values = panel.values();
    for (const { name } of knobs) state.sampling[name] = Number(values[name]);
    if (length) state.len = Number(values.len);
    const name = Object.keys(values).find((key) => values[key] !== before[key]) ?? "";
    before = values;
    changed(name);
  });
  const inputs = panel.element.querySelectorAll("input");
  for (const [i, { name }] of [...knobs, len].entries()) {
    const input = inputs[i];
    if (input) input.dataset.knob = KNOBS.find((knob) => knob.name === name)?.key ?? name;
  }
  return panel.element;
}

export function folded(title: string, ...children: Node[]): HTMLElement {
  return h("details", { class: "mm-settings" }, h("summary", {}, title), ...children);
}
