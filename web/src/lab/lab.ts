/** A lab: recorded picture, knobs, and Python in the page from the first click on. */

import { claim, debounce, h, spec, statusLine } from "../dom";
import { Editor } from "../editor/editor";
import { LiveFigure, plotly } from "../figure/live";
import type { Spec } from "../figure/theme";
import { now, store } from "../progress/store";
import { dataTable, errorBox, printed } from "../report";
import { python } from "../runtime/client";
import type { Outcome } from "../runtime/protocol";
import { knobPanel } from "./knobs";
import { defaults, fromQuery, toQuery } from "./state";
import type { Knob } from "./state";

interface LabSpec {
  name: string; title?: string; question?: string; question_html?: string; knobs: Knob[]; code: string;
  recorded?: { plotly?: Spec | null; text?: string; knobs?: Record<string, unknown> };
}

export function upgradeLab(root: HTMLElement): () => void {
  const data = spec<LabSpec>(root, "mm-lab__spec");
  const plain = root.querySelector<HTMLElement>(".mm-lab__static");
  if (!data || !claim(root)) return () => undefined;
  const still = plain?.querySelector<HTMLElement>(".mm-lab__picture") ?? plain;
  const lab = data;
  const knobs = lab.knobs ?? [];
  const fresh = defaults(knobs);
  const linked = fromQuery(lab.name, knobs, location.search);
  let started = false;
  let figure: LiveFigure | undefined;
  let editor: Editor | undefined;
  let out = "";

  const status = statusLine("mm-lab__status");
  const run = h("button", { type: "button", class: "mm-button mm-lab__run", onclick: () => void compute() }, "Run");
  const stop = h("button", { type: "button", class: "mm-button mm-button--quiet", hidden: true, onclick: halt }, "Stop");
  const reset = h("button", { type: "button", class: "mm-button mm-button--quiet", onclick: toDefaults }, "Reset");
  const code = h("button", { type: "button", class: "mm-button mm-button--quiet", "aria-expanded": "false", onclick: toggleCode }, "Show the code");
  const picture = h("div", { class: "mm-lab__live", hidden: true });
  const text = h("div", { class: "mm-lab__text", "aria-live": "polite" }, lab.recorded?.text ?? "");
  const extra = h("div", { class: "mm-lab__extra" });
  const drawer = h("div", { class: "mm-lab__code", hidden: true });
  const later = debounce(() => void compute(), 120);
  const panel = knobPanel(knobs, linked ?? fresh, () => {
    remember();
    if (started) later();
    else hint();
  });

  const stage = h("div", { class: "mm-lab__stage" });
  const part = (name: string): HTMLElement | null => plain?.querySelector<HTMLElement>(name) ?? null;
  const kept = [part(".mm-lab__title"), part(".mm-lab__question")].filter((e) => e !== null);
  const below = [part(".mm-lab__caption"), part(".mm-figure__table")].filter((e) => e !== null);
  const summary = below.at(-1)?.querySelector("summary");
  if (summary) summary.textContent = "Data of the recorded picture as a table";
  if (still) stage.append(still);
  stage.append(picture);
  if (plain !== still) plain?.remove(); // what is left of it are the knobs and the code in plain form
  root.append(
    ...kept,
    h("div", { class: "mm-lab__body" }, h("div", { class: "mm-lab__view" }, stage, text), panel.element),
    h("div", { class: "mm-lab__actions" }, run, stop, reset, code, status),
    extra, drawer, ...below,
  );
  if (linked) status.textContent = "This link sets the controls. Run to compute them.";
  else status.textContent = "Run starts Python in this page: about 12 MB, once.";

  function hint(): void {
    status.textContent = "Run to compute this setting. Until then the picture is the recorded one.";
  }

  function remember(): void {
    const query = toQuery(lab.name, knobs, panel.values(), location.search);
    history.replaceState(history.state, "", `${location.pathname}${query}${location.hash}`);
  }

  async function compute(): Promise<void> {
    started = true;
    root.dataset.state = "busy";
    stop.hidden = false;
    out = "";
    if (!python().warm) void plotly().catch(() => undefined); // both downloads at once
    const outcome = await python().run(
      `lab:${lab.name}`,
      { kind: "lab", code: editor?.value() ?? lab.code, knobs: panel.values() },
      {
        status: (line) => {
          if (line !== "Running …" || !python().warm) status.textContent = line;
        },
        stdout: (line) => {
          out = (out + line).slice(-20_000);
        },
      },
    );
    if (!outcome) return; // a later setting took its place, or Stop
    stop.hidden = true;
    delete root.dataset.state;
    await present(outcome);
  }

  async function present(outcome: Outcome): Promise<void> {
    extra.replaceChildren();
    if (outcome.type === "error") {
      status.textContent = "";
      extra.append(errorBox(outcome.message, outcome.traceback));
      if (out) extra.append(printed(out));
      return;
    }
    if (outcome.type !== "result") return;
    store().update(lab.name.split("/")[0] ?? "site", (entry) => {
      entry.lab = { ...entry.lab, [lab.name]: now() };
    });
    if (outcome.figure) await draw(outcome.figure as Spec);
    text.textContent = outcome.text ?? "";
    root.dataset.live = "1";
    const table = dataTable(outcome.table);
    if (table) extra.append(table);
    if (out) extra.append(printed(out));
    const seconds = outcome.ms / 1000;
    status.textContent = `Computed in ${seconds < 10 ? seconds.toFixed(seconds < 1 ? 2 : 1) : Math.round(seconds)} s in this page.`;
    run.textContent = "Run again";
  }

  async function draw(made: Spec): Promise<void> {
    picture.hidden = false;
    // In the recorded picture's own box: nothing below may move.
    figure ??= new LiveFigure(picture, still ? Math.round(still.getBoundingClientRect().height) || null : null);
    if (still && !still.hidden) picture.classList.add("mm-lab__live--waiting");
    try {
      await figure.show(made);
      if (still) still.hidden = true;
      picture.classList.remove("mm-lab__live--waiting");
    } catch (error) {
      picture.hidden = true;
      extra.append(errorBox(error instanceof Error ? error.message : String(error), ""));
    }
  }

  function halt(): void {
    python().stop();
    stop.hidden = true;
    delete root.dataset.state;
    extra.replaceChildren(); // what an earlier run said
    status.textContent = "Stopped. Run starts Python again.";
    run.focus();
  }

  function toDefaults(): void {
    panel.set(fresh);
    editor?.set(lab.code);
    remember();
    if (started) later();
    else status.textContent = "Back to the recorded setting.";
  }

  function toggleCode(): void {
    const open = drawer.hidden;
    drawer.hidden = !open;
    code.setAttribute("aria-expanded", String(open));
    code.textContent = open ? "Hide the code" : "Show the code";
    if (open && !editor) {
      editor = new Editor({ label: `Code of the lab ${lab.title ?? lab.name}`, value: lab.code, run: () => void compute() });
      drawer.append(h("p", { class: "mm-code-title" }, `snippets/${lab.name}.py`), editor.element);
    }
  }

  return () => {
    figure?.purge();
    editor?.destroy();
  };
}
