import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FakeEngine } from "./fake";
import { SLIDER, cacheBytes, inWords, lengthAt, positionOf, total } from "../src/views/cache-model";
import { MEASURES, evenMeasures, headMeasures, headRows, neighbour, patternPaths, stairs, strongest } from "../src/views/heads";
import { largest } from "../src/engine/odds";
import { firing, peak } from "../src/engine/neurons";
import { figure } from "../src/views/neurons";
import { align, compare, moved } from "../src/views/odds";
import { BOUNDS, percent, step } from "../src/views/scale";
import { edits, fresh, fromQuery, offName, toQuery, toggled } from "../src/views/state";
import type { ViewSpec } from "../src/views/state";

declare const STYLES: string;
const LOOKS = join(STYLES, "..", "..", "snippets", "views");
const SPEC: ViewSpec = {
  show: "attention", name: "page/looks", title: "T", model: "world-tiny", prompt: "Ada puts", other: "",
  layer: 1, head: 2, length: 1024, bytes: 1,
};

test("the scale has six steps, the last from 69 % on", () => {
  assert.deepEqual([0, 0.02, 0.03, 0.12, 0.25, 0.5, 0.7, 1].map(step), [0, 0, 1, 2, 3, 4, 5, 5]);
  BOUNDS.forEach((low, k) => assert.equal(step(low), k));
  assert.equal(step(Number.NaN), 0);
  assert.deepEqual([0, 0.0004, 0.042, 0.0996, 0.42, 0.9995, 1].map(percent), ["0 %", "< 0.1 %", "4.2 %", "10 %", "42 %", "> 99.9 %", "100 %"]);
});

test("a head is measured by where it looks", () => {
  const rows = [[1], [0.5, 0.5], [0.25, 0.5, 0.25]];
  assert.deepEqual(headMeasures(rows, [7, 8, 7]), { "one back": 0.5, first: 0.25, itself: 0.375, same: 0.25, "after same": 0.5 });
  assert.deepEqual(headMeasures([[1]], [7]), { "one back": null, first: null, itself: null, same: null, "after same": null });
  assert.equal(headMeasures(rows, [7, 7, 7])["after same"], 0.5, "what follows a copy must lie before the token itself");
  assert.deepEqual(strongest(headMeasures(rows, [1, 2, 3])), ["one back", 0.5]);
  assert.equal(evenMeasures([1, 2, 3])["one back"], 1 / 3);
});

test("live and recorded measures are the same numbers", () => {
  const files = readdirSync(LOOKS).filter((name) => name !== "shapes.json");
  const look = files.map((name) => JSON.parse(readFileSync(join(LOOKS, name), "utf8"))).find((data) => data.ids);
  assert.ok(look, "a recorded look with a prompt");
  (look.attention as number[][][][]).forEach((layer, l) => layer.forEach((head, n) => {
    const live = headMeasures(head.map((row) => row.map((x) => x / 1000)), look.ids);
    MEASURES.forEach((name, k) => {
      const recorded = look.measures[l][n][k] as number | null;
      assert.ok(recorded === null ? live[name] === null : Math.abs((live[name] ?? -1) - recorded) < 0.002, `${l}.${n} ${name}`);
    });
  }));
});

test("a pattern becomes runs of one colour, and never looks ahead", () => {
  const paths = patternPaths([[1, 9], [0.5, 0.5], [0, 0.01, 0.99]]);
  assert.equal(paths[5], "M0 0h1v1H0zM2 2h1v1H2z");
  assert.equal(paths[4], "M0 1h2v1H0z");
  assert.equal(paths[0], "");
  assert.equal(stairs(2), "M0 0H1V1H2V2H0z");
});

test("arrows walk the heads and stop at the edge", () => {
  assert.deepEqual(neighbour(0, 0, "ArrowRight", 4, 6), [0, 1]);
  assert.deepEqual(neighbour(0, 0, "ArrowUp", 4, 6), [0, 0]);
  assert.deepEqual(neighbour(2, 5, "ArrowDown", 4, 6), [3, 5]);
  assert.deepEqual(neighbour(2, 3, "End", 4, 6), [2, 5]);
  assert.equal(neighbour(2, 3, "Enter", 4, 6), null);
});

test("heads are cut out of a trace's layers", async () => {
  const engine = new FakeEngine();
  const info = await engine.load({ kind: "shipped", id: "world-tiny" });
  const { ids } = await engine.encode("world-tiny", "Ada puts the key in the box");
  const { attention } = await engine.trace("world-tiny", ids, { attention: true });
  const layer = attention?.[1];
  assert.ok(layer);
  const rows = headRows(layer, info.heads - 1, ids.length);
  assert.equal(rows.length, ids.length);
  assert.equal(rows[2]?.[1], layer[((info.heads - 1) * ids.length + 2) * ids.length + 1]);
  assert.equal(rows[1]?.[2], 0);
});

test("the state of a view is a link, and a link is a state", () => {
  assert.equal(fromQuery(SPEC, "?other.ask=1"), null);
  const state = { ...fresh(SPEC), ask: "Ben & <b>", head: 3, by: "values" as const, form: "chat" as const, off: ["0.1", "2.a"] };
  const query = toQuery(SPEC, state, "?stack.depth=3&looks.layer=9");
  assert.ok(query.includes("stack.depth=3") && !query.includes("looks.layer"), query);
  assert.deepEqual(fromQuery(SPEC, query), state);
  assert.equal(toQuery(SPEC, fresh(SPEC), query), "?stack.depth=3");
});

