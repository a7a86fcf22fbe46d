/** The whole quiz: cards, running score, and the list of questions to come back to. */

import { claim, dataNodes, h, spec, statusLine } from "../dom";
import { store } from "../progress/store";
import type { QuizAnswer } from "../progress/model";
import { questionCard } from "./card";
import type { Card } from "./card";
import type { Quiz } from "./model";

export function upgradeQuiz(root: HTMLElement): void {
  const quiz = spec<Quiz>(root);
  if (!quiz?.questions?.length || !claim(root)) return;
  const slug = root.dataset.quiz ?? quiz.id;
  const saved = store().module(slug).quiz?.answers ?? {};
  const cards = new Map<string, Card>();
  const score = statusLine("mm-quiz__score");
  const bar = h("div", { class: "mm-quiz__bar", "aria-hidden": "true" });
  const review = h("section", { class: "mm-quiz__review", "aria-label": "Questions to review", hidden: true });

  const keep = (id: string) => (answer: QuizAnswer | null) => {
    store().update(slug, (entry) => {
      const answers = { ...entry.quiz?.answers };
      if (answer) answers[id] = answer;
      else delete answers[id];
      entry.quiz = { total: quiz.questions.length, answers };
    });
    summary();
  };

  quiz.questions.forEach((question, i) => {
    cards.set(question.id, questionCard(question, i + 1, saved[question.id], keep(question.id)));
  });

  function summary(): void {
    const answers = store().module(slug).quiz?.answers ?? {};
    const states = quiz?.questions.map((q) => answers[q.id]?.ok ?? null) ?? [];
    const right = states.filter((s) => s === true).length;
    const done = states.filter((s) => s !== null).length;
    const total = states.length;
    bar.replaceChildren(
      ...states.map((s) => h("i", { "data-state": s === null ? "open" : s ? "right" : "wrong" })),
    );
    const first = quiz?.questions.filter((q) => answers[q.id]?.first).length ?? 0;
    score.textContent =
      done === 0
        ? `${total} questions. Your answers stay on this device.`
        : done < total
          ? `${right} right of ${done} answered, ${total - done} to go.`
          : `${right} of ${total} right, ${first} at the first try.`;
    const wrong = quiz?.questions.filter((q) => answers[q.id]?.ok === false) ?? [];
    review.hidden = wrong.length === 0;
    review.replaceChildren(
      h("p", { class: "mm-quiz__back" }, wrong.length === 1 ? "One question to come back to" : `${wrong.length} questions to come back to`),
      h("ul", {}, ...wrong.map((q) => h("li", {}, retry(q.id, quiz?.questions.indexOf(q) ?? 0)))),
      h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: () => askAgain(wrong.map((q) => q.id)) },
        wrong.length === 1 ? "Ask it again" : "Ask these again"),
    );
  }

  function retry(id: string, index: number): HTMLElement {
    return h(
      "a",
      { href: `#q-${id}`, onclick: (event: Event) => { event.preventDefault(); askAgain([id]); } },
      `Question ${index + 1}`,
    );
  }

  function askAgain(ids: string[]): void {
    for (const id of ids) cards.get(id)?.clear();
    const card = cards.get(ids[0] ?? "");
    card?.element.scrollIntoView({ block: "start" });
    card?.focus();
  }

  root.replaceChildren(
    ...dataNodes(root),
    h("header", { class: "mm-quiz__head" }, score, bar),
    ...[...cards.values()].map((card) => card.element),
    review,
  );
  summary();
}
