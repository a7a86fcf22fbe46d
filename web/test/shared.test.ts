/** One load that several wait for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { Progress } from "../src/engine/api";
import { Shared } from "../src/engine/shared";

interface Work { tell(loaded: number): void; finish(value: string): void; stopped(): boolean }

/** A load that the test drives. */
function load(): { shared: Shared<string>; work: Work } {
  let work: Work | undefined;
  const shared = new Shared<string>((tell, signal) => new Promise((finish, fail) => {
    work = { tell: (loaded) => tell({ loaded, total: 9, from: "network" }), finish, stopped: () => signal.aborted };
    signal.addEventListener("abort", () => fail(new EngineError("ended", "stopped")));
  }));
  return { shared, work: work! };
}

const stopped = (error: unknown): boolean => error instanceof EngineError && error.code === "stopped";

test("all who wait hear of it and get the same", async () => {
  const { shared, work } = load();
  const heard: string[] = [];
  const hear = (who: string) => ({ loaded }: Progress) => heard.push(`${who}${loaded}`);
  const first = shared.join(hear("a"));
  work.tell(1);
  const second = shared.join(hear("b"));
  work.tell(2);
  work.finish("model");
  assert.deepEqual(await Promise.all([first, second, shared.join()]), ["model", "model", "model"]);
  assert.deepEqual(heard, ["a1", "a2", "b2"]);
});

test("who leaves leaves alone, and the last one ends the work", async () => {
  const { shared, work } = load();
  const [one, two] = [new AbortController(), new AbortController()];
  const heard: number[] = [];
  const first = shared.join(({ loaded }) => heard.push(loaded), one.signal);
  const second = shared.join(undefined, two.signal);
  one.abort();
  await assert.rejects(first, stopped);
  work.tell(3);
  assert.deepEqual([heard, work.stopped(), shared.stopped], [[], false, false]);
  two.abort();
  await assert.rejects(second, stopped);
  assert.deepEqual([work.stopped(), shared.stopped], [true, true]);
});

test("a signal after the end changes nothing, one before the beginning ends the wait", async () => {
  const { shared, work } = load();
  const late = new AbortController();
  const kept = shared.join(undefined, late.signal);
  await assert.rejects(shared.join(undefined, AbortSignal.abort()), stopped);
  work.finish("model");
  assert.equal(await kept, "model");
  late.abort();
  assert.deepEqual([work.stopped(), await shared.join()], [false, "model"]);
});
