import assert from "node:assert/strict";
import { test } from "node:test";
import { extent, freePlace, panels, spread } from "../src/figure/labels";
import { fade, legendRows, paint } from "../src/figure/theme";
import type { Json, Palette } from "../src/figure/theme";

const palette: Palette = {
  role: (name) => ({ none: "#bd430b", rmsnorm: "#0b7a58" })[name] ?? "#555555",
  ink: "#000000", muted: "#666666", grid: "#dddddd", edge: "#bbbbbb", card: "#ffffff", font: "Inter",
};
const line = (name: string, role: string, y: number[], yaxis = "y"): Json => ({
  type: "scatter", mode: "lines", name, x: y.map((_, i) => i), y, yaxis, line: { dash: "dot", width: 2 }, meta: { role, kind: "line" },
});

test("a trace gets its role's colour and keeps its dash", () => {
  const spec = { data: [line("no norm", "none", [1, 2])], layout: { yaxis: { type: "linear" }, xaxis: {} } };
  const painted = paint(spec, palette, { width: 600, height: 300 });
  assert.deepEqual(painted.data[0]?.line, { dash: "dot", width: 2, color: "#bd430b" });
  assert.deepEqual(spec.data[0]?.line, { dash: "dot", width: 2 }, "the spec itself is untouched");
  assert.equal(painted.layout.width, 600);
});

test("bands are translucent and without an outline", () => {
  const band: Json = { ...line("a", "rmsnorm", [1, 2]), fill: "toself", meta: { role: "rmsnorm", kind: "band" } };
  const out = paint({ data: [band], layout: { yaxis: {}, xaxis: {} } }, palette, { width: 600, height: 300 }).data[0];
  assert.equal(out?.fillcolor, "rgba(11, 122, 88, 0.16)");
});

test("opacity is set on any colour the CSS can give", () => {
  assert.equal(fade("#0b7a58", 0.5), "rgba(11, 122, 88, 0.5)");
  assert.equal(fade("rgb(1, 2, 3)", 0.5), "rgba(1, 2, 3, 0.5)");
  assert.equal(fade("tomato", 0.5), "tomato");
});

test("labels that would overlap are pushed apart, in order, inside the panel", () => {
  const places = spread([10, 12, 11, 90], 16, 100);
  const sorted = [...places].sort((a, b) => a - b);
  sorted.forEach((y, i) => i && assert.ok(y - (sorted[i - 1] as number) >= 15.999));
  assert.ok((places[0] as number) < (places[2] as number) && (places[2] as number) < (places[1] as number));
  assert.ok(Math.min(...places) >= 0 && Math.max(...places) <= 100);
  assert.deepEqual(spread([50], 16, 100), [50], "alone, a label stays where its line ends");
});

test("a log axis ignores what it cannot show", () => {
  const [low, high] = extent([0, Number.NaN, 1e-3, 1e3], true);
  assert.ok(low < -3 && low > -4 && high > 3 && high < 4);
  assert.deepEqual(extent([], false), [0, 1]);
});

test("several lines are named beside them, one is not, bars keep a legend", () => {
  const layout = { yaxis: { domain: [0.6, 1] }, yaxis2: { domain: [0, 0.4] } };
  const data = [line("a", "none", [1, 2]), line("b", "rmsnorm", [2, 3]), line("only", "none", [1, 2], "y2")];
  assert.deepEqual(panels(data, layout).map((p) => p.legend), ["direct", "none"]);
  const bars = ["a", "b"].map((name) => ({ type: "bar", name, x: ["x"], y: [1], meta: { role: "a", kind: "bar" } }));
  assert.equal(panels(bars, { yaxis: {} })[0]?.legend, "top");
  assert.equal(legendRows(bars, 600), 1);
  const painted = paint({ data, layout }, palette, { width: 600, height: 500 });
  const texts = (painted.layout.annotations as Json[]).map((a) => a.text);
  assert.deepEqual(texts, ["<b>a</b>", "<b>b</b>"]);
  assert.equal(painted.layout.showlegend, false);
});

test("a level's name stands where no line passes", () => {
  const rising = line("a", "none", [0, 1, 2, 3]);
  const panel = panels([rising], { yaxis: { type: "linear", range: [0, 3] }, xaxis: { type: "linear" } })[0];
  assert.ok(panel);
  const pixel = (v: number): number => (3 - v) * 100;
  // The line crosses the level in the middle: left and right are both free there.
  assert.notEqual(freePlace(panel, pixel(1.5), 0.2, 13, pixel).at, 0.5);
  // A level at the bottom is crossed on the left.
  assert.notEqual(freePlace(panel, pixel(0), 0.2, 13, pixel).at, 0);
});

test("an axis of names keeps Plotly's own range and the direction it was given", () => {
  const bars: Json = { type: "bar", orientation: "h", x: [1, 2], y: ["one", "two"], meta: { role: "none", kind: "bar" } };
  const layout = { yaxis: { type: "category", autorange: "reversed" }, xaxis: { type: "log", range: [-8, 1] } };
  const out = paint({ data: [bars], layout }, palette, { width: 360, height: 300 }).layout;
  const y = out.yaxis as Json;
  assert.equal(y.range, undefined);
  assert.equal(y.autorange, "reversed");
  assert.equal(y.automargin, true);
  assert.equal((out.xaxis as Json).dtick, 3, "nine decades on a phone: every third");
});
