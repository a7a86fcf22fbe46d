/** Shared by labs and exercises: an error with its traceback folded, printed text, a small table. */

import { h } from "./dom";

export function errorBox(message: string, traceback: string): HTMLElement {
  const box = h("div", { class: "mm-error", role: "alert" }, h("p", {}, h("strong", {}, "It did not run. "), message));
  if (traceback && traceback !== message) {
    box.append(h("details", { class: "mm-traceback" }, h("summary", {}, "Traceback"), h("pre", { tabIndex: 0 }, traceback)));
  }
  return box;
}

export function printed(text: string): HTMLElement {
  return h("pre", { class: "mm-stdout", tabIndex: 0, "aria-label": "Printed by the code" }, text);
}

/** A list of records as a table; null when it is none. */
export function dataTable(rows: unknown): HTMLElement | null {
  if (!Array.isArray(rows) || rows.length === 0 || typeof rows[0] !== "object" || rows[0] === null) return null;
  const records = rows as Record<string, unknown>[];
  const names = Object.keys(records[0] ?? {});
  const cell = (value: unknown): string =>
    typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value ?? "–");
  return h("div", { class: "mm-table", tabIndex: 0, role: "region", "aria-label": "Results" },
    h("table", {},
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...records.map((record) => h("tr", {}, ...names.map((name) => h("td", {}, cell(record[name]))))))));
}
