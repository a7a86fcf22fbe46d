/** Export, import and reset: progress belongs to the reader. */

import { claim, h, saveFile, statusLine, uid } from "../dom";
import { store } from "./store";

export function upgradeTools(root: HTMLElement): void {
  if (!claim(root)) return;
  const status = statusLine();
  const id = uid("mm-file");
  const input = h("input", { id, type: "file", accept: "application/json,.json", class: "mm-file", onchange: () => void load() });
  const save = h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: download }, "Export");
  const reset = h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: ask }, "Reset");
  const buttons = h("div", { class: "mm-progress__buttons" }, save,
    h("span", { class: "mm-file__wrap" }, input, h("label", { for: id, class: "mm-button mm-button--quiet" }, "Import")), reset);
  root.append(
    h("p", { class: "mm-progress__note" }, store().durable
      ? "Your progress is kept in this browser only. Export it to move it or to keep it."
      : "This browser does not let the page keep anything: your progress ends with this visit unless you export it."),
    buttons, status,
  );

  function download(): void {
    const day = new Date().toISOString().slice(0, 10);
    saveFile(new Blob([store().export()], { type: "application/json" }), `minimind-progress-${day}.json`);
    status.textContent = "Saved as a file.";
  }

  async function load(): Promise<void> {
    const file = input.files?.[0];
    if (!file) return;
    try {
      store().import(await file.text());
      status.textContent = `Imported ${file.name}. Where both knew something, the later one stands.`;
    } catch (error) {
      status.textContent = error instanceof Error ? error.message : String(error);
    }
    input.value = "";
  }

  function ask(): void {
    const yes = h("button", { type: "button", class: "mm-button" }, "Delete all progress");
    const no = h("button", { type: "button", class: "mm-button mm-button--quiet" }, "Keep it");
    const back = (text: string): void => {
      buttons.replaceChildren(save, ...[...kept], reset);
      status.textContent = text;
      reset.focus();
    };
    const kept = [...buttons.children].filter((c) => c !== save && c !== reset);
    yes.addEventListener("click", () => {
      store().reset();
      back("All progress is deleted. Reload to see the pages fresh.");
    });
    no.addEventListener("click", () => back(""));
    buttons.replaceChildren(yes, no);
    yes.focus();
  }
}
