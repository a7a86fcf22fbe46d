import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import { allowance, device, hasSimd, requireMemory, requireSimd, size } from "../src/engine/guard";
import { count, decodeText, parseJson, plain, shape } from "../src/engine/guard_json";

const GB = 2 ** 30;
const failure = (code: EngineError["code"], said: RegExp) => (error: unknown) =>
  error instanceof EngineError && error.code === code && said.test(error.message);

test("the probe is a sound module, and an old browser is told", () => {
  assert.equal(hasSimd(), true);
  assert.equal(hasSimd(() => false), false);
  assert.equal(hasSimd(() => { throw new Error("forbidden"); }), false);
  assert.equal(hasSimd(undefined), true);
  requireSimd(true);
  assert.throws(() => requireSimd(false), failure("unsupported", /no WebAssembly SIMD .* stays readable/));
});

test("what a model may take follows from what the browser tells", () => {
  assert.deepEqual(device({ navigator: { deviceMemory: 4 }, performance: { memory: { jsHeapSizeLimit: 3 * GB } } }), { memory: 4 * GB, heap: 3 * GB });
  assert.deepEqual(device({}), {});
  assert.equal(allowance({ memory: 4 * GB }), GB);
  assert.equal(allowance({ memory: 4 * GB, heap: GB / 2 }), GB / 2);
  assert.equal(allowance({}), GB);
  assert.equal(allowance({ memory: 32 * GB }), 2 * GB);
});

test("too large a model is refused with the numbers", () => {
  requireMemory(0.9 * GB, "This model", { memory: 4 * GB });
  assert.throws(() => requireMemory(1.9 * GB, "This model", { memory: 4 * GB }), failure("memory", /needs 1\.9 GB of memory; this device has 4\.0 GB, .* at most 1\.0 GB/));
  assert.throws(() => requireMemory(3 * GB, "This model", { memory: 8 * GB }), failure("memory", /at least 8\.0 GB/));
  assert.throws(() => requireMemory(1.9 * GB, "This model", {}), failure("memory", /does not tell/));
});

test("sizes read as people say them", () => {
  assert.deepEqual([0, 900, 2048, 2_300_000, 150 * 2 ** 20, 3 * GB].map(size), ["0 bytes", "900 bytes", "2.0 KB", "2.2 MB", "150 MB", "3.0 GB"]);
});

test("JSON of a stranger: depth, prototype, numbers, text", () => {
  assert.throws(() => parseJson("[".repeat(100_000), "config.json"), failure("damaged", /nests deeper/));
  assert.deepEqual(parseJson(`{"a": "${"[".repeat(90)} \\" ["}`, "x"), { a: `${"[".repeat(90)} " [` });
  assert.throws(() => parseJson('{"a": ', "config.json"), failure("damaged", /config\.json is not JSON/));
  const read = plain(parseJson('{"__proto__": {"polluted": 1}, "toString": 3}', "x"), "x");
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  assert.equal((read as { polluted?: number }).polluted, undefined);
  assert.deepEqual(Object.keys(read), ["__proto__", "toString"], "a token may have that name");
  assert.equal(read.constructor, undefined, "only its own fields answer");
  for (const wrong of [null, [], "a", 3]) assert.throws(() => plain(wrong, "x"), failure("damaged", /no object/));
  for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 53, "3", null]) assert.throws(() => count(wrong, "n"), failure("damaged", /^n is /));
  assert.equal(count(3, "n", 1, 3), 3);
  assert.throws(() => decodeText(new Uint8Array([0xff, 0xfe, 0x00]), "tokenizer.json"), failure("damaged", /not text/));
});

test("a shape's product is a size that a file can have", () => {
  assert.deepEqual(shape([2, 3], "w"), [2, 3]);
  assert.throws(() => shape([2 ** 31, 2 ** 31], "w"), failure("damaged", /the size of w/));
  assert.throws(() => shape([2 ** 40], "w"), failure("damaged", /a side of w/));
  assert.throws(() => shape([1, 1, 1, 1, 1, 1, 1, 1, 1], "w"), failure("damaged", /9 axes/));
  assert.throws(() => shape("2,3", "w"), failure("damaged", /no list/));
});