test("a link with nonsense in it is taken at the defaults", () => {
  const state = fromQuery(SPEC, "?looks.layer=x&looks.head=-1&looks.off=1.a_2.z_%3Cscript%3E_3.4&looks.by=magic&looks.at=1.5&looks.length=0");
  assert.deepEqual(state, { ...fresh(SPEC), off: ["1.a", "3.4"] });
});

test("what is off becomes edits that the model has", () => {
  assert.deepEqual(edits(["0.1", "1.a", "1.m", "9.0", "0.9"], 4, 6), [
    { kind: "head", layer: 0, head: 1 }, { kind: "part", layer: 1, part: "attention" }, { kind: "part", layer: 1, part: "mlp" },
  ]);
  assert.deepEqual(toggled(toggled([], "0.1"), "0.1"), []);
  assert.equal(offName("2.a"), "attention of layer 2");
  assert.equal(offName("2.3"), "layer 2, head 3");
});

test("before and after are told for the same tokens", () => {
  const before = [0.6, 0.3, 0.1, 0];
  const after = [0.1, 0.1, 0.1, 0.7];
  assert.deepEqual(largest(before, 2), [0, 1]);
  assert.deepEqual(largest([0.2, 0.5, 0.5], 5), [1, 2, 0]);
  assert.deepEqual(compare(before, after, ["a", "b", "c", "d"], 1), [
    { id: 3, text: "d", before: 0, after: 0.7 }, { id: 0, text: "a", before: 0.6, after: 0.1 },
  ]);
  assert.ok(Math.abs(moved(before, after) - 0.7) < 1e-12);
  assert.equal(moved(before, before), 0);
});

test("two prompts correspond where they can", () => {
  assert.deepEqual(align([1, 2, 3], [1, 9, 3]), [0, 1, 2]);
  assert.deepEqual(align([1, 2, 3, 4], [1, 8, 9, 3, 4]), [0, null, 3, 4]);
  assert.deepEqual(align([1, 8, 9, 4], [1, 4]), [0, null, null, 1]);
  assert.deepEqual(align([1, 1], [1, 1, 1]), [0, 1], "no place of the other is taken twice");
});

test("the cache grows with the text up to a window, and int8 pays for its scales", async () => {
  const info = await new FakeEngine().load({ kind: "shipped", id: "world-tiny" });
  assert.equal(total(cacheBytes(info, 1, "float32")), info.cacheBytesPerToken);
  const long = cacheBytes(info, 100, "float32");
  assert.equal(long[2], (long[0] ?? 0) * 8 / 100, "the third layer has a window of 8");
  assert.equal(cacheBytes({ kvHeads: 2, headSize: 64, windows: [null, 8] }, 100, "float16").join(), "51200,4096");
  assert.equal(total(cacheBytes({ kvHeads: 1, headSize: 64, windows: [null] }, 10, "int8")), 10 * 2 * 68);
  assert.deepEqual([900, 51_200, 3_145_728].map(inWords), ["900 B", "51.2 kB", "3.1 MB"]);
});

test("the slider reaches round lengths", () => {
  assert.deepEqual([lengthAt(0), lengthAt(SLIDER)], [16, 32_768]);
  for (const length of [16, 1024, 32_768]) assert.ok(lengthAt(positionOf(length)) === length);
  for (let k = 1; k <= SLIDER; k++) assert.ok(lengthAt(k) > lengthAt(k - 1));
});

test("the neurons that fire most come first, whatever their sign, behind the one that is kept", () => {
  const values = Float32Array.from([0, 9, 0, 0, 1, -3, 2, 0]); // two tokens, four neurons
  assert.deepEqual(firing(values, 4, 1, 2), [1, 2]);
  assert.deepEqual(firing(values, 4, 1, 2, 3), [3, 1]);
  assert.deepEqual(firing(values, 4, 1, 2, 2), [2, 1], "once, also where it fires");
  assert.deepEqual(firing(values, 4, 1, 9, 4), [1, 2, 0, 3], "a fifth of four is none");
  assert.equal(peak([0.5, -4, 3]), 1);
  assert.deepEqual([-0.04, -2.25, 3].map(figure), ["0.0", "−2.3", "3.0"]);
});

test("recorded neurons are ranked at the last token", () => {
  const look = readdirSync(LOOKS).filter((name) => name !== "shapes.json")
    .map((name) => JSON.parse(readFileSync(join(LOOKS, name), "utf8"))).find((data) => data.ids);
  for (const { width, most, rows } of look.neurons as { width: number; most: number; rows: [number, number[], string[]][] }[]) {
    const last = rows.map(([, values]) => Math.abs(values.at(-1) ?? 0));
    assert.deepEqual(last, [...last].sort((a, b) => b - a));
    for (const [neuron, values, raises] of rows) {
      assert.ok(neuron < width && values.length === look.ids.length && raises.length === 3);
      assert.ok(Math.max(...values.map(Math.abs)) <= most + 0.006);
    }
  }
});
