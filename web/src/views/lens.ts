/**
 * The residual view: the likeliest token if the model ended after each layer (the logit lens), what
 * each layer adds, and what is left when a part of it adds nothing.
 */

import { h } from "../dom";
import type { Candidate, Trace } from "../engine/api";
import { shown } from "../playground/odds";
import type { Body, Change, Reading } from "./frame";
import { largest } from "../engine/odds";
import { compare, moved } from "./odds";
import { Folded, OddsTable, OffLine, key } from "./parts";
import { percent, step } from "./scale";
import { edits, offName, toggled } from "./state";

interface Pass { trace: Trace; answer: number; before: Float32Array; after: Float32Array; texts: string[] }

/** A vector's length in row `t` of a (T, D) array. */
export function length(stream: Float32Array, t: number, hidden: number): number {
  let sum = 0;
  for (let i = t * hidden; i < (t + 1) * hidden; i++) sum += (stream[i] ?? 0) ** 2;
  return Math.sqrt(sum);
}

export function lensBody(change: Change): Body {
  const table = h("table", { class: "mm-lens" });
  const scroll = h("div", { class: "mm-table-scroll", tabIndex: 0, role: "group", "aria-label": "The likeliest token after each layer" }, table);
  const detail = h("div", { class: "mm-view__detail", "aria-live": "polite" });
  const parts = h("div", { class: "mm-parts" });
  const offLine = new OffLine(() => change({ off: [] }));
  const odds = new OddsTable();
  const lengths = new Folded("Lengths in numbers", ["layer", "attention adds", "MLP adds", "stream after it"]);
  const element = h("div", {}, scroll, key("probability of the token that is next"), 
    h("div", { class: "mm-view__pair" }, detail, h("div", {}, parts, lengths.element, offLine.element, odds.element)));
  let known = "";
  let pass: Pass | null = null;
  let wanted = ""; // the cell that an arrow leads to

  async function show(reading: Reading): Promise<void> {
    const { engine, info, ids, state } = reading;
    const cuts = edits(state.off, info.layers, info.heads);
    const now = JSON.stringify([info.id, ids, state.off]);
    if (!pass || known !== now) {
      const { raw: before, texts } = await engine.distribution(info.id, ids);
      const answer = largest(before, 1)[0] ?? 0;
      const after = cuts.length ? (await engine.distribution(info.id, ids, undefined, cuts)).raw : before;
      // With the model's own answer behind the text the last column has a next token as well.
      const trace = await engine.trace(info.id, [...ids, answer], { lens: true, stream: true, top: 10, edits: cuts });
      if (!reading.current()) return;
      pass = { trace, answer, before, after, texts };
      known = now;
      draw(reading, pass);
      // on a phone the chosen column may lie beyond the edge
      const cell = table.querySelector<HTMLElement>(".mm-lens__at");
      if (cell) scroll.scrollLeft = cell.offsetLeft + cell.offsetWidth - scroll.clientWidth;
    } else draw(reading, pass);
    odds.element.hidden = cuts.length === 0;
    odds.show(compare(pass.before, pass.after, pass.texts, 8), true);
    offLine.show(state.off.map(offName), moved(pass.before, pass.after));
  }

  function draw({ info, ids, texts, state }: Reading, { trace, answer, texts: words }: Pass): void {
    const size = ids.length;
    const at = state.at < 0 || state.at >= size ? size - 1 : state.at;
    const layer = Math.min(state.layer, info.layers);
    const follows = [...texts.slice(1), words[answer] ?? ""];
    const row = (l: number): HTMLElement => h("tr", {}, h("th", { scope: "row" }, l === 0 ? "embedding" : `layer ${l - 1}`),
      ...Array.from({ length: size }, (_, t) => {
        const cell = trace.lens?.[l]?.[t];
        const top = cell?.top[0];
        const actual = cell?.actual?.probability ?? 0;
        const chosen = l === layer && t === at;
        return h("td", { "data-step": String(step(actual)), class: chosen ? "mm-lens__at" : "" },
          h("button", {
            type: "button", "data-cell": `${l}.${t}`, tabIndex: chosen ? 0 : -1, "aria-pressed": String(chosen),
            "aria-label": `${l === 0 ? "embedding" : `layer ${l - 1}`}, at ${texts[t] ?? ""}: says ${top?.text ?? ""}, ${percent(top?.probability ?? 0)}; gives the next token ${percent(actual)}`,
            onclick: () => pick(l, t), onkeydown: (event: KeyboardEvent) => walk(event, l, t, info.layers + 1, size),
          }, shown(top?.text ?? "")));
      }));
    // The table is drawn anew: the focus goes where an arrow sent it, or back to where it was.
    const place = wanted || (table.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.cell : "");
    wanted = "";
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "after"), ...texts.map((text) => h("th", { scope: "col" }, h("span", {}, shown(text)))))),
      h("tbody", {}, h("tr", { class: "mm-lens__truth" }, h("th", { scope: "row" }, "next is"),
        ...follows.map((text, i) => h("td", { class: i === size - 1 ? "mm-lens__own" : "" }, shown(text)))),
      ...Array.from({ length: info.layers + 1 }, (_, l) => row(l))),
    );
    if (place) table.querySelector<HTMLElement>(`[data-cell="${place}"]`)?.focus();
    drawDetail(layer, at, texts, trace.lens?.[layer]?.[at]);
    drawParts(info.layers, info.hidden, at, state.off, trace);
  }

  function pick(l: number, t: number): void {
    change({ layer: l, at: t });
  }

  function walk(event: KeyboardEvent, l: number, t: number, layers: number, size: number): void {
    const to = { ArrowLeft: [l, t - 1], ArrowRight: [l, t + 1], ArrowUp: [l - 1, t], ArrowDown: [l + 1, t] }[event.key];
    if (!to) return;
    event.preventDefault();
    const [toLayer = l, toPlace = t] = to;
    if (toLayer < 0 || toLayer >= layers || toPlace < 0 || toPlace >= size) return;
    wanted = `${toLayer}.${toPlace}`;
    pick(toLayer, toPlace);
  }

  function drawDetail(layer: number, at: number, texts: string[], cell?: { top: Candidate[]; actual: Candidate | null }): void {
    if (!cell) return;
    const list = new OddsTable();
    list.show(cell.top.map(({ id, text, probability }) => ({ id, text, before: probability, after: probability })), false);
    const where = layer === 0 ? "after the embedding" : `after layer ${layer - 1}`;
    const { actual } = cell;
    detail.replaceChildren(
      h("p", { class: "mm-view__line" }, h("b", {}, `At “${shown(texts[at] ?? "")}”, ${where}`),
        actual ? `: the token that is next, “${shown(actual.text)}”, has ${percent(actual.probability)} and stands at rank ${actual.rank + 1}.` : "."),
      list.element);
  }

  function drawParts(layers: number, hidden: number, at: number, off: string[], trace: Trace): void {
    const added = Array.from({ length: layers }, (_, l) => [trace.added?.[l]?.[at * 2] ?? 0, trace.added?.[l]?.[at * 2 + 1] ?? 0] as const);
    const most = Math.max(1e-9, ...added.flat());
    const bar = (name: string, l: number, part: "a" | "m", value: number): HTMLElement => {
      const which = `${l}.${part}`;
      const line = h("span", { class: `mm-parts__bar mm-parts__bar--${part}` });
      line.style.setProperty("--mm-share", String(value / most));
      const cut = off.includes(which);
      return h("button", {
        type: "button", class: "mm-parts__part", "data-off": which, "aria-pressed": String(cut),
        onclick: () => {
          change({ off: toggled(off, which) });
        },
      }, h("span", { class: "mm-parts__name" }, name), h("span", { class: "mm-sr" }, ` of layer ${l}, `), line, h("span", { class: "mm-parts__value" }, cut ? "off" : value.toFixed(1)));
    };
    const focused = (document.activeElement as HTMLElement | null)?.dataset.off;
    parts.replaceChildren(
      h("p", { class: "mm-view__line" }, "Length of what each part adds to the stream at this token. Press one to cut it out."),
      ...added.map(([said, thought], l) => h("div", { class: "mm-parts__layer" },
        h("span", { class: "mm-parts__label" }, `layer ${l}`), bar("attention", l, "a", said), bar("MLP", l, "m", thought))));
    if (focused) parts.querySelector<HTMLElement>(`[data-off="${focused}"]`)?.focus();
    lengths.show(added.map(([said, thought], l) => [
      `layer ${l}`, said.toFixed(2), thought.toFixed(2), length(trace.stream?.[l + 1] ?? new Float32Array(), at, hidden).toFixed(2),
    ]));
  }

  return { element, show };
}
