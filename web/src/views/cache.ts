/** The cache view: what keys and values take as the text grows. Needs no model, only its shape. */

import { h, uid } from "../dom";
import { FORMATS, SLIDER, cacheBytes, inWords, lengthAt, positionOf, total } from "./cache-model";
import type { Shape, ViewSpec, ViewState } from "./state";
import { toQuery } from "./state";

export function cacheView(spec: ViewSpec, state: ViewState): HTMLElement {
  const shapes = spec.shapes ?? [];
  const id = uid("mm-cache");
  const output = h("output", { class: "mm-knob__value", for: id });
  const input = h("input", { id, type: "range", min: "0", max: String(SLIDER), step: "1", value: String(positionOf(state.length)) });
  const body = h("tbody");
  const table = h("table", { class: "mm-cache" },
    h("thead", {}, h("tr", {}, ...["model", "key heads", ...FORMATS, "each layer, float16"].map((name) => h("th", { scope: "col" }, name)))), body);
  const note = h("p", { class: "mm-view__line" });

  function draw(): void {
    const length = lengthAt(Number(input.value));
    input.style.setProperty("--mm-share", String(Number(input.value) / SLIDER));
    output.textContent = `${length.toLocaleString("en")} tokens`;
    input.setAttribute("aria-valuetext", output.textContent);
    const most = Math.max(...shapes.flatMap((shape) => cacheBytes(shape, length, "float16")));
    body.replaceChildren(...shapes.map((shape) => line(shape, length, most)));
    note.textContent = `A bar is a layer. All bars are on one scale: the tallest is ${inWords(most)}.`;
  }

  function line(shape: Shape, length: number, most: number): HTMLElement {
    const layers = cacheBytes(shape, length, "float16");
    const bars = h("span", { class: "mm-cache__layers", role: "img", "aria-label": layers.map((bytes, i) => `layer ${i}: ${inWords(bytes)}`).join(", ") },
      ...layers.map((bytes) => {
        const bar = h("span", { class: "mm-cache__layer" });
        bar.style.setProperty("--mm-share", (bytes / most).toFixed(4));
        return bar;
      }));
    const over = length > shape.context ? ` (it reads at most ${shape.context.toLocaleString("en")})` : "";
    return h("tr", {}, h("th", { scope: "row" }, shape.title, over && h("small", {}, over)), h("td", {}, `${shape.kvHeads} of ${shape.heads}`),
      ...FORMATS.map((format) => h("td", {}, inWords(total(cacheBytes(shape, length, format))))), h("td", {}, bars));
  }

  input.addEventListener("input", draw);
  input.addEventListener("change", () => {
    const query = toQuery(spec, { ...state, length: lengthAt(Number(input.value)) }, location.search);
    history.replaceState(history.state, "", `${location.pathname}${query}${location.hash}`);
  });
  draw();
  return h("div", { class: "mm-view__live" },
    h("div", { class: "mm-knob mm-knob--range" }, h("div", { class: "mm-knob__line" }, h("label", { for: id }, "Length of the text"), output), input),
    h("div", { class: "mm-table-scroll", tabIndex: 0, role: "group", "aria-label": "Bytes of the cache" }, table), note);
}
