/**
 * A path in steps (the mastery path): each row of its tables is marked when it was done, and a line
 * above them says how far the reader is. A module is done as the module says; a page without one
 * when it was read to its end; work on one's own machine when the result was opened.
 */

import { claim, h } from "../dom";
import { describe } from "./path";
import { summarize } from "./model";
import type { Progress } from "./model";
import { store } from "./store";

export interface State { share: number; says: string }

/** How far a step is. `made`: how much of the path's own work is there, 0 to 1. */
export function stepState(key: string, path: string, progress: Progress, made: number): State {
  if (key === `paths/${path}`) return { share: made, says: made >= 1 ? "shown" : made > 0 ? "begun" : "" };
  const entry = progress.modules[key];
  if (key.includes("/") || key === "playground") return { share: entry?.read ? 1 : 0, says: entry?.read ? "read" : "" };
  const s = summarize(entry);
  return { share: s.share, says: s.share > 0 ? describe(s) : "" };
}

/** Of the parts that a certificate asks for on this path, the share that passed. */
export function madeShare(path: string, progress: Progress, asked: number): number {
  const tasks = Object.entries(progress.modules[path]?.exercise ?? {});
  const passed = tasks.filter(([name, task]) => name.startsWith(`${path}/`) && task.passed).length;
  return asked ? Math.min(1, passed / asked) : 0;
}

export function upgradeWalk(root: HTMLElement): (() => void) | void {
  if (!claim(root)) return;
  const path = root.dataset.path ?? "";
  const asked = Number(root.dataset.asked ?? 0);
  const rows = [...document.querySelectorAll<HTMLTableRowElement>(".mm-steps tr[data-step]")];
  const bar = h("div", { class: "mm-path__bar", "aria-hidden": "true" }, h("i"));
  const line = h("p", { class: "mm-path__line" });
  root.replaceChildren(h("div", { class: "mm-path__head" }, line, bar));
  const notes = rows.map((row) => {
    const note = h("span", { class: "mm-path__state" });
    row.cells[0]?.append(note);
    return note;
  });

  const draw = (): void => {
    const progress = store().all();
    const made = madeShare(path, progress, asked);
    let sum = 0;
    let next: HTMLAnchorElement | null = null;
    rows.forEach((row, at) => {
      const state = stepState(row.dataset.step ?? "", path, progress, made);
      sum += state.share;
      row.dataset.state = state.share >= 0.99 ? "done" : state.share > 0 ? "begun" : "new";
      const note = notes[at];
      if (note) note.textContent = state.says;
      if (!next && state.share < 0.99) next = row.querySelector("a[href]");
    });
    const share = rows.length ? sum / rows.length : 0;
    (bar.firstElementChild as HTMLElement).style.width = `${share * 100}%`;
    const to = next as HTMLAnchorElement | null;
    line.replaceChildren(h("span", {}, `${Math.round(share * 100)} % of what is written is done. `),
      to ? h("a", { href: to.href }, `${share > 0 ? "Continue" : "Begin"} with ${to.textContent?.trim() ?? "the next step"}`) : "Everything here is done.");
  };
  draw();
  return store().subscribe(draw);
}
