/** The controls of a lab, as native inputs with their labels and values in sight. */

import { h, uid } from "../dom";
import type { Knobs } from "../runtime/protocol";
import { clean, show } from "./state";
import type { Knob } from "./state";

export interface Panel { element: HTMLElement; values(): Knobs; set(values: Knobs): void }

export function knobPanel(knobs: Knob[], start: Knobs, changed: () => void): Panel {
  const values: Knobs = { ...start };
  const writers: ((value: string | number | boolean) => void)[] = [];
  const element = h("div", { class: "mm-knobs" }, ...knobs.map(control));

  function control(knob: Knob): HTMLElement {
    const help = knob.help ? h("p", { class: "mm-knob__help", id: uid("mm-help") }, knob.help) : null;
    const set = (text: string): void => {
      values[knob.name] = clean(knob, text);
      changed();
    };
    const made = knob.type === "range" ? range(knob, set, help?.id) : knob.type === "choice" ? choice(knob, set, help?.id) : toggle(knob, set, help?.id);
    if (help) made.append(help);
    return made;
  }

  function range(knob: Knob, set: (text: string) => void, described?: string): HTMLElement {
    const id = uid("mm-knob");
    const output = h("output", { class: "mm-knob__value", for: id });
    const input = h("input", {
      id, type: "range", min: String(knob.min ?? 0), max: String(knob.max ?? 100), step: String(knob.step ?? 1),
      "aria-describedby": described,
    });
    const paint = (): void => {
      const low = Number(input.min);
      const share = (Number(input.value) - low) / (Number(input.max) - low || 1);
      input.style.setProperty("--mm-share", String(share));
      output.textContent = show(knob, clean(knob, input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      paint();
      set(input.value);
    });
    writers.push((value) => {
      input.value = String(value);
      paint();
    });
    return h("div", { class: "mm-knob mm-knob--range" },
      h("div", { class: "mm-knob__line" }, h("label", { for: id }, knob.label ?? knob.name), output), input);
  }

  function choice(knob: Knob, set: (text: string) => void, described?: string): HTMLElement {
    const name = uid("mm-choice");
    const inputs: HTMLInputElement[] = [];
    const cells = (knob.options ?? []).map((option) => {
      const input = h("input", { id: uid("mm-knob"), type: "radio", name, value: String(option.value), onchange: () => set(input.value) });
      inputs.push(input);
      return h("span", { class: "mm-segment" }, input, h("label", { for: input.id }, option.label ?? String(option.value)));
    });
    writers.push((value) => {
      for (const input of inputs) input.checked = input.value === String(value);
    });
    return h("fieldset", { class: "mm-knob mm-knob--choice", "aria-describedby": described },
      h("legend", {}, knob.label ?? knob.name), h("div", { class: "mm-segments" }, ...cells));
  }

  function toggle(knob: Knob, set: (text: string) => void, described?: string): HTMLElement {
    const input = h("input", {
      id: uid("mm-knob"), type: "checkbox", role: "switch", class: "mm-switch", "aria-describedby": described,
      onchange: () => set(input.checked ? "1" : "0"),
    });
    writers.push((value) => {
      input.checked = value === true;
    });
    return h("div", { class: "mm-knob mm-knob--toggle" }, input, h("label", { for: input.id }, knob.label ?? knob.name));
  }

  function set(next: Knobs): void {
    knobs.forEach((knob, i) => {
      values[knob.name] = next[knob.name] ?? knob.default;
      writers[i]?.(values[knob.name] as string | number | boolean);
    });
  }

  set(start);
  return { element, values: () => ({ ...values }), set };
}
