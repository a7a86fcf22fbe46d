/** Figures of the page: the recorded SVG stays until the live one is ready in the same box. */

import { coarsePointer } from "../assets";
import { claim, h, spec, whenNear } from "../dom";
import { LiveFigure } from "./live";
import type { Spec } from "./theme";

export function upgradeFigure(root: HTMLElement): () => void {
  const nothing = (): void => undefined;
  const data = spec<Spec>(root, "mm-figure__data");
  const still = root.querySelector<HTMLElement>(".mm-figure__static");
  // The home page's opening stays a picture: it is drawn for reading, and Plotly would outweigh it.
  if (!data?.data || !still || root.closest(".mm-hero") || !claim(root)) return nothing;
  let live: LiveFigure | undefined;
  let gone = false;

  async function start(): Promise<void> {
    if (live || gone || !data || !still) return;
    const height = Math.round(still.getBoundingClientRect().height);
    const box = h("div", { class: "mm-figure__live", "aria-hidden": "true" });
    // Drawn beside the picture and out of the flow, then swapped: nothing moves.
    box.style.height = `${height}px`;
    root.classList.add("mm-figure--loading");
    still.after(box);
    live = new LiveFigure(box, height);
    try {
      await live.show(data);
      root.classList.add("mm-figure--live");
    } catch {
      live.purge();
      box.remove();
    } finally {
      root.classList.remove("mm-figure--loading");
    }
  }

  const stop = coarsePointer() ? button() : whenNear(root, () => void start());
  function button(): () => void {
    const explore = h("button", { type: "button", class: "mm-button mm-button--quiet mm-figure__explore" }, "Explore");
    explore.addEventListener("click", () => {
      explore.disabled = true;
      explore.textContent = "Loading …";
      void start().then(() => explore.remove());
    });
    (root.querySelector("figcaption") ?? still)?.after(explore);
    return () => explore.remove();
  }

  return () => {
    gone = true;
    stop();
    live?.purge();
  };
}
