/** The pieces that the views share: drawing, tokens, odds before and after, a folded table. */

import { h } from "../dom";
import { shown } from "../playground/odds";
import type { Compared } from "./odds";
import { BOUNDS, percent, step } from "./scale";

/** An SVG element; children as in `h`. */
export function svg(tag: string, attributes: Record<string, string | number> = {}, ...children: (Node | string)[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** Paths of `patternPaths` as SVG; their colours are those of the scale. */
export function drawn(paths: string[]): SVGElement[] {
  return paths.flatMap((d, k) => (d ? [svg("path", { "data-step": k, d })] : []));
}

export function key(what: string): HTMLElement {
  return h("p", { class: "mm-key" }, h("span", {}, `${what}, from … %`),
    ...BOUNDS.map((low, k) => h("span", { class: "mm-key__step", "data-step": String(k) }, (100 * low).toFixed(0))));
}

/** A table behind a summary, for screen readers and for whoever wants the numbers. */
export class Folded {
  readonly element: HTMLDetailsElement;
  private body = h("tbody");

  constructor(title: string, columns: string[]) {
    const table = h("table", { class: "mm-view__table" },
      h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))), this.body);
    this.element = h("details", { class: "mm-figure__table" }, h("summary", {}, title),
      h("div", { class: "mm-table-scroll", tabIndex: 0, role: "group", "aria-label": title }, table));
  }

  show(rows: string[][]): void {
    this.body.replaceChildren(...rows.map(([name = "", ...cells]) =>
      h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((cell) => h("td", {}, cell)))));
  }
}

/** Next-token odds, one bar each or, after a change, two. */
export class OddsTable {
  readonly element = h("table", { class: "mm-bars" });

  show(rows: Compared[], changed: boolean): void {
    const bar = (share: number, which: string): HTMLElement => {
      const line = h("span", { class: `mm-bars__line mm-bars__line--${which}` });
      line.style.setProperty("--mm-share", share.toFixed(4));
      return line;
    };
    const heads = changed ? ["next token", "probability, with all on and with what is off", "on", "off"] : ["next token", "probability", ""];
    this.element.replaceChildren(
      h("thead", {}, h("tr", {}, ...heads.flatMap((text, i) =>
        text ? [h("th", { scope: "col", ...(!changed && i === 1 ? { colSpan: 2 } : {}) }, text)] : []))),
      h("tbody", {}, ...rows.map(({ text, before, after }) => h("tr", {},
        h("th", { scope: "row" }, h("code", {}, shown(text))),
        h("td", { class: "mm-bars__bar" }, bar(before, "before"), changed && bar(after, "after")),
        h("td", {}, percent(before)), changed && h("td", {}, percent(after))))),
    );
  }
}

/** What is switched off, with a button to have all back. */
export class OffLine {
  readonly element = h("p", { class: "mm-view__off", hidden: true });
  constructor(private reset: () => void) {}

  show(names: string[], moved: number): void {
    this.element.hidden = names.length === 0;
    this.element.replaceChildren(
      h("span", {}, `Off: ${names.join("; ")}. ${percent(moved)} of the probability went to other tokens. `),
      h("button", { type: "button", class: "mm-link", "data-action": "all-on", onclick: this.reset }, "Switch all on"),
    );
  }
}

/** The text, a button for each token: its bar and colour are a share, its place can be chosen. */
export class Strip {
  readonly element = h("div", { class: "mm-strip", role: "radiogroup" });
  private buttons: HTMLButtonElement[] = [];

  /** `hover`: whether pointing at a token chooses it; not where a choice moves what stands below. */
  constructor(label: string, private choose: (at: number) => void, private hover = true) {
    this.element.setAttribute("aria-label", label);
    this.element.addEventListener("keydown", (event) => {
      const from = this.buttons.indexOf(document.activeElement as HTMLButtonElement);
      const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: this.buttons.length - 1 }[event.key];
      if (from < 0 || to === undefined || !this.buttons[to]) return;
      event.preventDefault();
      this.choose(to);
      this.buttons[to]?.focus();
    });
  }

  show(texts: string[], shares: (number | null)[], at: number, say: (at: number) => string): void {
    while (this.buttons.length > texts.length) this.buttons.pop()?.remove();
    texts.forEach((text, i) => {
      const button = (this.buttons[i] ??= this.element.appendChild(h("button", {
        type: "button", role: "radio", class: "mm-strip__token", onclick: () => this.choose(i), onpointerenter: (event: PointerEvent) => {
          if (this.hover && event.pointerType === "mouse") this.choose(i);
        },
      }, h("span", { class: "mm-strip__bar" }), h("span", { class: "mm-strip__text" }))));
      const share = shares[i] ?? null;
      const bar = button.firstElementChild as HTMLElement;
      bar.style.setProperty("--mm-share", (share ?? 0).toFixed(4));
      (button.lastElementChild as HTMLElement).textContent = shown(text);
      if (share === null) delete button.dataset.step;
      else button.dataset.step = String(step(share));
      button.setAttribute("aria-checked", String(i === at));
      button.tabIndex = i === at ? 0 : -1;
      button.setAttribute("aria-label", say(i));
    });
  }
}
