/**
 * What a path asks for and what of it has been done; when all is, a certificate to print. Everything
 * comes from the progress in this browser: it is the reader's own record, and says so.
 */

import { claim, dataNodes, h, spec, statusLine, uid } from "../dom";
import { noteResult, readResult } from "./result";
import { store } from "./store";
import type { Progress } from "./model";

interface Item { name: string; title: string }
/** `makes` are things that the reader makes on their own machine; a file says what a check found. */
export interface Asked { path: string; says: string; labs: Item[]; exercises: Item[]; makes?: Item[] }
export interface Done { title: string; date: string | null; found?: string }

/** Each thing that the path asks for, with the day it was done, or null. */
export function achieved(asked: Asked, progress: Progress): Done[] {
  const of = (name: string) => progress.modules[name.split("/")[0] ?? ""];
  return [
    ...asked.labs.map(({ name, title }) => ({ title, date: of(name)?.lab?.[name] ?? null })),
    ...asked.exercises.map(({ name, title }) => ({ title, date: of(name)?.exercise?.[name]?.passed ?? null })),
    ...(asked.makes ?? []).map(({ name, title }) => {
      const made = of(name)?.exercise?.[name];
      return { title, date: made?.passed ?? null, ...(made?.found ? { found: made.found } : {}) };
    }),
  ];
}

const day = (date: string): string =>
  new Date(date).toLocaleDateString("en", { year: "numeric", month: "long", day: "numeric" });

/** “Open your result”: reads the file in the page; it goes nowhere else. */
function opener(asked: Asked, makes: Item[]): HTMLElement {
  const id = uid("mm-result");
  const status = statusLine();
  const input = h("input", { id, type: "file", accept: "application/json,.json", class: "mm-file", onchange: () => void load() });

  async function load(): Promise<void> {
    const file = input.files?.[0];
    if (!file) return;
    try {
      const result = readResult(await file.text(), asked.path);
      let passed = 0;
      store().update(asked.path, (entry) => {
        passed = noteResult(entry, result, makes.map((item) => item.name));
      });
      status.textContent = `${file.name}: ${passed} of ${makes.length} parts are there.`;
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
    input.value = "";
  }
  return h("div", { class: "mm-certificate__open" },
    h("span", { class: "mm-file__wrap" }, input, h("label", { for: id, class: "mm-button" }, "Open your result")), status);
}

export function upgradeCertificate(root: HTMLElement): (() => void) | void {
  const asked = spec<Asked>(root, "mm-certificate__spec");
  if (!asked || !claim(root)) return;
  const id = uid("mm-name");
  const name = h("input", { id, type: "text", class: "mm-input", autocomplete: "name", maxlength: "80" });
  const print = h("button", { type: "button", class: "mm-button", onclick: () => window.print() }, "Print");
  const list = h("ul", { class: "mm-certificate__list" });
  const line = h("p", { class: "mm-certificate__line" });
  const who = h("p", { class: "mm-certificate__who", hidden: true });
  const ask = h("p", { class: "mm-certificate__ask", hidden: true }, h("label", { for: id }, "Your name, for the paper "), name, " ", print);
  const note = h("p", { class: "mm-certificate__note" },
    "Kept in this browser, from what you did in it; nobody else knows, and nobody has signed it. The checks are the proof: run them again in front of whoever asks.");
  root.replaceChildren(...dataNodes(root), line, list, asked.makes ? opener(asked, asked.makes) : "", who, ask, note);
  name.addEventListener("input", draw);

  function draw(): void {
    if (!asked) return;
    const done = achieved(asked, store().all());
    const open = done.filter((item) => !item.date).length;
    list.replaceChildren(...done.map((item) =>
      h("li", { "data-mark": item.date ? "right" : "open" }, h("span", {}, item.title), " ",
        h("span", { class: "mm-certificate__date" }, item.date ? day(item.date) : "not yet"),
        item.found ? h("span", { class: "mm-certificate__found" }, item.found) : null)));
    root.dataset.state = open ? "open" : "done";
    line.textContent = open ? `${done.length - open} of ${done.length} done.` : "All of it done.";
    who.hidden = ask.hidden = open > 0;
    who.textContent = `${name.value.trim() || "The reader of this page"} ${asked.says}.`;
  }
  draw();
  return store().subscribe(draw);
}
