/** How a text is cut: tokens, their numbers, their bytes. */

import { h } from "../dom";
import { shown } from "../playground/odds";
import type { Body, Change, Reading } from "./frame";

/** The bytes of a token in hexadecimal; what is no whole character the engine writes as \xFA itself. */
export function hex(text: string): string {
  if (/^(\\x[0-9A-F]{2})+$/.test(text)) return text.slice(2).toLowerCase().split("\\x").join(" ");
  return [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

export function tokensBody(_change: Change): Body {
  const list = h("ol", { class: "mm-tokens", "aria-label": "Tokens and their numbers" });
  const line = h("p", { class: "mm-view__line" });
  return {
    element: h("div", {}, list, line),
    show({ ids, texts, state }: Reading): void {
      list.replaceChildren(...ids.map((id, i) => h("li", {},
        h("span", { class: "mm-token__text" }, shown(texts[i] ?? "")), h("span", { class: "mm-token__id" }, String(id)),
        h("span", { class: "mm-token__bytes" }, hex(texts[i] ?? "")))));
      const size = new TextEncoder().encode(state.ask).length;
      line.textContent = `${ids.length} tokens for ${size} bytes: ${(size / ids.length).toFixed(1)} bytes a token.`;
    },
  };
}
