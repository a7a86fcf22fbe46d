/**
 * Activation patching (causal tracing: Meng et al. 2022, arXiv:2202.05262): one vector of the stream
 * is taken from a pass over another text, and the rest of the pass runs on with it.
 */

import { h } from "../dom";
import { EngineError } from "../engine/api";
import { shown } from "../playground/odds";
import type { Body, Change, Reading } from "./frame";
import { largest } from "../engine/odds";
import { align } from "./odds";
import { key } from "./parts";
import { percent, step } from "./scale";

export function patchBody(change: Change): Body {
  const line = h("p", { class: "mm-view__line", role: "status" });
  const table = h("table", { class: "mm-lens mm-lens--numbers" });
  const scroll = h("div", { class: "mm-table-scroll", tabIndex: 0, role: "group", "aria-label": "Probability of the other answer, by layer and position of the patch" }, table);
  const detail = h("p", { class: "mm-view__line mm-view__detail", "aria-live": "polite" });
  const element = h("div", {}, line, scroll, key("probability of the other answer"), detail);
  let known = "";
  let map: (number | null)[][] = [];

  async function show(reading: Reading): Promise<void> {
    const { engine, info, ids, state } = reading;
    const theirs = await engine.encode(info.id, state.other);
    const partner = align(ids, theirs.ids);
    const wanted = JSON.stringify([info.id, ids, theirs.ids]);
    if (known === wanted) return draw(reading, theirs.texts, partner);
    if (theirs.ids.length === 0) throw new EngineError("There is no other text; write one.", "input");
    const { raw: own, texts } = await engine.distribution(info.id, ids);
    const { raw: other } = await engine.distribution(info.id, theirs.ids);
    const answer = largest(other, 1)[0] ?? 0;
    const [before, after] = [own[answer] ?? 0, other[answer] ?? 0];
    const told = `“${shown(texts[answer] ?? "")}” has ${percent(before)} after the text, and ${percent(after)} after the other one, whose answer it is.`;
    map = Array.from({ length: info.layers + 1 }, () => ids.map(() => null));
    known = "";
    for (let row = 0; row <= info.layers; row++) {
      for (let position = 0; position < ids.length; position++) {
        const fromPosition = partner[position];
        if (fromPosition === null || fromPosition === undefined) continue;
        const edit = { kind: "patch" as const, layer: row - 1, position, fromIds: theirs.ids, fromPosition };
        const { raw } = await engine.distribution(info.id, ids, undefined, [edit]);
        if (!reading.current()) return;
        const cells = map[row];
        if (cells) cells[position] = raw[answer] ?? 0;
      }
      line.textContent = `${told} ${row < info.layers ? `Computing row ${row + 1} of ${info.layers + 1} …` : ""}`;
      draw(reading, theirs.texts, partner);
      if (row === 0) scroll.scrollLeft = scroll.scrollWidth; // the end of the text is where answers arrive
    }
    known = wanted;
    line.textContent = `${told} Each cell: with one vector of the other pass put in, after this layer, at this token.`;
  }

  function draw({ info, texts, state }: Reading, others: string[], partner: (number | null)[]): void {
    const head = texts.map((text, i) => {
      const place = partner[i];
      const there = place === null || place === undefined ? "–" : others[place] ?? "";
      return h("th", { scope: "col" }, h("span", {}, shown(text), there !== text && h("i", {}, ` ${shown(there)}`)));
    });
    const focused = (document.activeElement as HTMLElement | null)?.dataset.cell;
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "after"), ...head)),
      h("tbody", {}, ...map.map((row, l) => h("tr", {}, h("th", { scope: "row" }, l === 0 ? "embedding" : `layer ${l - 1}`),
        ...row.map((share, t) => h("td", share === null ? {} : { "data-step": String(step(share)) },
          share === null ? "" : h("button", {
            type: "button", "data-cell": `${l}.${t}`, onclick: () => change({ layer: l, at: t }),
            "aria-label": `${(100 * share).toFixed(0)} %, ${l === 0 ? "embedding" : `layer ${l - 1}`}, at ${texts[t] ?? ""}`,
          }, (100 * share).toFixed(0))))))),
    );
    if (focused) table.querySelector<HTMLElement>(`[data-cell="${focused}"]`)?.focus();
    const share = map[Math.min(state.layer, info.layers)]?.[state.at];
    detail.textContent = state.at < 0 || share === null || share === undefined ? ""
      : `With the vector of “${shown(others[partner[state.at] ?? 0] ?? "")}” ${state.layer === 0 ? "after the embedding" : `after layer ${state.layer - 1}`} at “${shown(texts[state.at] ?? "")}”: ${percent(share)}.`;
  }

  return { element, show };
}
