/** One stage of training: its answer in colour, and the odds of a next token under it. */

import { h } from "../dom";
import type { Drawn, Finished } from "../engine/api";
import { shown } from "./odds";
import { Bars, tokenSpan } from "./parts";

export interface StageSpec { id: string; stage: string; name: string; was: string; chat: boolean }
/** A recorded stage: what it read, and for each token of its answer the likeliest, the first of them taken. */
export interface RecordedStage extends StageSpec { reads: string[]; drawn: [number, string, number][][]; reason: "stop" | "length" }

export interface ColumnCalls { point(index: number | null, pin: boolean): void; inspect(): void }

export class Column {
  readonly element: HTMLElement;
  drawn: Drawn[] = [];
  private text = h("div", { class: "mm-stage__text", "data-part": "answer" });
  private fact = h("p", { class: "mm-stage__fact" });
  private reads = h("div", { class: "mm-stage__tokens", role: "group", tabIndex: 0, "aria-label": "What it reads, token by token" });
  private bars = new Bars();
  private state: "empty" | "running" | "done" = "empty";

  constructor(readonly spec: StageSpec, calls: ColumnCalls) {
    const title = h("h2", { class: "mm-stage__name" }, spec.name);
    const place = (event: Event): number | null => {
      const span = (event.target as Element).closest<HTMLElement>(".mm-token");
      return span ? Number(span.dataset.index) : null;
    };
    this.text.addEventListener("pointerover", (event) => calls.point(place(event), false));
    this.text.addEventListener("pointerleave", () => calls.point(null, false));
    this.text.addEventListener("click", (event) => calls.point(place(event), true));
    this.element = h("section", { class: "mm-stage", "data-stage": spec.stage, "aria-label": spec.name },
      title, h("p", { class: "mm-stage__was" }, spec.was),
      h("details", { class: "mm-stage__reads" },
        h("summary", {}, spec.chat ? "reads it as a chat" : "reads it as plain text"), this.reads),
      this.text, this.fact, this.bars.root,
      h("button", { type: "button", class: "mm-link", "data-action": "inspect", onclick: () => calls.inspect() },
        "Inspect", h("span", { class: "mm-sr" }, ` the answer of ${spec.name}`)));
  }

  read(texts: string[]): void {
    this.reads.replaceChildren(...texts.flatMap((text) => {
      const box = h("span", { class: control(text) ? "mm-piece mm-piece--control" : "mm-piece" }, shown(text));
      return text.includes("\n") ? [box, h("br")] : [box];
    }));
  }

  begin(): void {
    this.drawn = [];
    this.state = "running";
    this.element.dataset.state = "running";
    this.text.replaceChildren();
    this.fact.textContent = "";
  }

  /** Not asked yet: the prompt has changed since. */
  blank(): void {
    this.begin();
    this.state = "empty";
    this.element.dataset.state = "empty";
    this.reads.replaceChildren();
  }

  add(token: Drawn): void {
    this.text.append(tokenSpan(token, this.drawn.length));
    this.drawn.push(token);
  }

  end(finished: Pick<Finished, "reason" | "tokensPerSecond">, more: string): void {
    this.state = "done";
    this.element.dataset.state = "done";
    const count = this.drawn.length;
    const how = { stop: "then it ended", length: "then it was cut off", aborted: "then you stopped it" }[finished.reason];
    const speed = finished.tokensPerSecond ? ` ${Math.round(finished.tokensPerSecond)} tokens/s.` : "";
    this.fact.textContent = `${count} ${count === 1 ? "token" : "tokens"}, ${how}.${more ? ` ${more}` : ""}${speed}`;
  }

  recorded(stage: RecordedStage): void {
    this.blank();
    this.read(stage.reads);
    for (const top of stage.drawn) {
      const candidates = top.map(([id, text, probability], rank) => ({ id, text, probability, rank }));
      const taken = candidates[0];
      if (taken) this.add({ id: taken.id, text: control(taken.text) ? "" : taken.text, probability: taken.probability, rank: 0, top: candidates });
    }
    this.end({ reason: stage.reason, tokensPerSecond: 0 }, "");
  }

  /** Show the odds before token `index`. */
  show(index: number): void {
    const title = index === 0 ? "Before its first token" : `Before its token ${index + 1}`;
    const token = this.drawn[index];
    for (const span of this.text.querySelectorAll(".mm-token--at")) span.classList.remove("mm-token--at");
    if (token) {
      this.bars.show(title, token.top, token.id);
      (this.text.children[index] as HTMLElement | undefined)?.classList.add("mm-token--at");
    } else if (this.state === "done") this.bars.empty(title, `Its answer has ${this.drawn.length} tokens only.`);
    else this.bars.empty(title, this.state === "running" ? "…" : "Not asked yet.");
  }
}

/** A reserved token: it says something to the model, and adds nothing to the text. */
const control = (text: string): boolean => /^<\|.+\|>$|^<\/?[a-z_]+>$/.test(text);
