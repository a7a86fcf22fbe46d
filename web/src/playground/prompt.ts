/** A prompt's field with its label, examples and the keys that run it; shared by the views. */

import { h, uid } from "../dom";
import { EXAMPLES } from "./examples";

export interface Prompt { element: HTMLElement; value(): string; set(text: string): void; focus(): void }
interface Wish { label: string; start: string; rows?: number; examples?: boolean; changed(text: string): void; run(): void }

export function promptField(wish: Wish): Prompt {
  const box = h("textarea", {
    id: uid("mm-ask"), class: "mm-ask__box", rows: wish.rows ?? 2, spellcheck: false, "data-part": "prompt", value: wish.start,
    oninput: () => { mark(); wish.changed(box.value); },
    onkeydown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      wish.run();
    },
  });
  const look = h("p", { class: "mm-look", "data-part": "look" });
  const buttons = wish.examples === false ? [] : EXAMPLES.map((example) =>
    h("button", { type: "button", class: "mm-chipbutton", "data-example": example.name, onclick: () => {
      set(example.ask);
      wish.changed(example.ask);
      wish.run();
    } }, example.name));
  const element = h("div", { class: "mm-ask" }, h("label", { for: box.id, class: "mm-ask__label" }, wish.label), box);
  if (buttons.length) element.append(h("div", { class: "mm-examples", role: "group", "aria-label": "Examples" }, ...buttons), look);

  function mark(): void {
    const example = EXAMPLES.find((one) => one.ask === box.value.trim());
    look.textContent = example?.look ?? "";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.example === example?.name));
  }
  function set(text: string): void {
    box.value = text;
    mark();
  }
  mark();
  return { element, value: () => box.value, set, focus: () => box.focus() };
}
