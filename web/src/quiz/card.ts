/** One question: a real form with fieldset, legend and native inputs, so that keys and readers work. */

import { fill, h, statusLine, uid } from "../dom";
import { answered, judge, written } from "./model";
import type { Question } from "./model";
import type { QuizAnswer } from "../progress/model";
import { now } from "../progress/store";

export interface Card {
  element: HTMLElement;
  /** Start over with an empty card. */
  clear(): void;
  focus(): void;
}

export function questionCard(
  question: Question,
  number: number,
  saved: QuizAnswer | undefined,
  keep: (answer: QuizAnswer | null) => void,
): Card {
  const name = uid("mm-q");
  let past = saved;
  const inputs: HTMLInputElement[] = [];
  const whys: HTMLElement[] = [];
  const rows: HTMLElement[] = [];
  const status = statusLine("mm-q__status");
  const why = h("div", { class: "mm-q__why", hidden: true });
  const button = h("button", { type: "submit", class: "mm-button" }, "Check");
  const again = h("button", { type: "button", class: "mm-button mm-button--quiet", hidden: true }, "Try again");

  const value = (): number[] | string =>
    question.type === "number"
      ? (inputs[0]?.value ?? "")
      : inputs.flatMap((input, i) => (input.checked ? [i] : []));

  const legend = h(
    "legend",
    { class: "mm-q__ask" },
    h("span", { class: "mm-q__no" }, String(number)),
    fill(h("span"), question.ask_html, question.ask),
  );
  const set = h("fieldset", { class: "mm-q__set" }, legend);
  if (question.type === "multi") set.append(h("p", { class: "mm-q__note" }, "Choose all that apply."));
  if (question.type === "number") set.append(numberField());
  else set.append(...(question.options ?? []).map((_, i) => optionRow(i)));

  const form = h(
    "form",
    { class: "mm-q", id: `q-${question.id}`, noValidate: true, onsubmit: submit },
    set,
    why,
    h("div", { class: "mm-q__actions" }, button, again, status),
  );
  again.addEventListener("click", () => {
    clear();
    focus();
  });
  if (saved) restore(saved);

  function numberField(): HTMLElement {
    const id = uid("mm-n");
    const input = h("input", {
      id, type: "text", inputMode: "decimal", autocomplete: "off", class: "mm-q__number", oninput: draft,
    });
    inputs.push(input);
    const unit = question.unit ? h("span", { class: "mm-q__unit" }, question.unit) : null;
    return h("p", { class: "mm-q__field" }, h("label", { for: id }, "Your number"), " ", input, unit);
  }

  function optionRow(index: number): HTMLElement {
    const option = question.options?.[index] ?? {};
    const id = uid("mm-o");
    const input = h("input", {
      id, type: question.type === "multi" ? "checkbox" : "radio", name, value: String(index),
      "aria-describedby": `${id}-why`, onchange: draft,
    });
    const reason = fill(h("div", { id: `${id}-why`, class: "mm-q__reason", hidden: true }), option.why_html, option.why);
    const row = h(
      "div",
      { class: "mm-q__option" },
      input,
      fill(h("label", { for: id }), option.text_html, option.text),
      reason,
    );
    inputs.push(input);
    whys.push(reason);
    rows.push(row);
    return row;
  }

  function draft(): void {
    if (past?.ok === true || past?.ok === false) return;
    past = { value: value(), ok: null, attempts: past?.attempts ?? 0, at: now(), ...first() };
    keep(past);
    status.textContent = "";
  }

  function first(): { first?: boolean } {
    return past?.first === undefined ? {} : { first: past.first };
  }

  function submit(event: Event): void {
    event.preventDefault();
    const given = value();
    if (!answered(question, given)) {
      status.textContent =
        question.type === "number" ? "Type a number, for example 0.5 or 2e-4." : "Choose an answer first.";
      (inputs[0] as HTMLInputElement | undefined)?.focus();
      return;
    }
    const ok = judge(question, given);
    past = { value: given, ok, attempts: (past?.attempts ?? 0) + 1, at: now(), first: past?.first ?? ok };
    keep(past);
    reveal(ok, true);
  }

  /** Show what was right and every option's reason. */
  function reveal(ok: boolean, speak: boolean): void {
    form.dataset.state = ok ? "right" : "wrong";
    for (const input of inputs) input.disabled = true;
    const chosen = value();
    rows.forEach((row, i) => {
      const right = Boolean(question.options?.[i]?.right);
      const taken = Array.isArray(chosen) && chosen.includes(i);
      row.dataset.mark = right ? "right" : taken ? "wrong" : "other";
      const mark = right ? (taken ? "Right: " : "The right answer: ") : taken ? "Not so: " : "";
      const reason = whys[i] as HTMLElement;
      reason.querySelector(".mm-q__mark")?.remove();
      if (mark) reason.prepend(h("strong", { class: "mm-q__mark" }, mark));
      reason.hidden = reason.textContent === "";
    });
    const explained = question.why_html ?? question.why;
    if (explained) {
      fill(why, question.why_html, question.why);
      why.hidden = false;
    }
    button.hidden = true;
    again.hidden = ok;
    const answer = question.type === "number" && !ok ? ` The answer is ${written(question.answer ?? Number.NaN)}${question.unit ? ` ${question.unit}` : ""}.` : "";
    const text = ok ? "Right." : `Not right.${answer} It will come back in the review below.`;
    if (speak) {
      status.textContent = text;
      if (!ok) again.focus();
      else form.querySelector<HTMLElement>("legend")?.scrollIntoView({ block: "nearest" });
    } else status.textContent = ok ? "Right." : `Not right.${answer}`;
  }

  function restore(answer: QuizAnswer): void {
    if (typeof answer.value === "string") {
      if (inputs[0]) inputs[0].value = answer.value;
    } else {
      for (const i of answer.value) if (inputs[i]) inputs[i].checked = true;
    }
    if (answer.ok !== null) reveal(answer.ok, false);
  }

  function clear(): void {
    past = past ? { value: question.type === "number" ? "" : [], ok: null, attempts: past.attempts, at: now(), ...first() } : undefined;
    keep(past ?? null);
    delete form.dataset.state;
    for (const input of inputs) {
      input.disabled = false;
      input.checked = false;
      if (question.type === "number") input.value = "";
    }
    for (const row of rows) delete row.dataset.mark;
    for (const reason of whys) reason.hidden = true;
    why.hidden = true;
    button.hidden = false;
    again.hidden = true;
    status.textContent = "";
  }

  function focus(): void {
    inputs[0]?.focus();
  }

  return { element: form, clear, focus };
}
