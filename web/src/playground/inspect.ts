/**
 * Every token of an answer, its odds, and what else could have stood there. A choice of another
 * token makes the answer go on from it; the way chosen is a list of ids in the address.
 */

import { h } from "../dom";
import type { Candidate, Drawn } from "../engine/api";
import { percent } from "../views/scale";
import { shown } from "./odds";
import { Bars, legend, tokenSpan } from "./parts";
import { picker } from "./picker";
import { promptField } from "./prompt";
import { ALL, folded, samplingPanel } from "./sampling";
import type { Host, View } from "./stages";
import type { ViewState } from "./state";
import { strength, strengthEdits } from "./strength";
import { messages, readTalk } from "./talk";

const ALTERNATIVES = 12;

export function inspectView(host: Host, state: ViewState): View {
  if (state.say.length % 2) state.say = state.say.slice(0, -1); // a talk before the prompt has whole turns
  let drawn: Drawn[] = [];
  let branches: Drawn[][] = [];
  let abort: AbortController | null = null;
  const bars = new Bars(ALTERNATIVES, (id) => void choose(id));
  const text = h("div", { class: "mm-answer", role: "group", "aria-label": "The answer, token by token", "data-part": "answer" });
  const about = h("p", { class: "mm-about", "data-part": "about" });
  const fact = h("p", { class: "mm-hint", "data-part": "fact" });
  const earlier = h("div", { class: "mm-branches", hidden: true });
  const size = h("span", { class: "mm-hint" });
  const halt = h("button", { type: "button", class: "mm-button mm-button--quiet", hidden: true, "data-action": "stop", onclick: () => abort?.abort() }, "Stop");
  const prompt = promptField({
    label: "Prompt", start: state.ask,
    changed: (ask) => { state.ask = ask; state.path = []; host.changed(); },
    run: () => void fresh(),
  });
  const pick = picker(host.session, host.life, state.model, (model) => {
    if (model !== state.model) state.path = [];
    state.model = model;
    host.changed();
    host.session.refresh();
  });
  const adapter = strength(host.session, host.life, state, () => {
    state.path = [];
    host.changed();
    if (drawn.length) void run();
  });
  const before = h("div", { class: "mm-before", "data-part": "talk" });

  text.addEventListener("pointerover", (event) => point(event.target, false));
  text.addEventListener("focusin", (event) => point(event.target, true));
  text.addEventListener("click", (event) => point(event.target, true));
  text.addEventListener("pointerleave", () => select(state.at, false));
  text.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -drawn.length, End: drawn.length }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      select(Math.min(drawn.length - 1, Math.max(0, state.at + step)), true, true);
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      bars.root.querySelector<HTMLElement>("button")?.focus();
    }
  });
  bars.root.addEventListener("keydown", (event) => {
    const buttons = [...bars.root.querySelectorAll<HTMLElement>("button")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" || (event.key === "ArrowUp" && at === 0)) select(state.at, true, true);
    else if (step !== undefined) buttons[Math.min(buttons.length - 1, at + step)]?.focus();
    else return;
    event.preventDefault();
  });

  const element = h("div", { class: "mm-pane", "data-pane": "inspect" },
    h("div", { class: "mm-row" }, pick, adapter), before, prompt.element,
    h("div", { class: "mm-row" }, h("button", { type: "button", class: "mm-button", "data-action": "run", onclick: () => void fresh() }, "Answer"), halt, size),
    h("div", { class: "mm-inspect" },
      h("div", { class: "mm-inspect__answer" }, text, fact, legend("Under each token: how likely it was"), earlier),
      h("div", { class: "mm-inspect__odds" }, about, bars.root)),
    folded("Sampling", samplingPanel(state, ALL, () => host.changed())));

  /** Answer from the beginning, but for the way that a link brings. */
  async function fresh(): Promise<void> {
    const linked = drawn.length === 0;
    branches = [];
    if (!linked) state.at = 0;
    await run(!linked);
  }

  /** Answer, along the way that is chosen. */
  async function run(anew = false): Promise<void> {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    if (!(await host.session.ready([state.model])) || mine.signal.aborted) return;
    const { engine } = host.session;
    if (anew) state.path = [];
    host.changed();
    drawn = [];
    fact.textContent = "";
    halt.hidden = false;
    try {
      const chats = host.session.chats(state.model);
      const read = await readTalk(host.session, state.model, messages([...state.say, state.ask]), state.len);
      if (mine.signal.aborted) return;
      drawn = await given(read.ids);
      paint();
      const finished = await engine.generate(state.model, {
        ids: [...read.ids, ...state.path], maxTokens: Math.max(1, state.len - state.path.length), sampling: state.sampling, alternatives: ALTERNATIVES,
        edits: strengthEdits(host.session, state),
      }, (token) => {
        if (mine.signal.aborted) return;
        text.append(focusable(token, drawn.length));
        drawn.push(token);
      }, mine.signal);
      const what = state.say.length ? "The talk" : "The prompt";
      fact.textContent = `${drawn.length} tokens, ${Math.round(finished.tokensPerSecond)} tokens/s. ${what} was read as ${chats ? "a chat" : "plain text"}.${read.left ? " The context is full: its oldest messages are not read." : ""}`;
      host.say(`Answer: ${written(drawn)}`);
    } catch (error) {
      host.session.fail(error);
    }
    if (abort !== mine) return;
    halt.hidden = true;
    paint();
    select(Math.min(state.at, drawn.length - 1), false);
  }

  /** The tokens that the reader chose, with the odds that they had. */
  async function given(ids: number[]): Promise<Drawn[]> {
    if (!state.path.length) return [];
    const trace = await host.session.engine.trace(state.model, [...ids, ...state.path], { top: ALTERNATIVES, edits: strengthEdits(host.session, state) });
    return state.path.map((id, i) => {
      const before = trace.next[ids.length - 1 + i];
      const actual = before?.actual;
      return { id, text: trace.texts[ids.length + i] ?? "", probability: actual?.probability ?? 0, rank: actual?.rank ?? 0, top: before?.top ?? [] };
    });
  }

  /** Put another token at the place that is open, and let the answer go on from it. */
  async function choose(id: number): Promise<void> {
    const place = state.at;
    if (drawn[place]?.id === id) return select(place, true, true);
    branches = [drawn, ...branches].slice(0, 5);
    state.path = [...drawn.slice(0, place).map((token) => token.id), id];
    await run();
    select(place, true, true);
  }

  function point(target: EventTarget | null, pin: boolean): void {
    const span = (target as Element).closest<HTMLElement>(".mm-token");
    if (span) select(Number(span.dataset.index), pin);
  }

  function select(index: number, pin: boolean, focus = false): void {
    const token = drawn[index];
    if (pin && index >= 0 && index !== state.at) {
      state.at = index;
      host.changed();
    }
    [...text.children].forEach((child, i) => {
      child.classList.toggle("mm-token--at", i === index);
      (child as HTMLElement).tabIndex = i === index ? 0 : -1;
    });
    if (!token) {
      about.textContent = "Answer first; then point at a token, or walk along with the arrow keys.";
      bars.empty("", "");
      return;
    }
    if (focus) (text.children[index] as HTMLElement | undefined)?.focus();
    const place = token.rank === 0 ? "the likeliest" : `${token.rank + 1}${ordinal(token.rank + 1)} in rank`;
    about.textContent = `Token ${index + 1}, “${shown(token.text || (text.children[index]?.textContent ?? ""))}”: ${percent(token.probability)}, ${place}. Choose another one, and the answer goes on from there.`;
    bars.show("What could stand there", widened(token), token.id);
  }

  /** The alternatives, with the token itself where it is not among them. */
  function widened(token: Drawn): Candidate[] {
    if (token.top.some((one) => one.id === token.id)) return token.top;
    return [...token.top.slice(0, ALTERNATIVES - 1), { id: token.id, text: token.text, probability: token.probability, rank: token.rank }];
  }

  function focusable(token: Drawn, index: number): HTMLElement {
    const span = tokenSpan(token, index);
    span.tabIndex = -1;
    span.setAttribute("role", "button");
    span.setAttribute("aria-label", `${shown(token.text || (span.textContent ?? ""))}, ${percent(token.probability)}`);
    if (index < state.path.length) span.classList.add("mm-token--given");
    return span;
  }

  function paint(): void {
    text.replaceChildren(...drawn.map(focusable));
    earlier.hidden = branches.length === 0;
    earlier.replaceChildren(h("p", { class: "mm-hint" }, "Ways that you left:"), ...branches.map((branch) =>
      h("button", { type: "button", class: "mm-branch", onclick: () => void back(branch) }, written(branch))));
  }

  async function back(branch: Drawn[]): Promise<void> {
    branches = [drawn, ...branches.filter((other) => other !== branch)].slice(0, 5);
    drawn = branch;
    state.path = branch.map((token) => token.id);
    host.changed();
    paint();
    select(Math.min(state.at, drawn.length - 1), true, true);
  }

  /** The turns before this one, each a way to that turn; and a way to read the prompt alone. */
  function talk(): void {
    const { say } = state;
    before.hidden = say.length === 0;
    const link = (action: string, text: string, wish: Partial<ViewState>): HTMLElement =>
      h("button", { type: "button", class: "mm-link", "data-action": action, onclick: () => host.inspect({ model: state.model, ask: state.ask, scale: state.scale, ...wish }) }, text);
    const turns = Array.from({ length: say.length / 2 }, (_, i) => h("div", { class: "mm-before__turn" },
      h("p", {}, h("b", {}, "You: "), say[2 * i] ?? ""), h("p", {}, h("b", {}, "Model: "), say[2 * i + 1] ?? "", " "),
      link("turn", `Inspect turn ${i + 1}`, { say: say.slice(0, 2 * i), ask: say[2 * i] ?? "" })));
    before.replaceChildren(
      h("details", { open: say.length <= 4 }, h("summary", {}, `Turn ${say.length / 2 + 1} of a talk: what it read before the prompt`), ...turns),
      link("alone", "Read the prompt alone", { say: [] }));
  }

  function sizes(): void {
    const told = host.session.sizeText([state.model]);
    size.textContent = told ? `The first answer ${told}.` : "";
  }

  host.session.watch(sizes, host.life);
  talk();
  select(-1, false);
  return {
    element,
    shown: () => {
      // What is here already needs no click.
      if (!drawn.length && host.session.info(state.model)) void run();
    },
    stop: () => abort?.abort(),
  };
}

const written = (tokens: Drawn[]): string => tokens.map((token) => token.text).join("").trim();

function ordinal(n: number): string {
  const tens = n % 100;
  if (tens > 10 && tens < 14) return "th";
  return { 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th";
}
