import assert from "node:assert/strict";
import { test } from "node:test";
import { achieved } from "../src/progress/certificate";
import { describe, pageKey } from "../src/progress/path";
import { empty, merge, parse, summarize } from "../src/progress/model";
import type { ModuleProgress, Progress } from "../src/progress/model";
import { noteResult, readResult } from "../src/progress/result";
import { KEY, Store } from "../src/progress/store";
import { madeShare, stepState } from "../src/progress/walk";

const AT = "2026-11-21T10:00:00.000Z";
const LATER = "2026-11-22T10:00:00.000Z";

function memory(start: Record<string, string> = {}) {
  const kept = new Map(Object.entries(start));
  return {
    kept,
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
}

test("what was exported is imported again, unchanged", () => {
  const a = new Store(memory());
  a.update("normalization", (entry) => {
    entry.read = AT;
    entry.quiz = { total: 2, answers: { one: { value: [1], ok: false, attempts: 1, first: false, at: AT } } };
    entry.predict = { p: { choice: 2, text: "about ten", right: true, at: AT } };
    entry.lab = { "normalization/stack": AT };
    entry.exercise = { "normalization/rms_norm": { draft: "x = 1", passed: AT, hints: 2, at: AT } };
  });
  const b = new Store(memory());
  b.import(a.export());
  assert.deepEqual(b.all(), a.all());
});

test("a file that is no progress file is refused with a sentence", () => {
  assert.throws(() => parse("hello"), /not JSON/);
  assert.throws(() => parse('{"version": 2, "modules": {}}'), /version 1/);
  assert.throws(() => parse("[]"), /version 1/);
});

test("entries of the wrong shape are left out, the rest is kept", () => {
  const text = JSON.stringify({
    version: 1,
    modules: {
      good: { read: AT, lab: { x: "never" }, predict: { p: { choice: "1", text: "", at: AT } } },
      bad: 3,
      __proto__x: { read: "not a date" },
    },
  });
  assert.deepEqual(parse(text).modules, { good: { read: AT, lab: {}, predict: {} }, __proto__x: {} });
  assert.deepEqual(Object.keys(parse('{"version":1,"modules":{"__proto__":{"read":"2026-01-01"}}}').modules), []);
});

test("of two answers to one question the later one stands", () => {
  const one = (ok: boolean, at: string): Progress => ({
    version: 1, modules: { m: { quiz: { total: 1, answers: { q: { value: [0], ok, attempts: 1, at } } } } },
  });
  assert.equal(merge(one(false, AT), one(true, LATER)).modules.m?.quiz?.answers.q?.ok, true);
  assert.equal(merge(one(true, LATER), one(false, AT)).modules.m?.quiz?.answers.q?.ok, true);
  assert.deepEqual(merge(empty(), one(true, AT)), one(true, AT));
});

test("where storage is denied, progress lives for the visit", () => {
  const denied = { getItem: () => null, setItem: () => { throw new Error("quota"); }, removeItem: () => undefined };
  const store = new Store(denied);
  store.update("m", (entry) => { entry.read = AT; });
  assert.equal(store.module("m").read, AT);
  assert.equal(store.durable, false);
  store.update("m", (entry) => { entry.lab = { x: AT }; });
  assert.equal(store.module("m").read, AT);
});

test("unreadable storage starts empty and is not overwritten by reading", () => {
  const storage = memory({ [KEY]: "{broken" });
  const store = new Store(storage);
  assert.deepEqual(store.all(), empty());
  assert.equal(storage.kept.get(KEY), "{broken");
});

test("a module is four parts, and says which are done", () => {
  const s = summarize({ read: AT, quiz: { total: 4, answers: { a: { value: [0], ok: true, attempts: 1, at: AT }, b: { value: [0], ok: false, attempts: 1, at: AT } } } });
  assert.equal(s.share, (1 + 0.25) / 4);
  assert.equal(describe(s), "read · quiz 1 of 4 · 1 to review");
  assert.equal(describe(summarize(undefined)), "not started");
});

test("a certificate lists what was done, each with its day, and knows what is open", () => {
  const asked = {
    path: "quick", says: "can",
    labs: [{ name: "attention/spread", title: "Spread" }, { name: "attention/by_hand", title: "By hand" }],
    exercises: [{ name: "quick/talking", title: "Talk" }],
  };
  const progress = empty();
  assert.deepEqual(achieved(asked, progress).map((item) => item.date), [null, null, null]);
  progress.modules.attention = { lab: { "attention/by_hand": "2026-11-01T10:00:00Z" } };
  progress.modules.quick = { exercise: { "quick/talking": { at: "2026-11-02T10:00:00Z", draft: "x" } } };
  assert.deepEqual(achieved(asked, progress).map((item) => item.date), [null, "2026-11-01T10:00:00Z", null]);
  const task = progress.modules.quick.exercise?.["quick/talking"];
  if (task) task.passed = "2026-11-03T10:00:00Z";
  assert.deepEqual(achieved(asked, progress)[2], { title: "Talk", date: "2026-11-03T10:00:00Z" });
});

const RESULT = {
  minimind_path: 1, path: "mastery", made: "2026-11-22T09:00:00Z", minimind_wiki: "0.1.0", model: {},
  parts: [
    { name: "text", passed: true, found: "237,952 parameters" },
    { name: "exam", passed: false, found: "" },
    { name: "elsewhere", passed: true, found: "" },
    { name: "small", passed: "yes", found: "" },
  ],
};
const MAKES = ["mastery/text", "mastery/exam", "mastery/small"];

test("a result of a check is read, and only what passed and was asked is noted", () => {
  const result = readResult(JSON.stringify(RESULT), "mastery");
  assert.equal(result.parts.length, 3);
  const entry: ModuleProgress = {};
  assert.equal(noteResult(entry, result, MAKES), 1);
  assert.deepEqual(entry.exercise, { "mastery/text": { passed: RESULT.made, at: RESULT.made, found: "237,952 parameters" } });
  const later = { ...result, parts: [{ name: "text", passed: false, found: "" }, { name: "exam", passed: true, found: "62 %" }] };
  assert.equal(noteResult(entry, later, MAKES), 1);
  assert.deepEqual(Object.keys(entry.exercise ?? {}), ["mastery/text", "mastery/exam"]);
  const progress: Progress = { version: 1, modules: { mastery: entry } };
  assert.deepEqual(parse(JSON.stringify(progress)), progress, "it survives export and import");
  const asked = { path: "mastery", says: "", labs: [], exercises: [], makes: MAKES.map((name) => ({ name, title: name })) };
  assert.deepEqual(achieved(asked, progress).map((item) => [item.date !== null, item.found ?? ""]),
    [[true, "237,952 parameters"], [true, "62 %"], [false, ""]]);
  assert.equal(madeShare("mastery", progress, 4), 0.5);
});

test("a file that is no result is refused with a sentence that says what to choose", () => {
  for (const [text, says] of [
    ["nonsense", /not JSON.*minimind path mastery/], ["{}", /no result/], ["[]", /no result/],
    [JSON.stringify({ version: 1, modules: {} }), /no result/],
    [JSON.stringify({ ...RESULT, path: "quick" }), /another path/],
    [JSON.stringify({ ...RESULT, made: "soon" }), /no result/],
    [" ".repeat(2_000_001), /too large/],
  ] as const) assert.throws(() => readResult(text, "mastery"), says);
});

test("what a result says is cut to a sentence's length", () => {
  const long = { ...RESULT, parts: [{ name: "text", passed: true, found: "x".repeat(5000) }] };
  assert.equal(readResult(JSON.stringify(long), "mastery").parts[0]?.found.length, 300);
});

test("a step of a path is done as its module, its page or its check says", () => {
  const progress = empty();
  assert.deepEqual(stepState("attention", "mastery", progress, 0), { share: 0, says: "" });
  progress.modules["guides/serving"] = { read: AT };
  progress.modules.attention = { read: AT };
  assert.equal(stepState("guides/serving", "mastery", progress, 0).share, 1);
  assert.equal(stepState("guides/inference", "mastery", progress, 0).share, 0);
  assert.deepEqual(stepState("attention", "mastery", progress, 0), { share: 0.25, says: "read" });
  assert.deepEqual(stepState("paths/mastery", "mastery", progress, 1), { share: 1, says: "shown" });
});

test("a page without a module is known by its place", () => {
  assert.equal(pageKey("/en/guides/serving/"), "guides/serving");
  assert.equal(pageKey("/sub/en/data/world/"), "data/world");
  assert.equal(pageKey("/en/playground/"), "playground");
  assert.equal(pageKey("/en/playground/index.html"), "playground");
  assert.equal(pageKey("/en/paths/mastery/"), null);
  assert.equal(pageKey("/en/"), null);
});
