import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { GenerateRequest } from "../src/engine/api";
import { EngineClient } from "../src/engine/client";
import type { WorkerLike } from "../src/engine/client";

class FakeWorker implements WorkerLike {
  sent: { id: number; method: string; given?: unknown[] }[] = [];
  ended = false;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  postMessage(message: unknown): void {
    this.sent.push(message as { id: number; method: string });
  }
  terminate(): void {
    this.ended = true;
  }
  say(message: object): void {
    this.onmessage?.({ data: message } as MessageEvent);
  }
}

function client(patience?: number): { engine: EngineClient; workers: FakeWorker[] } {
  const workers: FakeWorker[] = [];
  const start = (): FakeWorker => (workers.push(new FakeWorker()), workers.at(-1) as FakeWorker);
  return { engine: new EngineClient(start, patience), workers };
}
const later = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
const ask: GenerateRequest = { ids: [1], maxTokens: 9, sampling: {} };
const failure = (code: EngineError["code"], said: RegExp) => (error: unknown) => error instanceof EngineError && error.code === code && said.test(error.message);

test("two labs share one worker, and each gets its own answers", async () => {
  const { engine, workers } = client();
  const seen: string[] = [];
  const one = engine.generate("m", ask, ({ text }) => seen.push(`one ${text}`));
  const two = engine.generate("m", ask, ({ text }) => seen.push(`two ${text}`));
  assert.equal(workers.length, 1);
  assert.deepEqual(workers[0]!.sent.map(({ id }) => id), [1, 2]);
  workers[0]!.say({ id: 2, news: { text: "b" } });
  workers[0]!.say({ id: 1, news: { text: "a" } });
  workers[0]!.say({ id: 2, value: "second" });
  workers[0]!.say({ id: 1, error: { message: "no", code: "input" } });
  assert.equal(await two, "second");
  await assert.rejects(one, failure("input", /no/));
  assert.deepEqual(seen, ["two b", "one a"]);
});

test("a stop is sent, before or during the work", async () => {
  const { engine, workers } = client(50);
  const stop = new AbortController();
  const during = engine.generate("m", ask, () => undefined, stop.signal);
  stop.abort();
  const before = engine.generate("m", ask, () => undefined, AbortSignal.abort());
  assert.deepEqual(workers[0]!.sent.map(({ id, method }) => [id, method]), [[1, "generate"], [1, "abort"], [2, "generate"], [2, "abort"]]);
  for (const id of [1, 2]) workers[0]!.say({ id, value: "aborted" });
  assert.deepEqual(await Promise.all([during, before]), ["aborted", "aborted"]);
  await later(60);
  assert.equal(workers[0]!.ended, false);
});

test("a worker that says nothing any more is ended, one that works is not", async () => {
  const silent = client(5);
  const stop = new AbortController();
  const lost = silent.engine.generate("m", ask, () => undefined, stop.signal);
  const other = silent.engine.encode("m", "a");
  stop.abort();
  await assert.rejects(lost, failure("stopped", /did not stop/));
  await assert.rejects(other, failure("stopped", /Reload/));
  assert.ok(silent.workers[0]!.ended);
  void silent.engine.shipped();
  assert.equal(silent.workers.length, 2, "the next call starts another");

  const busy = client(20);
  const wait = new AbortController();
  const queued = busy.engine.generate("m", ask, () => undefined, wait.signal);
  wait.abort();
  for (let i = 0; i < 6; i++) {
    busy.workers[0]!.say({ id: 99, news: { text: "of another lab" } });
    await later(10);
  }
  assert.equal(busy.workers[0]!.ended, false);
  busy.workers[0]!.say({ id: 1, value: "stopped in its turn" });
  assert.equal(await queued, "stopped in its turn");
});

test("a worker that breaks fails what was asked, in words", async () => {
  const { engine, workers } = client();
  const lost = engine.shipped();
  workers[0]!.onerror?.({ message: "" } as ErrorEvent);
  await assert.rejects(lost, failure("unsupported", /could not be started; reload/));
  const none = new EngineClient(() => { throw new Error("no workers here"); });
  await assert.rejects(none.shipped(), failure("unsupported", /no workers here/));
});
