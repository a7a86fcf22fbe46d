/** The page's end and the worker's end, joined without a worker. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { ModelEngine, Trace } from "../src/engine/api";
import { EngineClient } from "../src/engine/client";
import type { WorkerLike } from "../src/engine/client";
import { serve } from "../src/engine/wire";
import type { Ask } from "../src/engine/wire";
import { smallEngine } from "./site";

/** A client over an engine that lives behind structured clones, as behind a worker. */
function joined(engine: ModelEngine): { client: EngineClient; given: Transferable[][]; started: () => number } {
  const given: Transferable[][] = [];
  let started = 0;
  const client = new EngineClient(() => {
    started++;
    let receive: (ask: Ask) => void = () => undefined;
    const worker: WorkerLike = {
      postMessage: (message) => queueMicrotask(() => receive(structuredClone(message) as Ask)),
      terminate: () => (receive = () => undefined),
      onmessage: null,
      onerror: null,
    };
    serve(engine, {
      listen: (take) => (receive = take),
      send: (message, give) => {
        given.push(give);
        const data = structuredClone(message, { transfer: give as ArrayBuffer[] });
        queueMicrotask(() => worker.onmessage?.({ data } as MessageEvent));
      },
    });
    return worker;
  });
  return { client, given, started: () => started };
}

test("answers, news and errors come through, and arrays move instead of being copied", async () => {
  const engine = await smallEngine();
  const { client, given, started } = joined(engine);
  const traced: Trace = await client.trace("m0", [1, 2, 3], { attention: true, stream: true });
  assert.deepEqual(traced.attention![0], (await engine.trace("m0", [1, 2, 3], { attention: true })).attention![0]);
  assert.equal(given.flat().length, 2 + 2 + 3 + 2); // attention twice over, the stream, what was added
  const drawn: number[] = [];
  const done = await client.generate("m0", { ids: [1], maxTokens: 5, sampling: { bias: { 258: -100 } } }, ({ id }) => drawn.push(id));
  assert.equal(done.tokens, drawn.length);
  await assert.rejects(client.encode("m9", "a"), (error) => error instanceof EngineError && error.code === "input");
  assert.equal(started(), 1);
});

test("a signal ends what runs in the worker", async () => {
  const { client } = joined(await smallEngine());
  const stop = new AbortController();
  const request = { ids: [1], maxTokens: 590, sampling: { bias: { 258: -100 } } };
  const done = await client.generate("m0", request, () => stop.abort(), stop.signal);
  assert.equal(done.reason, "aborted");
  assert.ok(done.tokens < 590);
});

test("a signal that was given before the call counts, and a worker that ends fails what waits", async () => {
  const { client, started } = joined(await smallEngine());
  const before = await client.generate("m0", { ids: [1], maxTokens: 50, sampling: {} }, () => undefined, AbortSignal.abort());
  assert.deepEqual([before.reason, before.tokens], ["aborted", 0]);
  const waiting = client.encode("m0", "a");
  client.end();
  await assert.rejects(waiting, (error) => error instanceof EngineError && error.code === "stopped");
  await client.encode("m0", "a");
  assert.equal(started(), 2);
});

test("a failure of the engine itself is told, not lost", async () => {
  const broken = { shipped: () => Promise.reject(new TypeError("x is undefined")), load: () => Promise.reject(new RangeError("Array buffer allocation failed")) };
  const { client } = joined(broken as unknown as ModelEngine);
  await assert.rejects(client.shipped(), (error) => error instanceof EngineError && error.message.includes("x is undefined"));
  await assert.rejects(client.load({ kind: "shipped", id: "a" }), (error) => error instanceof EngineError && error.code === "memory");
});
