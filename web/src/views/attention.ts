/** The attention explorer: every head small, one large, the text as it sees it, and its removal. */

import { h } from "../dom";
import type { Trace } from "../engine/api";
import { knobPanel } from "../lab/knobs";
import { shown } from "../playground/odds";
import type { Body, Change, Reading } from "./frame";
import { MEASURES, evenMeasures, headMeasures, headRows, neighbour, patternPaths, strongest } from "./heads";
import { largest } from "../engine/odds";
import { compare, moved } from "./odds";
import { Folded, OddsTable, OffLine, Strip, drawn, key, svg } from "./parts";
import { largePattern } from "./pattern";
import { percent } from "./scale";
import { edits, offName, toggled } from "./state";

export function attentionBody(change: Change): Body {
  const grid = h("div", { class: "mm-heads", role: "radiogroup", "aria-label": "Heads, a row for each layer" });
  const large = h("div", { class: "mm-view__large" });
  const title = h("p", { class: "mm-view__line" });
  const effect = h("p", { class: "mm-view__line" });
  const strip = new Strip("Tokens: choose one to see where it looks", (at) => change({ at }));
  const off = h("button", { type: "button", class: "mm-button mm-button--quiet", "data-action": "off" });
  const offLine = new OffLine(() => change({ off: [] }));
  const odds = new OddsTable();
  const table = new Folded("What each head does on this text", ["head", ...MEASURES, "the answer without it"]);
  const rowTable = new Folded("This row in numbers", ["looks at", "weight"]);
  const by = knobPanel([{
    name: "by", label: "Show", type: "choice", default: "weights",
    options: [{ value: "weights", label: "weights" }, { value: "values", label: "weight × length of the value" }],
  }], { by: "weights" }, () => change({ by: by.values().by === "values" ? "values" : "weights" }));
  const element = h("div", { class: "mm-attention" },
    h("div", { class: "mm-view__pair" }, h("div", {}, grid, key("weight")), h("div", {}, title, effect, large, by.element)),
    strip.element,
    h("div", { class: "mm-view__pair" }, h("div", {}, h("div", { class: "mm-row" }, off), offLine.element, table.element, rowTable.element), odds.element));

  let shownTrace: Trace | null = null;
  let known = "";
  let pass: { trace: Trace; before: Float32Array; after: Float32Array; texts: string[] } | null = null;
  let cells: HTMLButtonElement[] = [];
  let numbers: string[][] = [];
  let without: (number | null)[] = [];

  async function show(reading: Reading): Promise<void> {
    const { engine, info, ids, state } = reading;
    const cuts = edits(state.off, info.layers, info.heads);
    const wanted = JSON.stringify([info.id, ids, state.off]);
    if (!pass || wanted !== known) {
      const trace = await engine.trace(info.id, ids, { attention: true, top: 1, edits: cuts });
      const { raw: before, texts } = await engine.distribution(info.id, ids);
      const after = cuts.length ? (await engine.distribution(info.id, ids, undefined, cuts)).raw : before;
      if (!reading.current()) return;
      pass = { trace, before, after, texts };
      known = wanted;
      without = [];
      void tryWithout(reading, pass);
    }
    draw(reading, pass.trace);
    odds.show(compare(pass.before, pass.after, pass.texts, 8), cuts.length > 0);
    offLine.show(state.off.map(offName), moved(pass.before, pass.after));
  }

  /** What becomes of the answer without each head, one after the other, while the reader looks. */
  async function tryWithout({ engine, info, ids, state }: Reading, of: NonNullable<typeof pass>): Promise<void> {
    const answer = largest(of.after, 1)[0] ?? 0;
    for (let i = 0; i < info.layers * info.heads; i++) {
      const name = `${Math.floor(i / info.heads)}.${i % info.heads}`;
      if (state.off.includes(name)) continue;
      const { raw } = await engine.distribution(info.id, ids, undefined, edits([...state.off, name], info.layers, info.heads));
      if (pass !== of) return;
      without[i] = raw[answer] ?? 0;
      const row = numbers[i + 1];
      if (row) row[MEASURES.length + 1] = percent(raw[answer] ?? 0);
    }
    table.show(numbers);
    tellWithout();
  }

  function tellWithout(): void {
    const chosen = cells.findIndex((cell) => cell.getAttribute("aria-checked") === "true");
    const share = without[chosen];
    if (!pass || share === null || share === undefined) {
      effect.textContent = "";
      return;
    }
    const answer = largest(pass.after, 1)[0] ?? 0;
    effect.textContent = `The next token “${shown(pass.texts[answer] ?? "")}” has ${percent(pass.after[answer] ?? 0)} with this head, ${percent(share)} without.`;
  }

  function draw({ info, ids, texts, state }: Reading, trace: Trace): void {
    const layer = Math.min(state.layer, info.layers - 1);
    const head = Math.min(state.head, info.heads - 1);
    const size = ids.length;
    const at = state.at < 0 || state.at >= size ? size - 1 : state.at;
    const source = state.by === "values" ? trace.valueWeighted : trace.attention;
    const rowsOf = (l: number, n: number): Float32Array[] => headRows(source?.[l] ?? new Float32Array(), n, size);
    if (shownTrace !== trace || grid.dataset.by !== state.by) {
      shownTrace = trace;
      grid.dataset.by = state.by;
      drawGrid(info.layers, info.heads, size, ids, rowsOf);
    }
    cells.forEach((cell, i) => {
      const [l, n] = [Math.floor(i / info.heads), i % info.heads];
      const chosen = l === layer && n === head;
      cell.setAttribute("aria-checked", String(chosen));
      cell.tabIndex = chosen ? 0 : -1;
      cell.classList.toggle("mm-head--off", state.off.includes(`${l}.${n}`));
    });
    tellWithout();
    const rows = rowsOf(layer, head);
    const row = [...(rows[at] ?? [])];
    title.replaceChildren(h("b", {}, `Layer ${layer}, head ${head}`), ` on row “${shown(texts[at] ?? "")}”`);
    large.replaceChildren(largePattern(rows, texts, at, `layer ${layer}, head ${head}`, (i) => change({ at: i })));
    strip.show(texts, row.map((share, i) => (i <= at ? share : null)), at, (i) => {
      if (i !== at) return `${texts[i] ?? ""}, gets ${percent(i < at ? row[i] ?? 0 : 0)}`;
      return `${texts[i] ?? ""}, chosen: ${say(row, texts)}`;
    });
    rowTable.show(row.slice(0, at + 1).map((share, i) => [`${i}: ${shown(texts[i] ?? "")}`, percent(share)]));
    const isOff = state.off.includes(`${layer}.${head}`);
    off.textContent = isOff ? "Switch this head on again" : "Switch this head off";
    off.setAttribute("aria-pressed", String(isOff));
    off.onclick = () => change({ off: toggled(state.off, `${layer}.${head}`) });
  }

  function drawGrid(layers: number, heads: number, size: number, ids: number[], rowsOf: (l: number, n: number) => Float32Array[]): void {
    cells = [];
    numbers = [["an even spread", ...told(evenMeasures(ids)), "–"]];
    const children: Node[] = [];
    for (let l = 0; l < layers; l++) {
      children.push(h("span", { class: "mm-heads__layer" }, `layer ${l}`));
      for (let n = 0; n < heads; n++) {
        const rows = rowsOf(l, n);
        const measures = headMeasures(rows, ids);
        const [name, value] = strongest(measures);
        const left = without[l * heads + n];
        numbers.push([`layer ${l}, head ${n}`, ...told(measures), typeof left === "number" ? percent(left) : "–"]);
        const cell = h("button", {
          type: "button", role: "radio", class: "mm-head", "data-head": `${l}.${n}`,
          "aria-label": `Layer ${l}, head ${n}: ${name} ${percent(value)}`, onclick: () => change({ layer: l, head: n }),
          onkeydown: (event: KeyboardEvent) => {
            const to = neighbour(l, n, event.key, layers, heads);
            if (!to) return;
            event.preventDefault();
            change({ layer: to[0], head: to[1] });
            cells[to[0] * heads + to[1]]?.focus();
          },
        }, svg("svg", { viewBox: `0 0 ${size} ${size}`, "aria-hidden": "true" }, ...drawn(patternPaths(rows))) as unknown as Node,
        h("span", { class: "mm-head__name" }, name, h("b", {}, percent(value))));
        cells.push(cell);
        children.push(cell);
      }
    }
    grid.style.setProperty("--mm-heads", String(heads));
    grid.replaceChildren(...children);
    table.show(numbers);
  }

  return { element, show };
}

const told = (measures: ReturnType<typeof headMeasures>): string[] =>
  MEASURES.map((name) => (measures[name] === null ? "–" : percent(measures[name])));

/** "looks at Meadow 87 %, Badger 5 %". */
function say(row: number[], texts: string[]): string {
  const order = row.map((share, i) => [share, i] as const).sort((a, b) => b[0] - a[0]).slice(0, 3);
  return `looks at ${order.map(([share, i]) => `${texts[i] ?? ""} ${percent(share)}`).join(", ")}`;
}
