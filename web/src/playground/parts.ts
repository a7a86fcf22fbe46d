/** The pieces that every view of the playground is made of: bars of odds, tokens in colour, tabs. */

import { h, uid } from "../dom";
import type { Candidate, Drawn } from "../engine/api";
import { BOUNDS, percent, step } from "../views/scale";
import { rows, shown } from "./odds";

export const TOP = 8;

/** The odds of one next token, as a table whose cells are the bars. */
export class Bars {
  readonly element: HTMLTableElement;
  private caption = h("caption", {});
  private body = h("tbody", {});
  private note = h("p", { class: "mm-odds__note" });
  readonly root = h("div", { class: "mm-odds" });

  constructor(private count = TOP, private pick?: (id: number) => void) {
    this.element = h("table", { class: "mm-odds__table" }, this.caption, h("colgroup", {}, h("col", { class: "mm-odds__names" }), h("col")),
      h("thead", { class: "mm-sr" }, h("tr", {}, h("th", { scope: "col" }, "Token"), h("th", { scope: "col" }, "Probability"))), this.body);
    this.root.append(this.element, this.note);
  }

  show(title: string, top: Candidate[], taken: number | null): void {
    this.caption.textContent = title;
    this.note.textContent = "";
    this.element.hidden = false;
    const bars = rows(top, taken, this.count);
    while (this.body.rows.length > bars.length) this.body.deleteRow(-1);
    bars.forEach((bar, i) => {
      const row = this.body.rows[i] ?? this.body.appendChild(h("tr", {},
        h("th", { scope: "row" }), h("td", {}, h("span", { class: "mm-odds__bar" }), h("span", { class: "mm-odds__value" }))));
      row.className = `${bar.taken ? "mm-odds__taken" : ""} ${bar.rest ? "mm-odds__rest" : ""}`.trim();
      const [name, cell] = [row.cells[0], row.cells[1]];
      if (!name || !cell) return;
      const { id } = bar;
      if (this.pick && id !== undefined) {
        name.replaceChildren(h("button", { type: "button", "data-id": String(id), onclick: () => this.pick?.(id) }, shown(bar.text)));
      } else name.textContent = bar.rest ? bar.text : shown(bar.text);
      if (bar.taken && !bar.rest) name.append(h("span", { class: "mm-sr" }, " (taken)"));
      cell.style.setProperty("--mm-share", bar.probability.toFixed(4));
      (cell.lastElementChild as HTMLElement).textContent = percent(bar.probability);
    });
  }

  /** Say in words why there are none. */
  empty(title: string, note: string): void {
    this.caption.textContent = title;
    this.element.hidden = true;
    this.note.textContent = note;
  }
}

/** A token in the colour of its probability. One that adds no text (the end) is shown by its name. */
export function tokenSpan(token: Drawn, index: number): HTMLSpanElement {
  const name = token.text || token.top.find((one) => one.id === token.id)?.text || "∅";
  const kind = `${token.drafted ? " mm-token--drafted" : ""}${token.text ? "" : " mm-token--control"}`;
  return h("span", { class: `mm-token${kind}`, "data-step": String(step(token.probability)), "data-index": String(index) }, name.replace(/\n/g, "⏎\n"));
}

/** What the colours say. */
export function legend(what: string): HTMLElement {
  const ends = BOUNDS.map((low, i) => `${Math.round(low * 100)}–${Math.round((BOUNDS[i + 1] ?? 1) * 100)} %`);
  return h("p", { class: "mm-legend" }, `${what}: `,
    ...ends.map((text, i) => h("span", { class: "mm-token", "data-step": String(i) }, text)));
}

export interface Tabs { list: HTMLElement; open(name: string): void }

/** Tabs as WAI-ARIA describes them: one stop for the Tab key, arrows move, Home and End jump. */
export function tabs(label: string, entries: { name: string; title: string; panel: HTMLElement }[], opened: (name: string) => void): Tabs {
  const buttons = entries.map(({ name, title, panel }) => {
    const button = h("button", { type: "button", class: "mm-tab", role: "tab", id: uid("mm-tab"), "data-tab": name, onclick: () => choose(name) }, title);
    panel.id ||= uid("mm-panel");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    button.setAttribute("aria-controls", panel.id);
    return button;
  });
  const list = h("div", { class: "mm-tabs", role: "tablist", "aria-label": label, onkeydown: (event: KeyboardEvent) => {
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = (to + buttons.length) % buttons.length;
    choose(entries[next]?.name ?? "");
    buttons[next]?.focus();
  } }, ...buttons);

  function open(name: string): void {
    entries.forEach((entry, i) => {
      const on = entry.name === name;
      entry.panel.hidden = !on;
      buttons[i]?.setAttribute("aria-selected", String(on));
      if (buttons[i]) buttons[i].tabIndex = on ? 0 : -1;
    });
  }
  function choose(name: string): void {
    open(name);
    opened(name);
  }
  return { list, open };
}
