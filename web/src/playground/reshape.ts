/** The whole distribution of one next token, before and after the knobs, while they move. */

import { h } from "../dom";
import { chances } from "../engine/random";
import { drawFrom } from "../engine/sampling";
import { percent } from "../views/scale";
import { shown } from "./odds";
import { picker } from "./picker";
import { promptField } from "./prompt";
import { fullWidth, reshape } from "./reshape-model";
import { samplingPanel } from "./sampling";
import { strength, strengthEdits } from "./strength";
import type { Host, View } from "./stages";
import type { ViewState } from "./state";

const BARS = 30;

export function reshapeView(host: Host, state: ViewState): View {
  let raw: Float32Array | null = null;
  let texts: string[] = [];
  let serial = 0;
  const body = h("tbody", {});
  const told = h("p", { class: "mm-about", "data-part": "entropy" });
  const sofar = h("p", { class: "mm-sofar", "data-part": "sofar" });
  const size = h("span", { class: "mm-hint" });
  const drawOne = h("button", { type: "button", class: "mm-button mm-button--quiet", "data-action": "draw", disabled: true, onclick: () => void draw() }, "Draw one");
  const undo = h("button", { type: "button", class: "mm-button mm-button--quiet", "data-action": "undo", disabled: true, onclick: () => void back() }, "Take it back");
  const prompt = promptField({
    label: "Prompt", start: state.ask,
    changed: (ask) => { state.ask = ask; state.path = []; host.changed(); },
    run: () => void look(),
  });
  const pick = picker(host.session, host.life, state.model, (model) => {
    const other = model !== state.model;
    state.model = model;
    if (other) state.path = [];
    host.changed();
    host.session.refresh();
    if (other && raw) void look();
  });
  const adapter = strength(host.session, host.life, state, () => {
    host.changed();
    if (raw) void look();
  });
  const caption = h("caption", {});
  const table = h("table", { class: "mm-reshape__table", hidden: true },
    caption,
    h("colgroup", {}, h("col", { class: "mm-reshape__names" }), h("col", { class: "mm-reshape__wasses" }), h("col")),
    h("thead", { class: "mm-sr" }, h("tr", {}, ...["Token", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))), body);
  const knobs = samplingPanel(state, ["temperature", "topK", "topP", "minP", "seed"], () => { host.changed(); paint(); }, false);
  const element = h("div", { class: "mm-pane", "data-pane": "reshape" },
    h("div", { class: "mm-row" }, pick, adapter), prompt.element,
    h("div", { class: "mm-row" }, h("button", { type: "button", class: "mm-button", "data-action": "run", onclick: () => void look() }, "Show the odds"), drawOne, undo, size),
    sofar,
    h("div", { class: "mm-reshape" }, h("div", { class: "mm-reshape__picture" }, told, table), h("div", { class: "mm-reshape__knobs" }, knobs)));

  async function look(): Promise<void> {
    serial += 1;
    const mine = serial;
    if (!(await host.session.ready([state.model])) || mine !== serial) return;
    const { engine } = host.session;
    try {
      const chats = host.session.chats(state.model);
      const read = chats ? await engine.chat(state.model, [{ role: "user", content: state.ask }]) : await engine.encode(state.model, state.ask);
      const found = await engine.distribution(state.model, [...read.ids, ...state.path], { temperature: 1 }, strengthEdits(host.session, state));
      if (mine !== serial) return;
      ({ raw, texts } = found);
      const written = state.path.map((id) => texts[id] ?? "").join("");
      sofar.textContent = state.path.length ? `The answer so far: ${written}` : "Before the first token of the answer.";
      drawOne.disabled = false;
      undo.disabled = state.path.length === 0;
      table.hidden = false;
      paint();
      host.say(told.textContent ?? "");
    } catch (error) {
      host.session.fail(error);
    }
  }

  function paint(): void {
    if (!raw) return;
    const made = reshape(raw, texts, state.sampling, BARS);
    const full = fullWidth(made);
    caption.textContent = `The ${BARS} likeliest next tokens: outlined before, filled after. The full width is ${percent(full)}.`;
    const rest = { text: `${made.rest.count} others`, before: made.rest.before, after: made.rest.after, refused: made.rest.after <= 0 };
    [...made.pairs, rest].forEach((pair, i) => {
      const row = body.rows[i] ?? body.appendChild(h("tr", {},
        h("th", { scope: "row" }),
        h("td", { class: "mm-reshape__was" }),
        h("td", {}, h("span", { class: "mm-reshape__after" }), h("span", { class: "mm-reshape__before" }), h("span", { class: "mm-reshape__value" }))));
      const last = i === made.pairs.length;
      row.className = `${pair.refused ? "mm-reshape__refused" : ""} ${last ? "mm-reshape__rest" : ""}`.trim();
      row.style.setProperty("--mm-before", (pair.before / full).toFixed(4));
      row.style.setProperty("--mm-after", (pair.after / full).toFixed(4));
      row.style.setProperty("--mm-longer", (Math.max(pair.before, pair.after) / full).toFixed(4));
      const [name, before, after] = row.cells;
      if (!name || !before || !after?.lastElementChild) return;
      name.textContent = last ? pair.text : shown(pair.text);
      before.textContent = percent(pair.before);
      after.lastElementChild.textContent = pair.refused ? "refused" : percent(pair.after);
    });
    const bits = (value: number): string => `${value.toFixed(2)} bits`;
    told.textContent = `${bits(made.bitsBefore)} before, ${bits(made.bitsAfter)} after: as undecided as between ${(2 ** made.bitsAfter).toFixed(1)} equally likely tokens. ${made.kept.toLocaleString("en")} of ${raw.length.toLocaleString("en")} tokens are possible.`;
  }

  async function draw(): Promise<void> {
    if (!raw) return;
    const { shaped } = reshape(raw, texts, state.sampling, BARS);
    state.path = [...state.path, drawFrom(shaped, chances(state.sampling.seed * 1000 + state.path.length))];
    host.changed();
    await look();
  }

  async function back(): Promise<void> {
    state.path = state.path.slice(0, -1);
    host.changed();
    await look();
  }

  function sizes(): void {
    const text = host.session.sizeText([state.model]);
    size.textContent = text ? `The first look ${text}; after it the sliders need no model.` : "";
  }

  host.session.watch(sizes, host.life);
  told.textContent = "One pass of the model gives the odds of every token. The sliders then reshape them at once.";
  return {
    element,
    shown: () => {
      if (!raw && host.session.info(state.model)) void look();
    },
    stop: () => { serial += 1; },
  };
}
