/** Loading models for the views: sizes told before, progress, cancel, and errors in words. */

import { h, uid } from "../dom";
import { EngineError } from "../engine/api";
import type { ModelEngine, ModelInfo, Progress, Shipped } from "../engine/api";
import { bytes } from "./odds";

export class Session {
  /** Where loading and its errors are told. */
  readonly element = h("div", { class: "mm-load", "data-state": "idle" });
  private infos = new Map<string, ModelInfo>();
  private list: Shipped[] = [];
  private own: ModelInfo[] = [];
  private line: Promise<unknown> = Promise.resolve();
  private told = new Set<() => void>();

  constructor(readonly engine: ModelEngine) {}

  /** What can be chosen: fetched once; an empty list where the site was built without models. */
  async start(): Promise<void> {
    this.list = await this.engine.shipped();
    this.changed();
  }

  get shipped(): Shipped[] {
    return this.list;
  }

  /** Every model that a picker offers: the shipped ones, then the reader's own. */
  get choices(): { id: string; title: string }[] {
    return [...this.list, ...this.own].map(({ id, title }) => ({ id, title }));
  }

  /** Call `changed` now, and after each change until the life of who asks has ended. */
  watch(changed: () => void, life: AbortSignal): void {
    if (!life.aborted) {
      this.told.add(changed);
      life.addEventListener("abort", () => this.told.delete(changed), { once: true });
    }
    changed();
  }

  /** How many watch. */
  get watched(): number {
    return this.told.size;
  }

  info(model: string): ModelInfo | undefined {
    return this.infos.get(model);
  }

  /** Whether it answers in chat, or continues text. */
  chats(model: string): boolean {
    return this.list.find((shipped) => shipped.id === model)?.chat ?? this.infos.get(model)?.hasChatTemplate ?? false;
  }

  /** Whether it is an adapter on another model. */
  adapts(model: string): boolean {
    const shipped = this.list.find((one) => one.id === model);
    return shipped ? shipped.base !== undefined && shipped.stage !== "random" : this.infos.get(model)?.base !== undefined;
  }

  /** Tell those who watch: what a view shows depends on more than what is loaded. */
  refresh(): void {
    this.changed();
  }

  /** Bytes still to be fetched, with the models that adapters stand on; what two of them share comes once. */
  size(models: string[]): number {
    const parts = new Map<string, number>();
    for (const { id, stage, bytes: all, files } of this.needed(models)) {
      if (stage === "random" || !files) parts.set(id, all);
      else for (const file of files) parts.set(file.sha256, file.bytes);
    }
    return [...parts.values()].reduce((sum, size) => sum + size, 0);
  }

  sizeText(models: string[]): string {
    const size = this.size(models);
    return size ? `fetches ${bytes(size)}, once` : "";
  }

  /**
   * Load what is not loaded yet. False where the reader cancelled or it failed; that is told. Two
   * views that ask at once get theirs one after the other: neither ends what the other waits for.
   */
  ready(models: string[]): Promise<boolean> {
    const turn = this.line.then(() => this.take(models));
    this.line = turn;
    return turn;
  }

