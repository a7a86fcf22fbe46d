import assert from "node:assert/strict";
import { test } from "node:test";
import { clean, defaults, fromQuery, show, toQuery } from "../src/lab/state";
import type { Knob } from "../src/lab/state";

const KNOBS: Knob[] = [
  { name: "depth", type: "range", min: 2, max: 64, step: 1, default: 20 },
  { name: "lr", type: "range", min: 0, max: 1, step: 0.1, default: 0.5 },
  { name: "norm", type: "choice", default: "none", options: [{ value: "none", label: "None" }, { value: "rmsnorm", label: "RMSNorm" }] },
  { name: "bias", type: "toggle", default: true },
];
const [depth, lr, norm, bias] = KNOBS as [Knob, Knob, Knob, Knob];

test("the address keeps what differs from the default, and gives it back", () => {
  const values = { depth: 64, lr: 0.3, norm: "rmsnorm", bias: false };
  const query = toQuery("normalization/stack", KNOBS, values, "?q=search");
  assert.equal(query, "?q=search&stack.depth=64&stack.lr=0.3&stack.norm=rmsnorm&stack.bias=0");
  assert.deepEqual(fromQuery("normalization/stack", KNOBS, query), values);
  assert.equal(toQuery("normalization/stack", KNOBS, defaults(KNOBS), query), "?q=search");
  assert.equal(fromQuery("normalization/stack", KNOBS, "?other.depth=3"), null);
});

test("a value from outside is made valid or becomes the default", () => {
  assert.equal(clean(depth, "1000"), 64);
  assert.equal(clean(depth, "-3"), 2);
  assert.equal(clean(depth, "7.4"), 7);
  assert.equal(clean(depth, "<script>"), 20);
  assert.equal(clean(depth, ""), 20);
  assert.equal(clean(lr, "0.30000000000000004"), 0.3);
  assert.equal(clean(norm, "batchnorm"), "none");
  assert.equal(clean(bias, "maybe"), false);
});

test("values are shown as a reader writes them", () => {
  assert.equal(show(norm, "rmsnorm"), "RMSNorm");
  assert.equal(show(bias, true), "on");
  assert.equal(show({ ...lr, unit: "s" }, 0.3), "0.3 s");
  assert.equal(show(lr, 0.0001), "1 × 10^-4");
});
