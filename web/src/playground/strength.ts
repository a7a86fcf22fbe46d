/** How strongly an adapter changes its model: a slider where there is an adapter, and what it means for a pass. */

import { h } from "../dom";
import type { Edit } from "../engine/api";
import { knobPanel } from "../lab/knobs";
import type { Session } from "./session";
import { SCALE } from "./state";
import type { ViewState } from "./state";

/** The slider; hidden while the model of the view is no adapter, as long as `life` lasts. `moved` is called after the state has the value. */
export function strength(session: Session, life: AbortSignal, state: ViewState, moved: () => void): HTMLElement {
  const knob = {
    name: "scale", label: "Strength of the adapter", type: "range" as const, default: 1, ...SCALE,
    help: "This model is another one and a low-rank change. 0 leaves the other one as it was, 1 is as it was trained.",
  };
  const panel = knobPanel([knob], { scale: state.scale }, () => {
    state.scale = Number(panel.values().scale);
    moved();
  });
  panel.element.querySelector("input")!.dataset.knob = "lora";
  const element = h("div", { class: "mm-strength" }, panel.element);
  session.watch(() => { element.hidden = !session.adapts(state.model); }, life);
  return element;
}

/** The edit that sets the strength; none where it stands as it was trained. */
export function strengthEdits(session: Session, state: ViewState): Edit[] {
  return state.scale !== 1 && session.adapts(state.model) ? [{ kind: "adapter", id: state.model, scale: state.scale }] : [];
}
