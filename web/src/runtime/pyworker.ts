/**
 * The worker: loads Pyodide and the packages beside it, then hands jobs to
 * `minimind_wiki.lite.worker` (run_lab, run_check, begin_training …), which does the work and
 * answers with JSON.
 */

import { splitTraceback } from "./protocol";
import type { Control, Job } from "./protocol";
import { Slices } from "./slices";

interface PyBytes { toJs(): Uint8Array; destroy(): void }
interface PyProxy {
  begin_training(code: string, about: string, data: Uint8Array, knobs: string): string;
  advance(milliseconds: number): string;
  set_knobs(knobs: string): string;
  save(tokenizer: string, config: string): PyBytes;
  run_lab(code: string, knobs: string): string;
  run_check(code: string, check: string, data?: Map<string, Uint8Array>): string;
}
interface Pyodide {
  loadPackage(names: string[], options: Record<string, unknown>): Promise<unknown>;
  pyimport(name: string): PyProxy;
  setStdout(options: { batched(text: string): void }): void;
  setStderr(options: { batched(text: string): void }): void;
}

const base = new URL("./py/", import.meta.url).href;
let booting: Promise<PyProxy> | undefined;
let current = 0;

const post = (type: string, rest: Record<string, unknown>): void => {
  self.postMessage({ id: current, type, ...rest });
};
const status = (text: string): void => post("status", { text });

class Missing extends Error {}

async function lockedPackages(): Promise<string[]> {
  const answer = await fetch(`${base}pyodide-lock.json`).catch(() => null);
  if (!answer?.ok) {
    throw new Missing(
      "Python is not part of this copy of the site (assets/build/py is missing; “make web” builds it). " +
        "The recorded picture above is what it computes.",
    );
  }
  const lock = (await answer.json()) as { packages?: Record<string, unknown> };
  const names = Object.keys(lock.packages ?? {});
  if (!names.includes("numpy")) {
    throw new Missing(
      "This copy of the site was built without numpy, so the code cannot run here. " +
        "The recorded picture above is what it computes.",
    );
  }
  return names;
}

async function boot(): Promise<PyProxy> {
  status("Downloading Python (about 12 MB, once) …");
  const names = await lockedPackages();
  const module = (await import(/* @vite-ignore */ `${base}pyodide.mjs`)) as {
    loadPyodide(options: Record<string, unknown>): Promise<Pyodide>;
  };
  const pyodide = await module.loadPyodide({
    indexURL: base,
    packageBaseUrl: base,
    lockFileURL: `${base}pyodide-lock.json`,
  });
  status("Starting Python: loading numpy …");
  const quiet = { messageCallback: () => undefined, errorCallback: () => undefined };
  await pyodide.loadPackage(names, quiet);
  const out = { batched: (text: string) => post("stdout", { text: `${text}\n` }) };
  pyodide.setStdout(out);
  pyodide.setStderr(out);
  return pyodide.pyimport("minimind_wiki.lite.worker");
}

async function handle(job: Job & { id: number }): Promise<void> {
  current = job.id;
  const began = performance.now();
  try {
    booting ??= boot();
    const python = await booting;
    status("Running …");
    if (job.kind === "train") {
      await train(python, job);
    } else if (job.kind === "lab") {
      const answer = JSON.parse(python.run_lab(job.code, JSON.stringify(job.knobs))) as Record<string, unknown>;
      if (failed(answer)) return;
      post("result", { figure: answer.figure ?? null, table: answer.table ?? null, text: answer.text ?? "", ms: performance.now() - began });
    } else {
      const data = job.data.length ? await files(job.data) : undefined;
      const answer = JSON.parse(python.run_check(job.code, job.check, data)) as unknown;
      const results = Array.isArray(answer) ? answer : (answer as { results?: unknown }).results;
      if (failed(answer as Record<string, unknown>)) return;
      post("checks", { results: results ?? [], ms: performance.now() - began });
    }
  } catch (error) {
    if (error instanceof Missing) booting = undefined;
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof Missing || !text.includes("Traceback")) post("error", { message: text, traceback: "" });
    else post("error", splitTraceback(text));
  }
}

const SLICE = 100; // ms between two looks at what the page wants
let slices: Slices | null = null;

/** A file below assets/build/, which a copy of the site may lack. */
async function asset(name: string, what: string): Promise<Response> {
  const answer = await fetch(new URL(`./${name}`, import.meta.url)).catch(() => null);
  if (!answer?.ok) {
    throw new Missing(`${what} is not part of this copy of the site (assets/build/${name} is missing; “make web” builds it).`);
  }
  return answer;
}

const part = (name: string): Promise<Response> => asset(`train/${name}`, "The text to train on");

/** What a check reads, by name; the browser's cache holds it from then on. */
async function files(names: string[]): Promise<Map<string, Uint8Array>> {
  status("Reading the model …");
  const read = async (name: string): Promise<[string, Uint8Array]> =>
    [name, new Uint8Array(await (await asset(`data/${name}`, "What this exercise needs")).arrayBuffer())];
  return new Map(await Promise.all(names.map(read)));
}

/** Train in slices, so that between two of them the page can pause, change knobs and save. */
async function train(python: PyProxy, job: Extract<Job, { kind: "train" }>): Promise<void> {
  status("Reading the text …");
  const [about, data] = await Promise.all([part("text.json").then((a) => a.text()), part("text.bin").then((a) => a.arrayBuffer())]);
  const began = JSON.parse(python.begin_training(job.code, about, new Uint8Array(data), JSON.stringify(job.knobs))) as Record<string, unknown>;
  if (failed(began)) return;
  const { floor, bigram } = JSON.parse(about) as { floor: number; bigram: number };
  post("begun", { parameters: began.parameters, floor, bigram });
  const own = new Slices();
  slices = own;
  try {
    for (;;) {
      const control = await own.next();
      if (control?.control === "finish") break;
      if (control?.control === "knobs") python.set_knobs(JSON.stringify(control.knobs));
      if (control?.control === "save") await save(python);
      if (control) continue;
      const answer = JSON.parse(python.advance(SLICE)) as { events?: unknown[]; done?: boolean; error?: unknown };
      if (failed(answer)) return;
      post("progress", { events: answer.events ?? [] });
      if (answer.done) break;
    }
    post("trained", {});
  } finally {
    slices = null;
  }
}

async function save(python: PyProxy): Promise<void> {
  const files = await Promise.all(["tokenizer.json", "tokenizer_config.json"].map((name) => part(name).then((a) => a.text())));
  const made = python.save(files[0] ?? "", files[1] ?? "");
  post("saved", { data: made.toJs() });
  made.destroy();
}

/** Python may answer with an error of the reader's code as data: {"error": {message, traceback}}. */
function failed(answer: Record<string, unknown>): boolean {
  const error = answer?.error as { message?: string; traceback?: string } | undefined;
  if (error) post("error", { message: error.message ?? "The code failed.", traceback: error.traceback ?? "" });
  return error !== undefined;
}

// One at a time, in order: a job that arrives while Python starts must wait for it.
let last: Promise<void> = Promise.resolve();
self.onmessage = (event: MessageEvent) => {
  const message = event.data as (Job | Control) & { id: number };
  if ("control" in message) {
    if (message.id === current) slices?.say(message);
    return;
  }
  last = last.then(() => handle(message));
};
