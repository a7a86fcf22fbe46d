/** What every live view has: a model, a text, its tokens, a state in the address. */

import { debounce, h, uid } from "../dom";
import { EngineError } from "../engine/api";
import type { ModelEngine, ModelInfo } from "../engine/api";
import { picker } from "../playground/picker";
import type { Session } from "../playground/session";
import { fresh, toQuery } from "./state";
import type { ViewSpec, ViewState } from "./state";

/** What a body is given to show. `current()` turns false when something newer was asked for. */
export interface Reading {
  engine: ModelEngine; info: ModelInfo; ids: number[]; texts: string[];
  spec: ViewSpec; state: ViewState; current(): boolean;
}
export interface Body { element: HTMLElement; show(reading: Reading): Promise<void> | void }
/** Change the state: kept in the address, and shown. */
export type Change = (change: Partial<ViewState>) => void;

export const MOST = 96; // tokens: what a screen can show, and T · T numbers a head

export class Frame {
  readonly element = h("div", { class: "mm-view__live" });
  private turn = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private form = h("button", { type: "button", class: "mm-link", "data-action": "form", hidden: true, onclick: () =>
    this.change({ form: this.state.form === "chat" ? "text" : "chat", at: -1 }) });
  private link = h("button", { type: "button", class: "mm-link", "data-action": "link", onclick: () => void this.copy() }, "Copy link");
  private count = h("span", { class: "mm-view__count", role: "status" });

  constructor(private spec: ViewSpec, private session: Session, private state: ViewState, life: AbortSignal, make: (change: Change) => Body) {
    const body = make(this.change);
    this.body = body;
    const inputs = [this.textField("Text", "ask")];
    if (spec.show === "patch") inputs.push(this.textField("Other text: vectors of its pass are put in", "other"));
    this.element.append(
      h("div", { class: "mm-view__controls" }, ...inputs,
        h("div", { class: "mm-row" }, picker(session, life, state.model, (model) => this.change({ model })), this.count,
          this.form, this.link,
          h("button", { type: "button", class: "mm-link", "data-action": "reset", onclick: () => this.reset() }, "Reset"))),
      body.element,
    );
  }
  private body: Body;
  private writers: (() => void)[] = [];

  private textField(label: string, field: "ask" | "other"): HTMLElement {
    const id = uid("mm-view");
    const input = h("textarea", { id, class: "mm-ask__box", rows: 2, spellcheck: false, maxLength: 600, "data-field": field });
    const later = debounce(() => this.change({ [field]: input.value, at: -1 }), 300);
    input.addEventListener("input", later);
    input.value = this.state[field];
    this.writers.push(() => { input.value = this.state[field]; });
    return h("div", { class: "mm-field" }, h("label", { for: id }, label), input);
  }

  private reset(): void {
    this.state = { ...fresh(this.spec), model: this.state.model };
    for (const write of this.writers) write();
    this.change({});
  }

  private async copy(): Promise<void> {
    const address = new URL(`${location.pathname}${toQuery(this.spec, this.state, location.search)}#view-${this.spec.name.replace(/[/.]/g, "-")}`, location.href);
    try {
      await navigator.clipboard.writeText(address.href);
      this.link.textContent = "Copied";
    } catch {
      this.link.textContent = "The address bar has it"; // no clipboard outside secure contexts
    }
    setTimeout(() => { this.link.textContent = "Copy link"; }, 2000);
  }

  readonly change: Change = (change) => {
    this.state = { ...this.state, ...change };
    clearTimeout(this.timer); // an address may not change with every move of a pointer
    this.timer = setTimeout(() => {
      if (!this.element.isConnected) return; // the reader is on another page by now
      history.replaceState(history.state, "", `${location.pathname}${toQuery(this.spec, this.state, location.search)}${location.hash}`);
    }, 150);
    void this.show();
  };

  async show(): Promise<void> {
    const turn = ++this.turn;
    const current = (): boolean => turn === this.turn && this.element.isConnected;
    const { session, state } = this;
    if (!session.info(state.model) && !(await session.ready([state.model]))) return;
    const info = session.info(state.model);
    if (!info || !current()) return;
    try {
      const chat = session.chats(state.model) && state.form === "chat" && state.ask !== "";
      const { ids, texts } = chat
        ? await session.engine.chat(state.model, [{ role: "user", content: state.ask }])
        : await session.engine.encode(state.model, state.ask);
      if (!current()) return;
      this.count.textContent = `${ids.length} token${ids.length === 1 ? "" : "s"}${session.chats(state.model) ? `, read as ${chat ? "a chat" : "plain text"}` : ""}`;
      this.form.hidden = !session.chats(state.model);
      this.form.textContent = chat ? "Read it as plain text" : "Read it as a chat";
      if (ids.length === 0) throw new EngineError("There is no text; write some.", "input");
      if (ids.length > MOST) throw new EngineError(`The text has ${ids.length} tokens, and a view shows at most ${MOST}; shorten it.`, "input");
      await this.body.show({ engine: session.engine, info, ids, texts, spec: this.spec, state, current });
      if (current()) session.clear();
    } catch (error) {
      if (current()) session.fail(error);
    }
  }
}
