/** A talk with one model: several turns, as a stream, with all knobs of sampling in reach. */

import { h } from "../dom";
import type { Drawn, Finished, Message } from "../engine/api";
import { tokenSpan } from "./parts";
import { picker } from "./picker";
import { promptField } from "./prompt";
import { ALL, folded, samplingPanel } from "./sampling";
import type { Host, View } from "./stages";
import type { ViewState } from "./state";
import { strength, strengthEdits } from "./strength";
import { readTalk } from "./talk";

const DRAFT = { model: "world-nano", tokens: 4 };

export function chatView(host: Host, state: ViewState): View {
  const messages: Message[] = [];
  let abort: AbortController | null = null;
  let tries = 0; // of one message: another try throws other dice
  const log = h("div", { class: "mm-chat", role: "log", "aria-label": "The talk", "aria-live": "off", "data-part": "log", tabIndex: 0 });
  const about = h("p", { class: "mm-about" });
  const size = h("span", { class: "mm-hint" });
  const button = (action: string, text: string, run: () => void, quiet = true): HTMLButtonElement =>
    h("button", { type: "button", class: `mm-button${quiet ? " mm-button--quiet" : ""}`, "data-action": action, onclick: run }, text);
  const send = button("run", "Send", () => void say(), false);
  const halt = button("stop", "Stop", () => abort?.abort());
  const again = button("again", "Answer again", () => void retry());
  const reset = button("reset", "Begin anew", forget);
  const replay = button("replay", "", () => void play());
  halt.hidden = again.hidden = reset.hidden = true;
  const waiting = [...state.say]; // what a link says, until it is asked
  replay.hidden = waiting.length === 0;
  replay.textContent = waiting.length === 1 ? "Ask what the link asks" : `Ask the ${waiting.length} messages of the link`;
  const box = promptField({ label: "Your message", start: waiting[0] ?? "", changed: () => undefined, run: () => void say() });
  const drafts = h("input", { type: "checkbox", class: "mm-switch", role: "switch", id: "mm-draft", "data-knob": "draft", checked: state.draft, onchange: () => {
    state.draft = drafts.checked;
    host.changed();
    sizes();
  } });
  const pick = picker(host.session, host.life, state.model, (model) => {
    state.model = model;
    host.changed();
    host.session.refresh();
  });
  const adapter = strength(host.session, host.life, state, () => host.changed());
  const element = h("div", { class: "mm-pane", "data-pane": "chat" },
    h("div", { class: "mm-row" }, pick, h("div", { class: "mm-knob mm-knob--toggle" }, drafts, h("label", { for: drafts.id }, "A smaller model guesses ahead"))),
    adapter,
    about, log, box.element,
    h("div", { class: "mm-row" }, send, halt, again, reset, replay, size),
    folded("Sampling", samplingPanel(state, ALL, () => host.changed())));

  async function say(): Promise<void> {
    const text = box.value().trim();
    if (!text || !(await loaded())) return;
    waiting.length = 0;
    replay.hidden = true;
    if (messages.length === 0) state.say = [];
    state.say = [...state.say, text];
    host.changed();
    box.set("");
    add("user", text);
    tries = 0;
    await answer();
    box.focus();
  }

  async function play(): Promise<void> {
    const texts = waiting.splice(0);
    replay.hidden = true;
    if (!(await loaded())) return;
    box.set("");
    for (const text of texts) {
      add("user", text);
      if (!(await answer())) return;
    }
  }

  async function retry(): Promise<void> {
    if (messages.at(-1)?.role !== "assistant") return;
    messages.pop();
    log.lastElementChild?.remove();
    tries += 1;
    await answer();
    if (state.sampling.temperature === 0) about.textContent = "At temperature 0 a second try is the first one again. Raise it under Sampling.";
  }

  function forget(): void {
    abort?.abort();
    messages.length = 0;
    state.say = [];
    log.replaceChildren();
    again.hidden = reset.hidden = true;
    host.changed();
    sizes();
    box.focus();
  }

  const loaded = (): Promise<boolean> => host.session.ready(state.draft ? [state.model, DRAFT.model] : [state.model]);

  /** Let the model answer what stands there; false where it was stopped or failed. */
  async function answer(): Promise<boolean> {
    abort?.abort();
    const mine = new AbortController();
    abort = mine;
    const said = h("div", { class: "mm-chat__text" });
    const fact = h("p", { class: "mm-hint" });
    log.append(h("div", { class: "mm-chat__turn mm-chat__turn--assistant", "data-role": "assistant" }, h("p", { class: "mm-chat__who" }, name()), said, fact));
    halt.hidden = false;
    again.hidden = true;
    const drawn: Drawn[] = [];
    let finished: Finished | null = null;
    try {
      const { ids, left } = await readTalk(host.session, state.model, messages, state.len);
      finished = await host.session.engine.generate(state.model, {
        ids, maxTokens: state.len, sampling: { ...state.sampling, seed: state.sampling.seed + tries }, alternatives: 1,
        edits: strengthEdits(host.session, state),
        ...(state.draft ? { draft: DRAFT } : {}),
      }, (token) => {
        const near = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
        if (token.text) said.append(tokenSpan(token, drawn.length));
        drawn.push(token);
        if (near) log.scrollTop = log.scrollHeight;
      }, mine.signal);
      fact.append(told(finished, left), " ", inspectLink(drawn, finished));
    } catch (error) {
      host.session.fail(error);
    }
    const text = drawn.map((token) => token.text).join("");
    messages.push({ role: "assistant", content: text });
    if (abort === mine) halt.hidden = true;
    again.hidden = reset.hidden = false;
    host.say(`${name()}: ${text.trim()}`);
    return finished !== null && finished.reason !== "aborted";
  }

  /** A way to the tokens of this turn: the same talk, the same dice, the same answer. */
  function inspectLink(drawn: Drawn[], { reason }: Finished): HTMLElement {
    const texts = messages.map((message) => message.content);
    const wish = {
      model: state.model, scale: state.scale, say: texts.slice(0, -1).slice(-40), ask: texts.at(-1) ?? "", len: state.len,
      sampling: { ...state.sampling, bias: {}, seed: state.sampling.seed + tries },
      // with a model that guesses ahead the dice fall otherwise: then the answer itself is given
      path: state.draft ? drawn.slice(0, reason === "stop" ? -1 : undefined).map((token) => token.id) : [],
    };
    return h("button", { type: "button", class: "mm-link", "data-action": "inspect", onclick: () => host.inspect(wish) },
      "Inspect", h("span", { class: "mm-sr" }, ` answer ${Math.ceil(texts.length / 2)}, token by token`));
  }

  function add(role: "user", text: string): void {
    messages.push({ role, content: text });
    log.append(h("div", { class: "mm-chat__turn mm-chat__turn--user", "data-role": role }, h("p", { class: "mm-chat__who" }, "You"), h("div", { class: "mm-chat__text" }, text)));
    log.scrollTop = log.scrollHeight;
  }

  function told(finished: Finished, left: number): string {
    const parts = [`${finished.tokens} tokens, ${Math.round(finished.tokensPerSecond)} tokens/s.`];
    if (finished.drafted) parts.push(`Of ${finished.drafted} guesses ${finished.accepted ?? 0} were accepted (dotted).${host.session.chats(state.model) ? " The smaller model never saw a chat; with a pretrained one more of them pass." : ""}`);
    if (finished.reason === "length") parts.push("Cut off at the most tokens that the settings allow.");
    if (finished.reason === "aborted") parts.push("You stopped it.");
    if (left) parts.push("The context is full: the oldest messages are no longer read.");
    return parts.join(" ");
  }

  const name = (): string => host.session.choices.find((choice) => choice.id === state.model)?.title ?? state.model;

  function sizes(): void {
    const text = host.session.sizeText(state.draft ? [state.model, DRAFT.model] : [state.model]);
    size.textContent = text ? `The first answer ${text}.` : "";
    about.textContent = host.session.chats(state.model)
      ? "It reads the whole talk through its chat template, each time anew."
      : "This model was not trained to answer: it goes on with the text that you both write.";
    const able = host.session.shipped.some((shipped) => shipped.id === DRAFT.model) && state.model !== DRAFT.model;
    drafts.disabled = !able;
  }

  host.session.watch(sizes, host.life);
  return { element, stop: () => abort?.abort() };
}
