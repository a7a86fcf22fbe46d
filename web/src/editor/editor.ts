/**
 * A code editor: a textarea at once, CodeMirror in its place when its chunk has come. Without the
 * chunk the textarea stays and everything still works.
 */

import { h, uid, whenNear } from "../dom";

export interface EditorOptions { label: string; value: string; changed?(): void; run?(): void }
export interface Surface { value(): string; set(text: string): void; focus(): void; destroy(): void }

export class Editor {
  readonly element: HTMLElement;
  private surface: Surface;
  private gone = false;

  constructor(options: EditorOptions) {
    const id = uid("mm-editor");
    const area = h("textarea", {
      id, class: "mm-editor__plain", value: options.value, spellcheck: false, autocapitalize: "off",
      rows: Math.min(24, Math.max(6, options.value.split("\n").length + 1)), "aria-label": options.label,
      "aria-describedby": `${id}-help`, oninput: () => options.changed?.(),
    });
    area.setAttribute("autocorrect", "off");
    const note = h("p", { class: "mm-editor__help", id: `${id}-help`, role: "status" });
    const place = h("div", { class: "mm-editor__place" }, area);
    this.element = h("div", { class: "mm-editor" }, place, note);
    this.surface = {
      value: () => area.value,
      set: (text) => {
        area.value = text;
      },
      focus: () => area.focus(),
      destroy: () => undefined,
    };
    whenNear(this.element, () => this.upgrade(area, place, note, options));
  }

  /** 120 KB over the wire: only for a reader who comes near an editor. */
  private upgrade(area: HTMLTextAreaElement, place: HTMLElement, note: HTMLElement, options: EditorOptions): void {
    void import("./codemirror").then(
      ({ codeMirror }) => {
        if (this.gone) return;
        const focused = document.activeElement === area;
        const text = area.value;
        area.remove();
        note.textContent = HELP;
        this.surface = codeMirror(place, { ...options, value: text }, note.id, (leaving) => {
          note.textContent = leaving ? "Tab now leaves the editor." : HELP;
        });
        if (focused) this.surface.focus();
      },
      () => {
        // The chunk did not come: the textarea is the editor.
      },
    );
  }

  value(): string {
    return this.surface.value();
  }
  set(text: string): void {
    this.surface.set(text);
  }
  focus(): void {
    this.surface.focus();
  }
  destroy(): void {
    this.gone = true;
    this.surface.destroy();
  }
}

const HELP = "Tab indents. Esc, then Tab, leaves the editor. Ctrl+Enter runs.";
