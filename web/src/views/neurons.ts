/** Which neurons of a layer fire on which token, and which words their values raise. */

import { debounce, h, uid } from "../dom";
import { peak } from "../engine/neurons";
import { shown } from "../playground/odds";
import type { Body, Change, Reading } from "./frame";
import { Folded, Strip, key } from "./parts";
import { step } from "./scale";

const TOP = 8;

/** A neuron's number as the table has it, with a real minus sign. */
export function figure(value: number): string {
  return value.toFixed(1).replace(/^-/, "−").replace(/^−0\.0$/, "0.0");
}

export function neuronsBody(change: Change): Body {
  const ids = { layer: uid("mm-layer"), keep: uid("mm-keep") };
  const layers = h("select", { id: ids.layer, class: "mm-select", "data-pick": "layer", onchange: () => change({ layer: Number(layers.value) }) });
  const keep = h("input", { id: ids.keep, class: "mm-q__number", type: "text", inputMode: "numeric", autocomplete: "off", "data-field": "neuron", placeholder: "none" });
  const note = h("p", { class: "mm-view__line", role: "status" });
  const strip = new Strip("Tokens: choose one to rank the neurons by", (at) => change({ at }), false);
  const line = h("p", { class: "mm-view__line", "aria-live": "polite" });
  const table = h("table", { class: "mm-lens mm-lens--numbers mm-neurons" });
  const scroll = h("div", { class: "mm-table-scroll", tabIndex: 0, role: "group", "aria-label": "Neurons that fire most, by token" }, table);
  const numbers = new Folded("Each neuron in one line", ["neuron", "here", "largest on", "largest", "its value raises there"]);
  const element = h("div", {},
    h("div", { class: "mm-row" },
      h("div", { class: "mm-field" }, h("label", { for: ids.layer }, "Layer"), layers),
      h("div", { class: "mm-field" }, h("label", { for: ids.keep }, "Keep neuron"), keep)),
    note, strip.element, line, scroll, key("size, of the layer's largest on this text"), numbers.element);
  let width = 0;

  keep.addEventListener("input", debounce(() => {
    const text = keep.value.trim();
    const wanted = text === "" ? -1 : /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(wanted) || wanted >= width) note.textContent = `“${text}” is no neuron of this layer; they go from 0 to ${width - 1}.`;
    else change({ neuron: wanted });
  }, 300));

  async function show({ engine, info, ids: tokens, texts, state, current }: Reading): Promise<void> {
    const options = Array.from({ length: info.layers }, (_, l) => h("option", { value: String(l) }, `layer ${l}`));
    if (layers.options.length !== info.layers) layers.replaceChildren(...options);
    const layer = Math.min(state.layer, info.layers - 1);
    layers.value = String(layer);
    const wish = { layer, at: state.at, top: TOP, keep: state.neuron };
    const { neurons: found } = await engine.trace(info.id, tokens, { top: 1, neurons: wish });
    if (!current() || !found) return;
    width = found.width;
    const kept = state.neuron >= width ? -1 : state.neuron;
    if (document.activeElement !== keep) keep.value = kept < 0 ? "" : String(kept);
    const many = kept < 0 ? `the ${found.rows.length}` : `the one kept, and the ${found.rows.length - 1}`;
    note.textContent = `${width} neurons in this layer; ${many} that fire most at “${shown(texts[found.at] ?? "")}”.`;
    const focus = found.rows[0];
    if (!focus) return;
    strip.show(texts, focus.values.map((value) => Math.abs(value) / (found.most || 1)), found.at, (i) =>
      `${texts[i] ?? ""}: neuron ${focus.neuron} holds ${figure(focus.values[i] ?? 0)}`);
    const most = peak(focus.values);
    line.replaceChildren(
      h("b", {}, `Neuron ${focus.neuron}`), ` (the bars) holds ${figure(focus.values[found.at] ?? 0)} here, and most, ${figure(focus.values[most] ?? 0)}, at `,
      h("code", {}, shown(texts[most] ?? "")), `. There its value raises ${focus.raises.map((text) => `“${shown(text)}”`).join(", ")}.`);
    const focused = table.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.neuron : undefined;
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "neuron"),
        ...texts.map((text, i) => h("th", { scope: "col", class: i === found.at ? "mm-neurons__at" : "" }, shown(text))))),
      h("tbody", {}, ...found.rows.map(({ neuron, values }) => h("tr", {},
        h("th", { scope: "row" }, h("button", {
          type: "button", class: "mm-link", "data-neuron": String(neuron), "aria-pressed": String(neuron === kept),
          "aria-label": `neuron ${neuron}: ${neuron === kept ? "let it go" : "keep it in view"}`,
          onclick: () => { note.textContent = ""; keep.value = ""; change({ neuron: neuron === kept ? -1 : neuron }); },
        }, String(neuron))),
        ...values.map((value) => h("td", { "data-step": String(step(Math.abs(value) / (found.most || 1))) }, figure(value)))))),
    );
    const chosen = table.querySelector<HTMLElement>(".mm-neurons__at"); // on a phone it may lie beyond the edge
    if (chosen) scroll.scrollLeft = chosen.offsetLeft + chosen.offsetWidth - scroll.clientWidth;
    if (focused) table.querySelector<HTMLElement>(`[data-neuron="${focused}"]`)?.focus();
    numbers.show(found.rows.map(({ neuron, values, raises }) => {
      const most = peak(values);
      return [String(neuron), figure(values[found.at] ?? 0), shown(texts[most] ?? ""), figure(values[most] ?? 0), raises.map(shown).join(", ")];
    }));
  }

  return { element, show };
}
