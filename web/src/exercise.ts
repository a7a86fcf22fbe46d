/** An exercise: write it, check it against the oracle, climb the hints, open the solution if you must. */

import { claim, dataNodes, debounce, fill, h, spec, statusLine } from "./dom";
import { Editor } from "./editor/editor";
import { now, store } from "./progress/store";
import type { ExerciseState } from "./progress/model";
import { errorBox, printed } from "./report";
import { python } from "./runtime/client";
import type { Check, Outcome } from "./runtime/protocol";

interface ExerciseSpec {
  name: string; title?: string; minutes?: number; difficulty?: number | string; importance?: number | string;
  contract?: string; contract_html?: string; starter: string; check: string; solution: string;
  hints_html?: string[]; hints?: string[]; data?: string[];
}

/** "difficulty 2 of 5", or the word that the author wrote. */
function grade(what: string, value: number | string | undefined): string {
  if (value === undefined || value === "") return "";
  return /^\d+$/.test(String(value)) ? `${what} ${value} of 5` : `${what}: ${value}`;
}

export function upgradeExercise(root: HTMLElement): () => void {
  const data = spec<ExerciseSpec>(root, "mm-exercise__spec");
  if (!data || !claim(root)) return () => undefined;
  const task = data;
  const slug = task.name.split("/")[0] ?? "site";
  const saved = (): ExerciseState | undefined => store().module(slug).exercise?.[task.name];
  const keep = (change: Partial<ExerciseState>): void => {
    store().update(slug, (entry) => {
      entry.exercise = { ...entry.exercise, [task.name]: { ...entry.exercise?.[task.name], ...change, at: now() } };
    });
    badges();
  };
  let out = "";

  const editor = new Editor({
    label: `Your solution: ${task.title ?? task.name}`,
    value: saved()?.draft ?? task.starter,
    changed: debounce(() => keep({ draft: editor.value() }), 400),
    run: () => void check(),
  });
  const status = statusLine("mm-exercise__status");
  const results = h("div", { class: "mm-checks" });
  const go = h("button", { type: "button", class: "mm-button", onclick: () => void check() }, "Check");
  const stop = h("button", { type: "button", class: "mm-button mm-button--quiet", hidden: true, onclick: halt }, "Stop");
  const restart = h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: startOver }, "Start over");
  const facts = h("p", { class: "mm-exercise__facts" });
  const hints = hintLadder();
  const solution = solutionBox();

  const scripts = dataNodes(root);
  const contract = fill(h("div", { class: "mm-exercise__contract" }), task.contract_html, task.contract);
  root.replaceChildren(
    ...scripts,
    h("p", { class: "mm-box-label" }, "Exercise"),
    h("p", { class: "mm-exercise__title" }, task.title ?? task.name),
    facts, contract, editor.element,
    h("div", { class: "mm-lab__actions" }, go, stop, restart, status),
    results, hints, solution,
  );
  badges();

  function badges(): void {
    const state = saved();
    facts.replaceChildren(
      ...[
        task.minutes ? `about ${task.minutes} minutes` : "",
        grade("difficulty", task.difficulty),
        grade("importance", task.importance),
      ].filter(Boolean).map((t) => h("span", {}, t)),
      ...(state?.passed ? [h("span", { class: "mm-badge mm-badge--good" }, "passed")] : []),
      ...(state?.opened ? [h("span", { class: "mm-badge" }, "solution opened")] : []),
    );
  }

  async function check(): Promise<void> {
    root.dataset.state = "busy";
    stop.hidden = false;
    out = "";
    const outcome = await python().run(
      `exercise:${task.name}`,
      { kind: "exercise", code: editor.value(), check: task.check, data: task.data ?? [] },
      {
        status: (line) => {
          status.textContent = line === "Running …" ? "Checking …" : line;
        },
        stdout: (line) => {
          out = (out + line).slice(-20_000);
        },
      },
    );
    if (!outcome) return;
    stop.hidden = true;
    delete root.dataset.state;
    present(outcome);
  }

  function present(outcome: Outcome): void {
    results.replaceChildren();
    if (outcome.type === "error") {
      status.textContent = "";
      results.append(errorBox(outcome.message, outcome.traceback));
    } else if (outcome.type === "checks") {
      const passed = outcome.results.filter((r) => r.passed).length;
      const all = outcome.results.length > 0 && passed === outcome.results.length;
      status.textContent = all ? `All ${passed} checks pass.` : `${passed} of ${outcome.results.length} checks pass.`;
      results.append(h("ul", { class: "mm-checks__list" }, ...outcome.results.map(row)));
      if (all) keep({ passed: saved()?.passed ?? now(), draft: editor.value() });
    }
    if (out) results.append(printed(out));
  }

  function row(result: Check): HTMLElement {
    return h("li", { "data-mark": result.passed ? "right" : "wrong" },
      h("span", { class: "mm-checks__name" }, h("b", {}, result.passed ? "Passed" : "Failed"), " ", result.name),
      result.message ? h("span", { class: "mm-checks__message" }, result.message) : null);
  }

  function halt(): void {
    python().stop();
    stop.hidden = true;
    delete root.dataset.state;
    results.replaceChildren(); // what an earlier check said
    status.textContent = "Stopped. Check starts Python again.";
    go.focus();
  }

  function startOver(): void {
    if (editor.value() !== task.starter && !window.confirm("Replace what you wrote by the start?")) return;
    editor.set(task.starter);
    results.replaceChildren();
    status.textContent = "";
    keep({ draft: task.starter });
    editor.focus();
  }

  function hintLadder(): HTMLElement {
    const all = task.hints_html ?? task.hints ?? [];
    const list = h("ol", { class: "mm-hints__list" });
    const more = h("button", { type: "button", class: "mm-button mm-button--quiet" });
    let shown = 0;
    const reveal = (): void => {
      const item = fill(h("li", { tabIndex: -1 }), task.hints_html?.[shown], task.hints?.[shown]);
      list.append(item);
      shown += 1;
      update();
    };
    const update = (): void => {
      more.textContent = shown === 0 ? "Show a hint" : `Next hint (${shown + 1} of ${all.length})`;
      more.hidden = shown >= all.length;
    };
    more.addEventListener("click", () => {
      reveal();
      keep({ hints: Math.max(shown, saved()?.hints ?? 0) });
      (list.lastElementChild as HTMLElement | null)?.focus();
    });
    while (shown < Math.min(saved()?.hints ?? 0, all.length)) reveal();
    update();
    return h("div", { class: "mm-hints", hidden: all.length === 0 }, list, more);
  }

  function solutionBox(): HTMLElement {
    const box = h("div", { class: "mm-solution" });
    const open = h("button", { type: "button", class: "mm-button mm-button--quiet" }, "Show the solution");
    const show = (): void => {
      box.replaceChildren(
        h("p", { class: "mm-code-title" }, `snippets/${task.name}/solution.py`),
        h("pre", { class: "mm-solution__code", tabIndex: 0, "aria-label": "Solution" }, h("code", {}, task.solution.trimEnd())),
      );
    };
    open.addEventListener("click", () => {
      const yes = h("button", { type: "button", class: "mm-button" }, "Open it");
      const no = h("button", { type: "button", class: "mm-button mm-button--quiet" }, "Not yet");
      box.replaceChildren(h("p", {}, "Opening the solution is noted in your progress. You can still pass the checks. "), yes, no);
      yes.addEventListener("click", () => {
        keep({ opened: saved()?.opened ?? now() });
        show();
        box.querySelector("pre")?.focus();
      });
      no.addEventListener("click", () => {
        box.replaceChildren(open);
        open.focus();
      });
      yes.focus();
    });
    if (saved()?.opened) show();
    else box.append(open);
    return box;
  }

  return () => editor.destroy();
}
