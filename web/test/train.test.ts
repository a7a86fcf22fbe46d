import assert from "node:assert/strict";
import { test } from "node:test";
import { PythonRuntime } from "../src/runtime/client";
import type { WorkerLike } from "../src/runtime/client";
import { Slices } from "../src/runtime/slices";
import { scales, timeTicks } from "../src/train/chart";
import { emptyRun, pace, rows, smooth, take, turn } from "../src/train/run";

test("a growing sample replaces itself, a later one stands beside it", () => {
  const run = emptyRun();
  take(run, [{ step: 0, seconds: 1, held_out: 3 }, { step: 0, seconds: 2, sample: "It" }]);
  take(run, [{ step: 0, seconds: 3, sample: "It was" }, { step: 1, seconds: 4, loss: 7, bits: 2.9 }]);
  take(run, [{ step: 100, seconds: 9, sample: "Then" }]);
  assert.deepEqual(run.samples.map((s) => s.text), ["It was", "Then"]);
  assert.deepEqual(run.loss, [{ step: 1, seconds: 4, bits: 2.9 }]);
  assert.equal(run.step, 100);
});

test("the table says which learning rate held", () => {
  const run = emptyRun();
  turn(run, 0.01);
  take(run, [{ step: 50, seconds: 10, held_out: 1.5 }]);
  turn(run, 0.01);
  turn(run, 0.003);
  turn(run, 0.001); // before another step: only the last counts
  take(run, [{ step: 100, seconds: 20, held_out: 1.2 }]);
  assert.deepEqual(run.turns.map((t) => t.rate), [0.01, 0.001]);
  assert.deepEqual(rows(run).map((r) => r["learning rate"]), [0.001, 0.001]);
  assert.equal(rows(run)[1]?.["held-out bits per byte"], 1.2);
});

test("the pace is that of a plain step, whatever stands between others", () => {
  const run = emptyRun();
  assert.equal(pace(run), null);
  let seconds = 0;
  for (let step = 1; step <= 30; step++) {
    seconds += step % 10 === 0 ? 5 : 0.25;
    take(run, [{ step, seconds, loss: 1, bits: 1 }]);
  }
  assert.equal(pace(run)?.toFixed(2), "0.25");
});

test("smoothing keeps the mean and the last place", () => {
  const points = Array.from({ length: 10 }, (_, i) => ({ step: i, seconds: i * 0.5, bits: i }));
  const made = smooth(points, 1);
  assert.deepEqual(made.map((p) => p.bits), [0.5, 2.5, 4.5, 6.5, 8.5]);
  assert.equal(made.at(-1)?.seconds, 4.5);
  assert.deepEqual(smooth([], 1), []);
});

test("each halving of the loss is the same way down, and nothing leaves the picture", () => {
  const { x, y, right, bottom } = scales(600, 300, 120);
  assert.ok(Math.abs(y(1) - y(2) - (y(0.5) - y(1))) < 1e-9);
  assert.equal(y(0.01), bottom);
  assert.equal(x(120), right);
  assert.deepEqual(timeTicks(125, 8), [0, 30, 60, 90, 120]);
  assert.ok(timeTicks(5000, 8).length <= 10);
});

test("between two slices: pause holds, knobs come through, continue lets go", async () => {
  const slices = new Slices();
  assert.equal(await slices.next(), null);
  slices.say({ control: "pause" });
  let passed = false;
  const waiting = slices.next().then((control) => {
    passed = true;
    return control;
  });
  await new Promise((go) => setTimeout(go, 20));
  assert.ok(!passed, "paused");
  slices.say({ control: "knobs", knobs: { learning_rate: 0.1 } });
  assert.equal((await waiting)?.control, "knobs");
  assert.ok(slices.paused, "a knob does not end the pause");
  const again = slices.next();
  slices.say({ control: "continue" });
  assert.equal(await again, null);
});

class FakeWorker implements WorkerLike {
  sent: Record<string, unknown>[] = [];
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  postMessage(message: unknown): void {
    this.sent.push(message as Record<string, unknown>);
  }
  terminate(): void {}
}

test("a training streams, obeys by its key, and ends once", async () => {
  const worker = new FakeWorker();
  const python = new PythonRuntime(() => worker);
  const steps: number[] = [];
  const running = python.run("train:x", { kind: "train", code: "", knobs: {} }, {
    progress: (events) => steps.push(...events.map((e) => e.step)),
  });
  const say = (data: unknown): void => worker.onmessage?.({ data } as MessageEvent);
  say({ id: 1, type: "begun", parameters: 3, floor: 0.3, bigram: 1.4 });
  say({ id: 1, type: "progress", events: [{ step: 1, seconds: 1 }, { step: 2, seconds: 2 }] });
  assert.ok(python.busy, "progress does not end the job");
  assert.ok(python.tell("train:x", { control: "pause" }));
  assert.ok(!python.tell("lab:y", { control: "pause" }));
  assert.deepEqual(worker.sent.at(-1), { id: 1, control: "pause" });
  say({ id: 1, type: "trained" });
  assert.equal((await running)?.type, "trained");
  assert.deepEqual(steps, [1, 2]);
  assert.ok(!python.tell("train:x", { control: "continue" }), "it runs no more");
});
