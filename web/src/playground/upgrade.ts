/** The playground's door: its code comes only to the page that shows it. */

import { claim, spec } from "../dom";
import type { Recorded } from "./stages";

export function upgradePlayground(root: HTMLElement): (() => void) | void {
  const recorded = spec<Recorded>(root, "mm-playground__spec");
  if (!recorded || !claim(root)) return;
  let gone = false;
  let stop = (): void => undefined;
  Promise.all([import("./playground"), import("../engine/client")])
    .then(([{ startPlayground }, { modelEngine }]) => {
      if (!gone) stop = startPlayground(root, modelEngine(), recorded);
    })
    // The recorded run stays: it needs nothing more.
    .catch((error: unknown) => console.error("minimind: playground", error));
  return () => {
    gone = true;
    stop();
  };
}
