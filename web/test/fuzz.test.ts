/** Files that anyone may have written: whatever is in them, the answer is a model or an EngineError. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import { readAdapter, readBundle } from "../src/engine/format";
import { openFiles } from "../src/engine/open";
import { readFloats, readHeader } from "../src/engine/open_safetensors";
import { CONFIG, folder, random, safetensors, spoilBytes, spoilJson, tinyModel, weights } from "./hostile";

const BESIDE = new Blob(["{}"]);

/** A bundle of these parts; the header's JSON may be given as text. */
function bundle(header: unknown, data: Uint8Array): ArrayBuffer {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const start = Math.ceil((8 + text.length) / 64) * 64;
  const whole = new Uint8Array(start + data.length).fill(32, 0, start);
  whole.set([77, 77, 66, 49].map((_, i) => "MMB1".charCodeAt(i)));
  new DataView(whole.buffer).setUint32(4, start - 8, true);
  whole.set(text, 8);
  whole.set(data, start);
  return whole.buffer;
}

function parts(file: ArrayBuffer): { header: Record<string, unknown>; data: Uint8Array } {
  const start = 8 + new DataView(file).getUint32(4, true);
  return { header: JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, start - 8))) as Record<string, unknown>, data: new Uint8Array(file.slice(start)) };
}

/** How many of the cases were refused; anything that is thrown but an EngineError fails with its seed. */
async function refused(cases: number, open: (draw: () => number) => unknown): Promise<number> {
  let count = 0;
  for (let seed = 1; seed <= cases; seed++) {
    try {
      await open(random(seed));
    } catch (error) {
      if (!(error instanceof EngineError)) assert.fail(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
      assert.ok(error.message.length < 600, `seed ${seed}: a message of ${error.message.length} characters`);
      count++;
    }
  }
  assert.equal(({} as Record<string, unknown>).extra, undefined, "no prototype was changed");
  return count;
}

/** Every view of what was read lies inside the file, and holds numbers. */
function sound(file: ArrayBuffer): void {
  const { tensors, config } = readBundle(file);
  for (const [name, { shape, values, scales }] of tensors) {
    assert.equal(values.length, shape.reduce((a, b) => a * b, 1), name);
    assert.ok(values.byteOffset + values.byteLength <= file.byteLength, name);
    assert.ok((scales ?? []).every(Number.isFinite), name);
  }
  assert.ok(config.layers >= 1 && config.windows.length === config.layers && config.widths.length === config.layers);
}

test("a bundle of random bytes, or with some of its bytes spoilt", async () => {
  const bin = (await openFiles(folder(tinyModel()))).bin!;
  sound(bin);
  assert.ok((await refused(3000, (draw) => sound(spoilBytes(draw, bin)))) > 500);
  assert.equal(await refused(300, (draw) => sound(Uint8Array.from({ length: draw() * 400 }, () => draw() * 256).buffer)), 300);
  const cuts = Array.from({ length: 70 }, (_, i) => Math.floor((bin.byteLength * i) / 70));
  for (const cut of cuts) assert.throws(() => readBundle(bin.slice(0, cut)), EngineError);
});

test("a bundle with a header that says something else", async () => {
  const bin = (await openFiles(folder(tinyModel()))).bin!;
  const { header, data } = parts(bin);
  assert.ok((await refused(4000, (draw) => sound(bundle(spoilJson(draw, spoilJson(draw, header)), data)))) > 2000);
  const first = (header.tensors as Record<string, unknown>[])[0] as Record<string, unknown>;
  const change = (to: Record<string, unknown>): ArrayBuffer => bundle({ ...header, tensors: [{ ...first, ...to }] }, data);
  const hostile: [string, ArrayBuffer][] = [
    ["a huge shape", change({ shape: [2 ** 31, 2 ** 31] })],
    ["a product that overflows", change({ shape: [2 ** 26, 2 ** 27] })],
    ["an offset before the data", change({ offset: -64 })],
    ["an offset past the data", change({ offset: 2 ** 40 })],
    ["scales inside the weights", change({ scales: first.offset })],
    ["one tensor twice", bundle({ ...header, tensors: [first, first] }, data)],
    ["two tensors in one place", bundle({ ...header, tensors: [first, { ...first, name: "b" }] }, data)],
    ["a deep header", bundle(`{"a":${"[".repeat(200_000)}`, data)],
    ["another length", bundle({ ...header, bytes: 3 }, data)],
    ["a million tensors", bundle({ ...header, tensors: Array.from({ length: 300_000 }, () => 0) }, data)],
  ];
  for (const [what, file] of hostile) assert.throws(() => readBundle(file), EngineError, what);
  for (const bad of [NaN, Infinity, -Infinity]) {
    const spoilt = new Uint8Array(data);
    new DataView(spoilt.buffer).setFloat32(first.scales as number, bad, true);
    assert.throws(() => readBundle(bundle(header, spoilt)), EngineError, `a scale of ${bad}`);
  }
});

test("an adapter's file", async () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => i / 64);
  const header = {
    adapter: { base: "00", scale: 2, rank: 2 }, bytes: 512, sha256: "00",
    tensors: ["a", "b"].map((name, i) => ({ name, shape: [2, 8], dtype: "float32", offset: i * 64 })),
  };
  const data = new Uint8Array(512);
  data.set(new Uint8Array(values.buffer).subarray(0, 128));
  assert.equal(readAdapter(bundle(header, data)).tensors.size, 2);
  assert.ok((await refused(1500, (draw) => readAdapter(bundle(spoilJson(draw, header), data)))) > 500);
  assert.ok((await refused(1000, (draw) => readAdapter(spoilBytes(draw, bundle(header, data))))) > 100);
});

test("a safetensors file, byte by byte and field by field", async () => {
  const file = weights(tinyModel());
  const read = async (bytes: ArrayBuffer): Promise<void> => {
    for (const [name, stored] of await readHeader(new Blob([bytes]), "model.safetensors")) await readFloats(stored, name);
  };
  await read(file);
  assert.ok((await refused(700, (draw) => read(spoilBytes(draw, file)))) > 200);
  const length = Number(new DataView(file).getBigUint64(0, true));
  const header: unknown = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
  const data = new Uint8Array(file, 8 + length);
  assert.ok((await refused(1000, (draw) => read(safetensors(spoilJson(draw, header), data)))) > 500);
});

test("a folder whose config and weights tell different things", async () => {
  const model = tinyModel();
  const chosen = folder(model);
  const config = (draw: () => number): Blob => new Blob([JSON.stringify(spoilJson(draw, spoilJson(draw, CONFIG)))]);
  const spoilt = (draw: () => number) => openFiles([{ name: "config.json", blob: config(draw) }, ...chosen.slice(1)]).then(({ bin }) => sound(bin!));
  assert.ok((await refused(700, spoilt)) > 300);
  const other = (draw: () => number) =>
    openFiles([...chosen.slice(0, 1), { name: "model.safetensors", blob: new Blob([spoilBytes(draw, weights(model))]) }, { name: "tokenizer.json", blob: BESIDE }]).then(({ bin }) => sound(bin!));
  assert.ok((await refused(300, other)) > 100);
});
