/** A guess before reading: committed, kept, and shown again at the end of the page (`mm-recall`). */

import { claim, dataNodes, fill, h, pageModule, spec, statusLine, uid } from "./dom";
import { now, store } from "./progress/store";
import type { Guess } from "./progress/model";
import type { Option } from "./quiz/model";

interface Predict {
  id: string; ask?: string; ask_html?: string; options: Option[]; reveal?: string; reveal_html?: string;
}

export function upgradePredict(root: HTMLElement): void {
  const data = spec<Predict>(root);
  if (!data?.options?.length || !claim(root)) return;
  const id = root.dataset.predict ?? data.id;
  const slug = pageModule();
  const name = uid("mm-p");
  const status = statusLine("mm-q__status");
  const inputs: HTMLInputElement[] = [];
  const rows: HTMLElement[] = [];
  const answer = h("div", { class: "mm-predict__reveal", hidden: true, tabIndex: -1 });
  const commit = h("button", { type: "submit", class: "mm-button" }, "Commit my guess");
  const form = h(
    "form",
    { class: "mm-q", noValidate: true, onsubmit: submit },
    h(
      "fieldset",
      { class: "mm-q__set" },
      h("legend", { class: "mm-q__ask" }, fill(h("span"), data.ask_html, data.ask)),
      ...data.options.map(row),
    ),
    h("div", { class: "mm-q__actions" }, commit, status),
    answer,
  );

  function row(option: Option, index: number): HTMLElement {
    const input = h("input", { id: uid("mm-o"), type: "radio", name, value: String(index) });
    inputs.push(input);
    const label = fill(h("label", { for: input.id }), option.text_html, option.text);
    const element = h("div", { class: "mm-q__option" }, input, label);
    rows.push(element);
    return element;
  }

  function submit(event: Event): void {
    event.preventDefault();
    const choice = inputs.findIndex((input) => input.checked);
    if (choice < 0) {
      status.textContent = "Choose first: a guess costs nothing.";
      inputs[0]?.focus();
      return;
    }
    const option = data?.options[choice];
    const guess: Guess = {
      choice, at: now(), right: Boolean(option?.right),
      text: rows[choice]?.querySelector("label")?.textContent?.trim() ?? "",
    };
    store().update(slug, (entry) => {
      entry.predict = { ...entry.predict, [id]: guess };
    });
    show(guess);
    status.textContent = guess.right ? "Your guess is kept. It is so." : "Your guess is kept. It is not so.";
    answer.focus({ preventScroll: true });
  }

  function show(guess: Guess): void {
    const option = data?.options[guess.choice];
    for (const [i, input] of inputs.entries()) {
      input.disabled = true;
      input.checked = i === guess.choice;
      const right = Boolean(data?.options[i]?.right);
      if (right || i === guess.choice) (rows[i] as HTMLElement).dataset.mark = right ? "right" : "wrong";
    }
    form.dataset.state = guess.right ? "right" : "wrong";
    commit.hidden = true;
    const why = fill(h("div"), option?.why_html, option?.why);
    if (why.textContent) why.prepend(h("strong", { class: "mm-q__mark" }, guess.right ? "Right: " : "Not so: "));
    answer.replaceChildren(why, fill(h("div"), data?.reveal_html, data?.reveal));
    answer.hidden = false;
  }

  root.replaceChildren(
    ...dataNodes(root),
    h("p", { class: "mm-predict__label" }, "Guess first"),
    form,
  );
  const kept = store().module(slug).predict?.[id];
  if (kept && data.options[kept.choice]) show(kept);
}

/** "You guessed …": the stored guess, or a link back to the question. */
export function upgradeRecall(root: HTMLElement): () => void {
  if (!claim(root)) return () => undefined;
  const id = root.dataset.predict ?? "";
  const slug = pageModule();
  const original = [...root.childNodes];
  const line = h("p", { class: "mm-recall__guess" });
  const draw = (): void => {
    const guess = store().module(slug).predict?.[id];
    if (guess) {
      line.replaceChildren(
        "Before reading you guessed “",
        h("strong", {}, guess.text.replace(/\.$/, "")),
        guess.right ? "”, and it is so." : "”. It is not so.",
      );
      root.replaceChildren(line, ...original);
    } else {
      const at = document.querySelector<HTMLElement>(`.mm-predict[data-predict="${CSS.escape(id)}"]`);
      const back = at ? h("a", { href: "#", onclick: (event: Event) => {
        event.preventDefault();
        at.scrollIntoView({ block: "center" });
        at.querySelector<HTMLInputElement>("input")?.focus({ preventScroll: true });
      } }, "Make it now") : null;
      line.replaceChildren("You have not guessed yet. ", back ?? "");
      root.replaceChildren(line, ...original);
    }
  };
  draw();
  return store().subscribe(draw);
}
