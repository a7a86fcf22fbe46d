import assert from "node:assert/strict";
import { test } from "node:test";
import { answered, judge, readNumber, readings, written } from "../src/quiz/model";
import type { Question } from "../src/quiz/model";

test("numbers are read as people write them", () => {
  const cases: [string, number][] = [
    ["0.5", 0.5], ["0,5", 0.5], [" 1 000 ", 1000], ["1,234,567", 1234567], ["1,234.5", 1234.5],
    ["1.2e-4", 1.2e-4], ["3 × 10^-4", 3e-4], ["3*10**-4", 3e-4], ["10^-4", 1e-4], ["−2", -2], ["50 %", 50], [".25", 0.25],
  ];
  for (const [text, value] of cases) assert.equal(readNumber(text), value, text);
  for (const text of ["", "abc", "1.2.3", "1e", "--2", "0x10"]) assert.ok(Number.isNaN(readNumber(text)), text);
});

test("a lone comma may stand for thousands, and is then not held against anybody", () => {
  assert.deepEqual(readings("786,432"), [786.432, 786432]);
  assert.deepEqual(readings("0,5"), [0.5]);
  const q: Question = { id: "q", type: "number", answer: 786432, tolerance: 0.001 };
  assert.ok(judge(q, "786,432") && judge(q, "786432") && judge(q, "786 432"));
  assert.ok(!judge(q, "786,433"));
  assert.ok(judge({ id: "q", type: "number", answer: 1.125, tolerance: 0.001 }, "1,125"));
  assert.deepEqual([786432, 25, 0.424234, 6.05264, 1e-9].map(written), ["786,432", "25", "0.4242", "6.053", "1e-9"]);
});

test("a number is right within its tolerance and wrong beyond it", () => {
  const q: Question = { id: "q", type: "number", answer: 2.5, tolerance: 0.1 };
  assert.ok(judge(q, "2,6"));
  assert.ok(judge(q, "2.4"));
  assert.ok(!judge(q, "2.61"));
  assert.ok(!judge(q, "two"));
  const relative: Question = { id: "q", type: "number", answer: 1e-9, relative_tolerance: 0.05 };
  assert.ok(judge(relative, "1.04e-9"));
  assert.ok(!judge(relative, "0"), "zero is not within 5 % of a tiny number");
  assert.ok(!judge({ id: "q", type: "number", answer: 100 }, "102"), "default: 1 %");
});

test("a choice is right only when all and only the right options are chosen", () => {
  const q: Question = { id: "q", type: "multi", options: [{ right: true }, { right: true }, {}] };
  assert.ok(judge(q, [0, 1]));
  assert.ok(judge(q, [1, 0]));
  assert.ok(!judge(q, [0]));
  assert.ok(!judge(q, [0, 1, 2]));
});

test("an empty answer is no answer", () => {
  assert.ok(!answered({ id: "q", type: "single", options: [{}] }, []));
  assert.ok(!answered({ id: "q", type: "number" }, "abc"));
  assert.ok(answered({ id: "q", type: "number" }, "0"));
});
