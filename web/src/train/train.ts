/**
 * A training in the page: start, pause, change the learning rate, go on, save the model. The work is
 * done by the Python worker in slices; here is what a reader sees of it.
 */

import { claim, h, saveFile, spec, statusLine } from "../dom";
import { Editor } from "../editor/editor";
import { knobPanel } from "../lab/knobs";
import { defaults } from "../lab/state";
import type { Knob } from "../lab/state";
import { dataTable, errorBox, printed } from "../report";
import { python } from "../runtime/client";
import { draw } from "./chart";
import type { Levels } from "./chart";
import { emptyRun, pace, rows, take, turn } from "./run";
import type { Point, Run } from "./run";

interface TrainSpec { name: string; code: string; knobs: Knob[]; levels: Levels; recorded: Point[] }
type State = "idle" | "starting" | "running" | "paused" | "ended";

export function upgrade(root: HTMLElement): () => void {
  const data = spec<TrainSpec>(root, "mm-train__spec");
  const still = root.querySelector<HTMLElement>(".mm-train__static");
  if (!data || !claim(root)) return () => undefined;
  const { code: program, knobs } = data;
  const key = `train:${data.name}`;
  let state: State = "idle";
  let run: Run = emptyRun();
  let levels: Levels = data.levels;
  let editor: Editor | undefined;
  let out = "";
  let frame = 0;

  const status = statusLine("mm-train__status");
  const counter = h("p", { class: "mm-train__counter" });
  const quiet = "mm-button mm-button--quiet";
  const main = h("button", { type: "button", class: "mm-button mm-train__main", onclick: press }, "Train");
  const stop = h("button", { type: "button", class: quiet, hidden: true, onclick: end }, "Stop");
  const save = h("button", { type: "button", class: quiet, disabled: true, onclick: ask }, "Save the model");
  const code = h("button", { type: "button", class: quiet, "aria-expanded": "false", onclick: toggleCode }, "Show the program");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const chart = h("figure", { class: "mm-train__chart", role: "img" });
  // It scrolls: the keyboard must be able to get there.
  const said = h("div", { class: "mm-train__text", tabIndex: 0, role: "region", "aria-label": "What the model writes" });
  const live = h("div", { class: "mm-train__live", hidden: true }, chart, h("div", { class: "mm-train__samples" }, h("p", { class: "mm-train__label" }, "What it writes"), said));
  const table = h("details", { class: "mm-figure__table", hidden: true }, h("summary", {}, "The curve as a table"));
  const extra = h("div", {});
  const drawer = h("div", { class: "mm-train__code", hidden: true });
  const panel = knobPanel(knobs, defaults(knobs), changed);
  chart.append(svg);
  const record = root.querySelector<HTMLElement>(".mm-train__record");
  root.append(live, counter, panel.element, h("div", { class: "mm-lab__actions" }, main, stop, save, code, status), extra, table, drawer, record ?? "");
  record?.querySelector(".mm-lab__code")?.remove(); // the same program opens for editing
  status.textContent = "Train starts Python in this page: about 12 MB, once.";
  const observer = new ResizeObserver(() => paint());
  observer.observe(chart);

  function show(next: State): void {
    state = next;
    root.dataset.state = next;
    main.textContent = { idle: "Train", starting: "Starting …", running: "Pause", paused: "Continue", ended: "Train anew" }[next];
    main.disabled = next === "starting";
    stop.hidden = next !== "running" && next !== "paused" && next !== "starting";
    save.disabled = next !== "running" && next !== "paused";
  }

  function press(): void {
    if (state === "running" && python().tell(key, { control: "pause" })) {
      show("paused");
      status.textContent = `Paused at step ${run.step}.`;
    } else if (state === "paused" && python().tell(key, { control: "continue" })) {
      show("running");
      status.textContent = "Training goes on.";
    } else void start();
  }

  async function start(): Promise<void> {
    show("starting");
    run = emptyRun();
    out = "";
    extra.replaceChildren();
    said.replaceChildren();
    const outcome = await python().run(key, { kind: "train", code: editor?.value() ?? program, knobs: panel.values() }, {
      status: (line) => {
        status.textContent = line;
      },
      stdout: (line) => {
        out = (out + line).slice(-20_000);
      },
      begun: (about) => {
        levels = about;
        for (const recorded of [still, record]) if (recorded) recorded.hidden = true;
        live.hidden = false;
        table.hidden = false;
        status.textContent = `${about.parameters.toLocaleString("en")} parameters. Training.`;
        show("running");
        changed(); // what was set while Python started
      },
      progress: (events) => {
        take(run, events);
        if (!frame) frame = requestAnimationFrame(paint);
      },
      saved: download,
    });
    if (!outcome) return; // stopped: `end` has said so
    if (outcome.type === "error") {
      status.textContent = "";
      extra.append(errorBox(outcome.message, outcome.traceback));
    } else status.textContent = "The program has ended.";
    if (out) extra.append(printed(out));
    show("ended");
  }

  function changed(): void {
    const values = panel.values();
    if (state !== "running" && state !== "paused") return;
    turn(run, Number(values.learning_rate));
    python().tell(key, { control: "knobs", knobs: values });
    if (run.turns.length > 1) status.textContent = `Learning rate ${values.learning_rate} from step ${run.step + 1} on.`;
    paint();
  }

  function end(): void {
    python().stop();
    show("ended");
    status.textContent = `Stopped after ${run.step} steps. The weights are gone: Train anew starts from chance.`;
    main.focus();
  }

  function ask(): void {
    status.textContent = "Saving …";
    python().tell(key, { control: "save" });
  }

  function download(zip: Uint8Array): void {
    saveFile(new Blob([zip as BlobPart], { type: "application/zip" }), "my-model.zip");
    status.textContent = `Saved my-model.zip as of step ${run.step}, ${(zip.length / 1e6).toFixed(1)} MB.`;
  }

  function paint(): void {
    frame = 0;
    if (live.hidden) return;
    const width = chart.clientWidth;
    if (width > 0) draw(svg, run, data?.recorded ?? [], levels, { width, height: width < 330 ? 260 : 300 });
    const held = run.held.at(-1);
    const each = pace(run);
    counter.textContent = [
      `Step ${run.step}`, `${Math.floor(run.seconds)} s`, each ? `${each.toFixed(2)} s a step` : "",
      held ? `held out ${held.bits.toFixed(2)} bits per byte, floor ${levels.floor.toFixed(2)}` : "",
    ].filter(Boolean).join(" · ");
    chart.setAttribute("aria-label", held
      ? `Held-out loss over time: ${held.bits.toFixed(2)} bits per byte at step ${held.step}; the floor is ${levels.floor.toFixed(2)}, pairs of tokens reach ${levels.bigram.toFixed(2)}.`
      : "Held-out loss over time: nothing measured yet.");
    samples();
    table.replaceChildren(table.querySelector("summary") ?? "", dataTable(rows(run)) ?? "");
  }

  /** The newest sample on top; what a reader reads in an older one stays where it is. */
  function samples(): void {
    run.samples.forEach((sample, i) => {
      const at = said.children.length - 1 - i;
      const node = at >= 0 ? said.children[at] : null;
      const text = sample.text.trim();
      if (node) {
        const body = node.querySelector("blockquote");
        if (body && body.textContent !== text) body.textContent = text;
      } else {
        said.prepend(h("div", { class: "mm-train__sample" },
          h("p", { class: "mm-train__when" }, `step ${sample.step}, ${Math.round(sample.seconds)} s`), h("blockquote", {}, text)));
      }
    });
  }

  function toggleCode(): void {
    const open = drawer.hidden;
    drawer.hidden = !open;
    code.setAttribute("aria-expanded", String(open));
    code.textContent = open ? "Hide the program" : "Show the program";
    if (open && !editor) {
      editor = new Editor({ label: "The training program", value: program, run: () => void start() });
      drawer.append(h("p", { class: "mm-code-title" }, `snippets/${data?.name}.py`), editor.element,
        h("p", { class: "mm-train__hint" }, "What you change counts from the next Train on."));
    }
  }

  show("idle");
  return () => {
    observer.disconnect();
    cancelAnimationFrame(frame);
    editor?.destroy();
    if (state === "running" || state === "paused" || state === "starting") python().stop();
  };
}