  private async take(models: string[]): Promise<boolean> {
    const missing = models.filter((model) => !this.infos.has(model));
    if (!missing.length) return true;
    const abort = new AbortController();
    const total = this.size(missing);
    const [bar, text] = this.meter(() => abort.abort());
    let before = 0;
    let note = "";
    try {
      for (const model of missing) {
        const own = this.size([model]);
        const tell = (progress: Progress): void => {
          const part = progress.total ? progress.loaded / progress.total : 1;
          note = progress.note ?? note;
          bar.value = total ? Math.min(1, (before + part * own) / total) : part;
          const where = progress.from === "cache" ? ", kept by this browser" : "";
          text.textContent = `Loading ${this.title(model)}: ${bytes(progress.loaded)} of ${bytes(progress.total)}${where}. ${progress.note ?? ""}`;
        };
        this.infos.set(model, await this.engine.load({ kind: "shipped", id: model }, tell, abort.signal));
        before += own;
      }
      this.clear();
      if (note) this.element.append(h("p", { class: "mm-load__text", role: "status" }, note)); // what went otherwise
      this.changed();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  /** Open files of the reader's own; null where they cannot be used, which is told. */
  async open(files: { name: string; blob: Blob }[], onto: string): Promise<ModelInfo | null> {
    const name = (files[0]?.name.split("/")[0] || "your model").slice(0, 60);
    const abort = new AbortController();
    const [bar, text] = this.meter(() => abort.abort());
    try {
      const info = await this.engine.load({ kind: "files", name, files, onto }, (progress) => {
        bar.value = progress.total ? progress.loaded / progress.total : 1;
        text.textContent = `Reading ${name}: ${bytes(progress.loaded)} of ${bytes(progress.total)}. ${progress.note ?? ""}`;
      }, abort.signal);
      // What an adapter stands on is loaded by now, so that this only asks for what it is.
      const base = info.base ? [await this.engine.load({ kind: "shipped", id: info.base })] : [];
      for (const one of [...base, info]) {
        this.infos.set(one.id, one);
        const known = this.own.findIndex(({ id }) => id === one.id);
        if (known >= 0) this.own[known] = one;
        else if (!this.list.some(({ id }) => id === one.id)) this.own.push(one);
      }
      this.clear();
      if (base[0]) this.element.append(h("p", { class: "mm-load__text", role: "status" }, `“${info.title}” changes the model “${base[0].title}”; both can be chosen.`));
      this.changed();
      return info;
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  /** Tell what went wrong, and what the reader can do. A stop that the reader asked for is no fault. */
  fail(error: unknown): void {
    this.element.replaceChildren();
    this.element.dataset.state = "idle";
    if (error instanceof EngineError && error.code === "stopped") return;
    const message = error instanceof Error ? error.message : String(error);
    this.element.dataset.state = "failed";
    this.element.append(h("div", { class: "mm-error", role: "alert" },
      h("p", {}, h("strong", {}, "That did not work. "), message), h("p", {}, advice(error))));
  }

  clear(): void {
    this.element.replaceChildren();
    this.element.dataset.state = "idle";
  }

  private meter(cancel: () => void): [HTMLProgressElement, HTMLElement] {
    const text = h("p", { id: uid("mm-load"), class: "mm-load__text" }, "Loading …");
    const bar = h("progress", { max: 1, value: 0, "aria-labelledby": text.id });
    const stop = h("button", { type: "button", class: "mm-button mm-button--quiet", "data-action": "cancel", onclick: cancel }, "Cancel");
    this.element.replaceChildren(h("div", { class: "mm-load__line" }, bar, stop), text);
    this.element.dataset.state = "loading";
    return [bar, text];
  }

  private needed(models: string[]): Shipped[] {
    const wanted = new Set(models.filter((model) => !this.infos.has(model)));
    for (const shipped of this.list) {
      // The untrained one takes a shape from its base, and no bytes.
      const base = wanted.has(shipped.id) && shipped.stage !== "random" ? shipped.base : undefined;
      if (base && !this.infos.has(base)) wanted.add(base);
    }
    return this.list.filter((shipped) => wanted.has(shipped.id));
  }

  private title(model: string): string {
    return this.list.find((shipped) => shipped.id === model)?.title ?? model;
  }

  private changed(): void {
    for (const told of this.told) told();
  }
}

function advice(error: unknown): string {
  const code = error instanceof EngineError ? error.code : "";
  if (code === "offline") return "Try again when you are connected. The recorded run stays readable.";
  if (code === "memory") return "Close other tabs, or choose a smaller model.";
  if (code === "damaged") return "A file of this site is fetched anew when you run it again; a file of yours must be copied or exported again.";
  if (code === "unsupported" || code === "input" || code === "missing") return "";
  return "Run it again. If it happens again, reload the page.";
}
