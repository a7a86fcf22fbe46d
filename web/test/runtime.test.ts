import assert from "node:assert/strict";
import { test } from "node:test";
import { PythonRuntime } from "../src/runtime/client";
import type { WorkerLike } from "../src/runtime/client";
import { splitTraceback } from "../src/runtime/protocol";
import type { Job } from "../src/runtime/protocol";

class FakeWorker implements WorkerLike {
  sent: (Job & { id: number })[] = [];
  ended = false;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  postMessage(message: unknown): void {
    this.sent.push(message as Job & { id: number });
  }
  terminate(): void {
    this.ended = true;
  }
  answer(id: number, text = ""): void {
    this.onmessage?.({ data: { id, type: "result", figure: null, table: null, text, ms: 1 } } as MessageEvent);
  }
}

const job = (depth: number): Job => ({ kind: "lab", code: "", knobs: { depth } });

test("no worker before the first job; one job at a time; of waiting ones the last", async () => {
  const workers: FakeWorker[] = [];
  const python = new PythonRuntime(() => {
    workers.push(new FakeWorker());
    return workers.at(-1) as FakeWorker;
  });
  assert.equal(workers.length, 0);
  const first = python.run("lab", job(1));
  const second = python.run("lab", job(2));
  const third = python.run("lab", job(3));
  const worker = workers[0] as FakeWorker;
  assert.equal(worker.sent.length, 1);
  assert.equal(await second, null, "a later setting took its place");
  worker.answer(1, "one");
  assert.equal((await first)?.type, "result");
  assert.deepEqual(worker.sent.map((m) => (m.kind === "lab" ? m.knobs.depth : 0)), [1, 3]);
  worker.answer(3, "three");
  const last = await third;
  assert.equal(last?.type === "result" && last.text, "three");
  assert.equal(workers.length, 1);
  assert.ok(python.warm);
});

test("stop ends everything, and the next job starts a new worker", async () => {
  const workers: FakeWorker[] = [];
  const python = new PythonRuntime(() => {
    workers.push(new FakeWorker());
    return workers.at(-1) as FakeWorker;
  });
  const running = python.run("lab", job(1));
  const waiting = python.run("exercise", { kind: "exercise", code: "", check: "", data: [] });
  python.stop();
  assert.equal(await running, null);
  assert.equal(await waiting, null);
  assert.ok(workers[0]?.ended);
  void python.run("lab", job(2));
  assert.equal(workers.length, 2);
});

test("a worker that cannot start is an error the page can show", async () => {
  const python = new PythonRuntime(() => {
    throw new Error("blocked");
  });
  const outcome = await python.run("lab", job(1));
  assert.equal(outcome?.type === "error" && outcome.message, "blocked");
});

test("status and printed text reach only the job that runs", async () => {
  const worker = new FakeWorker();
  const python = new PythonRuntime(() => worker);
  const said: string[] = [];
  void python.run("lab", job(1), { status: (t) => said.push(t), stdout: (t) => said.push(t) });
  worker.onmessage?.({ data: { id: 1, type: "status", text: "Starting" } } as MessageEvent);
  worker.onmessage?.({ data: { id: 9, type: "status", text: "stale" } } as MessageEvent);
  worker.onmessage?.({ data: { id: 1, type: "stdout", text: "hello\n" } } as MessageEvent);
  assert.deepEqual(said, ["Starting", "hello\n"]);
});

test("a traceback starts at the reader's own code", () => {
  const text = 'Traceback (most recent call last):\n  File "/lib/x.py", line 3, in run\n  File "<exec>", line 1, in <module>\nZeroDivisionError: division by zero\n';
  const { message, traceback } = splitTraceback(text);
  assert.equal(message, "ZeroDivisionError: division by zero");
  assert.ok(!traceback.includes("/lib/x.py"));
});
