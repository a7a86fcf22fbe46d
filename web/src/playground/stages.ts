/** The opening view: one prompt, and what the model says to it after each stage of its training. */

import { h, uid } from "../dom";
import type { Drawn } from "../engine/api";
import { percent } from "../views/scale";
import { Column } from "./column";
import type { RecordedStage, StageSpec } from "./column";
import { parting, shown } from "./odds";
import { legend, TOP } from "./parts";
import { promptField } from "./prompt";
import { ALL, folded, samplingPanel } from "./sampling";
import type { Session } from "./session";
import type { ViewState } from "./state";

export interface Recorded { prompt: string; most: number; stages: RecordedStage[] }
export interface View { element: HTMLElement; shown?(): void; stop?(): void }
export interface Host {
  session: Session;
  /** Ends when the view is taken away. */
  life: AbortSignal;
  say(line: string): void;
  changed(): void;
  /** Open the inspector on this; what is not named stands at its default, the sampling as it was. */
  inspect(wish: Partial<ViewState> & Pick<ViewState, "model" | "ask">): void;
}

export function stagesView(host: Host, state: ViewState, recorded: Recorded): View {
  let asked = recorded.prompt; // what the columns answer now
  let abort: AbortController | null = null;
  let pinned = state.at;
  const columns = recorded.stages.map((stage) => new Column(stage, {
    point: (index, pin) => {
      if (pin && index !== null) pinAt(index);
      else show(index ?? pinned);
    },
    inspect: () => host.inspect({ model: stage.id, ask: asked }),
  }));
  const ids = recorded.stages.map((stage) => stage.id);

  const prompt = promptField({ label: "Prompt", start: state.ask, changed: (ask) => { state.ask = ask; host.changed(); }, run: () => void run() });
  const go = h("button", { type: "button", class: "mm-button", "data-action": "run", onclick: () => void run() }, "Run all five");
  const halt = h("button", { type: "button", class: "mm-button mm-button--quiet", hidden: true, "data-action": "stop", onclick: () => abort?.abort() }, "Stop");
  const size = h("span", { class: "mm-hint" });
  const slider = h("input", { id: uid("mm-at"), type: "range", min: "0", max: "0", step: "1", value: String(pinned), "data-knob": "at",
    oninput: () => pinAt(Number(slider.value)) });
  const told = h("output", { class: "mm-knob__value", for: slider.id });
  const settings = samplingPanel(state, ALL, () => host.changed());
  const jumps = columns.map((column, i) => h("button", { type: "button", class: "mm-jump", "data-jump": column.spec.stage, onclick: () => jump(i) },
    h("span", { class: "mm-jumps__name" }, column.spec.name), h("span", { class: "mm-jumps__said" })));
  const strip = h("div", { class: "mm-stages", "data-part": "stages", tabIndex: 0, role: "region", "aria-label": "The stages of training" }, ...columns.map((column) => column.element));
  strip.addEventListener("scroll", () => mark(), { passive: true });

  const element = h("div", { class: "mm-pane", "data-pane": "stages" },
    prompt.element,
    h("div", { class: "mm-row" }, go, halt, size, h("span", { class: "mm-hint" }, "Enter runs, Shift+Enter makes a new line.")),
    h("nav", { class: "mm-jumps", "aria-label": "Stages" }, ...jumps),
    h("div", { class: "mm-knob mm-knob--range mm-at" },
      h("div", { class: "mm-knob__line" }, h("label", { for: slider.id }, "The bars show the odds before token"), told), slider),
    strip,
    legend("Under each token: how likely it was"),
    folded("Sampling", settings));

  async function run(): Promise<void> {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    if (!(await host.session.ready(ids)) || mine.signal.aborted) return;
    asked = prompt.value();
    halt.hidden = false;
    for (const column of columns) column.blank();
    show(pinned);
    let before: Column | null = null;
    try {
      for (const column of columns) {
        if (mine.signal.aborted) break;
        await ask(column, before, mine.signal);
        before = column;
      }
      if (!mine.signal.aborted) host.say(`All ${columns.length} stages have answered.`);
    } catch (error) {
      host.session.fail(error);
    }
    if (abort === mine) halt.hidden = true;
    measure();
    show(pinned);
  }

  async function ask(column: Column, before: Column | null, signal: AbortSignal): Promise<void> {
    const { engine } = host.session;
    const { id, chat } = column.spec;
    const read = chat ? await engine.chat(id, [{ role: "user", content: asked }]) : await engine.encode(id, asked);
    column.read(read.texts);
    column.begin();
    const finished = await engine.generate(id, { ids: read.ids, maxTokens: state.len, sampling: state.sampling, alternatives: TOP }, (token: Drawn) => {
      column.add(token);
      if (column.drawn.length - 1 === pinned) column.show(pinned);
    }, signal);
    column.end(finished, compare(column, before));
    column.show(pinned);
    measure();
    host.say(`${column.spec.name}: ${column.drawn.map((token) => token.text).join("").trim()}`);
  }

  function pinAt(index: number): void {
    pinned = index;
    state.at = index;
    host.changed();
    show(index);
  }

  function show(index: number): void {
    slider.value = String(index);
    const most = Number(slider.max);
    slider.style.setProperty("--mm-share", String(most ? Math.min(1, index / most) : 0));
    told.textContent = `${index + 1} of each answer`;
    slider.setAttribute("aria-valuetext", `token ${index + 1}`);
    columns.forEach((column, i) => {
      column.show(index);
      const said = jumps[i]?.lastElementChild;
      if (said) said.textContent = column.drawn.map((token) => token.text).join("").trim().slice(0, 60);
    });
  }

  function measure(): void {
    slider.max = String(Math.max(1, pinned, ...columns.map((column) => column.drawn.length - 1)));
  }

  function jump(index: number): void {
    const column = columns[index]?.element;
    if (column) strip.scrollTo({ left: column.offsetLeft - strip.offsetLeft, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  function mark(): void {
    const width = columns[0]?.element.offsetWidth || 1;
    const at = strip.scrollLeft + strip.clientWidth >= strip.scrollWidth - 2 ? columns.length - 1 : Math.round(strip.scrollLeft / width);
    jumps.forEach((button, i) => button.setAttribute("aria-current", String(i === at)));
  }

  function begin(stages: (StageSpec & Partial<RecordedStage>)[]): void {
    const fresh = prompt.value().trim() === recorded.prompt;
    columns.forEach((column, i) => {
      const stage = stages[i];
      if (fresh && stage?.drawn) {
        column.recorded(stage as RecordedStage);
        column.end({ reason: stage.reason ?? "stop", tokensPerSecond: 0 }, compare(column, columns[i - 1] ?? null));
      } else column.blank();
    });
    if (fresh) size.textContent = "";
  }

  host.session.watch(() => {
    const text = host.session.sizeText(ids);
    size.textContent = text ? `Until then you see a recorded run. Running ${text}.` : "";
  }, host.life);
  begin(recorded.stages);
  measure();
  show(pinned);
  mark();
  return { element, stop: () => abort?.abort() };
}

/** One line on what this stage changed, for stages that read the same. */
function compare(column: Column, before: Column | null): string {
  if (!before?.spec.chat || !column.spec.chat || !before.drawn.length) return "";
  const { name } = before.spec;
  const at = parting(before.drawn, column.drawn);
  if (at === null) return `The same answer as ${name}.`;
  const own = column.drawn[at];
  const odds = before.drawn[at]?.top.find((one) => one.id === own?.id)?.probability;
  const where = at === 0 ? "at its first token" : `after ${at} ${at === 1 ? "token" : "tokens"}`;
  if (!own) return `Parts from ${name} ${where}.`;
  return `Parts from ${name} ${where}: “${shown(own.text)}”, to which ${name} gave ${odds === undefined ? "less than its bars show" : percent(odds)}.`;
}
