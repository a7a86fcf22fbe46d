/** Choosing a model, and opening one's own: dropped on the playground, or chosen from disk. */

import { h, uid } from "../dom";
import type { Session } from "./session";

/** What is taken where a link names a model that is not here, such as a reader's own. */
const USUAL = "world-tiny-chat";

/** A select of all models with its label, kept in step while `life` lasts. */
export function picker(session: Session, life: AbortSignal, start: string, chosen: (model: string) => void): HTMLElement {
  const id = uid("mm-pick");
  const note = h("p", { class: "mm-hint", role: "status" });
  const select = h("select", { id, class: "mm-select", "data-pick": "model", onchange: () => {
    wanted = select.value;
    note.textContent = "";
    chosen(wanted);
  } });
  let wanted = start;
  session.watch(() => {
    const ids = session.choices.map((choice) => choice.id);
    select.replaceChildren(...session.choices.map(({ id: value, title }) => h("option", { value }, title)));
    if (!ids.length) return;
    if (!ids.includes(wanted)) {
      note.textContent = `The link names the model “${wanted}”, which is not here. Was it your own? Open it again below.`;
      wanted = ids.includes(USUAL) ? USUAL : (ids[0] ?? "");
      chosen(wanted);
    }
    select.value = wanted;
  }, life);
  return h("div", { class: "mm-field" }, h("label", { for: id }, "Model"), select, note);
}

interface Entry { isFile: boolean; name: string; fullPath: string; file(done: (file: File) => void, fail: (e: unknown) => void): void; createReader(): { readEntries(done: (entries: Entry[]) => void, fail: (e: unknown) => void): void } }
const MOST_FILES = 64;

/** Files of what was dropped, folders opened one level: a model folder is flat. */
export async function dropped(transfer: DataTransfer): Promise<{ name: string; blob: Blob }[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() as Entry | null).filter((entry) => entry !== null);
  if (!entries.length) return [...transfer.files].slice(0, MOST_FILES).map((file) => ({ name: file.name, blob: file }));
  const files: { name: string; blob: Blob }[] = [];
  const take = async (entry: Entry): Promise<void> => {
    if (!entry.isFile || files.length >= MOST_FILES) return;
    const blob = await new Promise<File>((done, fail) => entry.file(done, fail));
    files.push({ name: entry.fullPath.replace(/^\//, ""), blob });
  };
  for (const entry of entries) {
    if (entry.isFile) await take(entry);
    else for (const inside of await children(entry)) await take(inside);
  }
  return files;
}

/** A reader gives a folder in parts, and none when it is done. */
async function children(folder: Entry): Promise<Entry[]> {
  const reader = folder.createReader();
  const all: Entry[] = [];
  for (;;) {
    const part = await new Promise<Entry[]>((done, fail) => reader.readEntries(done, fail));
    if (!part.length || all.length > MOST_FILES) return all;
    all.push(...part);
  }
}

/** "Open your own": two file inputs behind buttons, and the whole playground as a place to drop. */
export function openOwn(session: Session, root: HTMLElement, onto: () => string, opened: (model: string) => void): HTMLElement {
  const take = async (files: { name: string; blob: Blob }[]): Promise<void> => {
    if (!files.length) return;
    const info = await session.open(files, onto());
    if (info) opened(info.id);
  };
  const chooser = (folder: boolean, text: string): Node[] => {
    const input = h("input", { type: "file", multiple: true, hidden: true, "data-own": folder ? "folder" : "files", "aria-label": text, onchange: () => {
      void take([...(input.files ?? [])].slice(0, MOST_FILES).map((file) => ({ name: file.webkitRelativePath || file.name, blob: file })));
      input.value = "";
    } });
    if (folder) input.setAttribute("webkitdirectory", "");
    return [h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: () => input.click() }, text), input];
  };
  root.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    root.classList.add("mm-playground--over");
  });
  root.addEventListener("dragleave", (event) => {
    if (!root.contains(event.relatedTarget as Node | null)) root.classList.remove("mm-playground--over");
  });
  root.addEventListener("drop", (event) => {
    root.classList.remove("mm-playground--over");
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    void dropped(event.dataTransfer).then(take).catch((error: unknown) => session.fail(error));
  });
  return h("details", { class: "mm-own" }, h("summary", {}, "Open a model of your own"),
    h("p", {}, "A model folder (config.json, model.safetensors, tokenizer.json) or a bundle for the page (model.bin, tokenizer.json), from your disk; or a LoRA folder (adapter_config.json, adapter_model.safetensors), together with its model or after it. ",
      "Drop it anywhere on the playground, or choose it. It is read in this page and sent nowhere."),
    h("div", { class: "mm-row" }, ...chooser(true, "Choose a folder"), ...chooser(false, "Choose files")));
}
