/**
 * The worker: loads Pyodide and the packages beside it, then hands jobs to
 * `minimind_wiki.lite.worker` (run_lab, run_check), which does the work and answers with JSON.
 */

import { splitTraceback } from "./protocol";
import type { Job } from "./protocol";

interface PyProxy {
  run_lab(code: string, knobs: string): string;
  run_check(code: string, check: string): string;
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
    if (job.kind === "lab") {
      const answer = JSON.parse(python.run_lab(job.code, JSON.stringify(job.knobs))) as Record<string, unknown>;
      finish(answer, began, () =>
        post("result", { figure: answer.figure ?? null, table: answer.table ?? null, text: answer.text ?? "", ms: performance.now() - began }),
      );
    } else {
      const answer = JSON.parse(python.run_check(job.code, job.check)) as unknown;
      const results = Array.isArray(answer) ? answer : (answer as { results?: unknown }).results;
      finish(answer as Record<string, unknown>, began, () => post("checks", { results: results ?? [], ms: performance.now() - began }));
    }
  } catch (error) {
    if (error instanceof Missing) booting = undefined;
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof Missing || !text.includes("Traceback")) post("error", { message: text, traceback: "" });
    else post("error", splitTraceback(text));
  }
}

/** Python may answer with an error of the reader's code as data: {"error": {message, traceback}}. */
function finish(answer: Record<string, unknown>, _began: number, otherwise: () => void): void {
  const error = answer?.error as { message?: string; traceback?: string } | undefined;
  if (error) post("error", { message: error.message ?? "The code failed.", traceback: error.traceback ?? "" });
  else otherwise();
}

// One at a time, in order: a job that arrives while Python starts must wait for it.
let last: Promise<void> = Promise.resolve();
self.onmessage = (event: MessageEvent) => {
  last = last.then(() => handle(event.data as Job & { id: number }));
};
