/** A view in a page: recorded until the reader opens the live model, then live. */

import { claim, h, spec, statusLine } from "../dom";
import { bytes } from "../playground/odds";
import { Session } from "../playground/session";
import { attentionBody } from "./attention";
import { cacheView } from "./cache";
import { Frame } from "./frame";
import type { Body, Change } from "./frame";
import { lensBody } from "./lens";
import { neuronsBody } from "./neurons";
import { nextBody } from "./next";
import { patchBody } from "./patch";
import { fresh, fromQuery } from "./state";
import type { Show, ViewSpec } from "./state";
import { tokensBody } from "./tokens";

const BODIES: Record<Exclude<Show, "cache">, (change: Change) => Body> = {
  attention: attentionBody, lens: lensBody, patch: patchBody, next: nextBody, tokens: tokensBody, neurons: neuronsBody,
};

export function upgrade(root: HTMLElement): () => void {
  const data = spec<ViewSpec>(root, "mm-view__spec");
  const still = root.querySelector<HTMLElement>(".mm-view__static");
  if (!data || !still || !claim(root)) return () => undefined;
  const linked = fromQuery(data, location.search);
  if (data.show === "cache") {
    still.replaceWith(cacheView(data, linked ?? fresh(data)));
    root.dataset.live = "1";
    return () => undefined;
  }
  const { show } = data;
  const life = new AbortController();
  const status = statusLine();
  const open = h("button", { type: "button", class: "mm-button", "data-action": "open-live", onclick: () => void start() },
    `Open the live model (${bytes(data.bytes)}, once)`);
  const actions = h("div", { class: "mm-view__actions" }, open, status);
  still.after(actions);
  for (const box of still.querySelectorAll<HTMLElement>(":scope > .mm-table-scroll")) box.scrollLeft = box.scrollWidth; // the last token is what counts
  status.textContent = linked ? "This link sets the view. Open the live model to see it." : "Recorded with the text above. Live, you write the text.";

  async function start(): Promise<void> {
    if (!data || !still) return;
    open.disabled = true;
    status.textContent = "";
    try {
      const { modelEngine } = await import("../engine/client");
      const session = new Session(modelEngine());
      actions.append(session.element);
      const state = linked ?? fresh(data);
      await session.start();
      if (!(await session.ready([state.model]))) {
        open.disabled = false;
        return;
      }
      const frame = new Frame(data, session, state, life.signal, BODIES[show as Exclude<Show, "cache">]);
      actions.before(frame.element);
      still.remove();
      root.querySelector<HTMLElement>(".mm-view__prompt")?.remove();
      await frame.show();
      open.remove();
      status.remove();
      root.dataset.live = "1";
      frame.element.querySelector<HTMLElement>("textarea")?.focus({ preventScroll: true });
    } catch (error) {
      open.disabled = false;
      status.textContent = `The live model cannot run here. ${error instanceof Error ? error.message : ""} The recorded picture stays.`;
    }
  }

  return () => life.abort();
}
