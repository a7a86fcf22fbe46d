/** Adapters of the reader's own on one small model: what is opened again takes the place of the first. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "../src/engine/engine";
import { EngineError, type Edit } from "../src/engine/api";
import type { AdapterFile } from "../src/engine/format";
import { start } from "../src/engine/loader";
import { normals, chances, untrained } from "../src/engine/random";
import { byteTokenizer, shapeOf } from "./site";

const IDS = [3, 1, 4, 1, 5, 9, 2, 6];

/** A LoRA of this rank on two matrices of the small model, its numbers from a seed. */
function lora(seed: number, rank = 2): AdapterFile {
  const normal = normals(chances(seed));
  const values = (count: number): Float32Array => Float32Array.from({ length: count }, normal);
  const tensors: AdapterFile["tensors"] = new Map();
  for (const [name, inputs, outputs] of [["model.layers.0.mlp.up_proj", 16, 24], ["model.layers.1.self_attn.q_proj", 16, 16]] as const) {
    tensors.set(`${name}.lora_A`, { shape: [rank, inputs], values: values(rank * inputs) });
    tensors.set(`${name}.lora_B`, { shape: [outputs, rank], values: values(outputs * rank) });
  }
  return { base: "", scale: 0.5, rank, tensors };
}

/** An engine with two models whose reader's files are what `next` says. */
async function engineWith(): Promise<{ engine: Engine; open(name: string, file: AdapterFile | null, onto?: string): Promise<unknown>; odds(name: string): Promise<number[]>; size(model?: string): Promise<number> }> {
  let next: AdapterFile | null = null;
  const never = (): never => assert.fail("fetched something");
  const openFiles = (): Promise<never> => Promise.resolve({ bin: null, name: "", adapter: next && { name: "", base: "", file: next }, beside: new Map() } as never);
  const engine = new Engine({ folder: "/", fetchBundle: never, list: () => Promise.resolve([]), openFiles, pause: () => Promise.resolve() });
  const config = shapeOf();
  for (const name of ["m0", "m1"]) engine.loader.put(await start({ id: name, title: name }, config, untrained(config, 1), new Map([["tokenizer.json", byteTokenizer()]]), name));
  return {
    engine,
    open: (name, file, onto = "m0") => ((next = file), engine.load({ kind: "files", name, files: [], onto })),
    odds: async (name) => [...(await engine.distribution(name, IDS)).raw],
    size: async (model = "m0") => (await engine.loader.loaded(model))!.session.model.arena.size,
  };
}

const alone = async (file: AdapterFile): Promise<number[]> => {
  const { open, odds } = await engineWith();
  await open("a", file);
  return odds("own:a");
};

test("an adapter that is opened again gives the first one's memory back", async () => {
  const { engine, open, odds, size } = await engineWith();
  const empty = await size();
  await open("a", lora(1));
  const once = await size();
  assert.ok(once > empty);
  for (let seed = 2; seed < 6; seed++) {
    await open("a", lora(seed));
    assert.equal(await size(), once);
    assert.deepEqual(await odds("own:a"), await alone(lora(seed)));
  }
  await open("a", lora(7, 1));
  assert.ok((await size()) < once, "a smaller one takes less");
  await engine.unload("own:a");
  assert.equal(await size(), empty);
  await assert.rejects(odds("own:a"), /not loaded/);
});

test("the adapters behind one that goes move up, and say the same", async () => {
  const { open, odds, size } = await engineWith();
  const files = { a: lora(1, 3), b: lora(2, 1), c: lora(3, 2) };
  for (const [name, file] of Object.entries(files)) await open(name, file);
  const all = await size();
  await odds("own:c"); // the cache has grown behind them
  await open("a", lora(4, 5));
  for (const name of ["b", "c"] as const) assert.deepEqual(await odds(`own:${name}`), await alone(files[name]));
  assert.deepEqual(await odds("own:a"), await alone(lora(4, 5)));
  await open("a", files.a);
  for (const name of ["a", "b", "c"] as const) assert.deepEqual(await odds(`own:${name}`), await alone(files[name]));
  await open("b", files.b);
  await open("b", files.b);
  for (const name of ["a", "b", "c"] as const) assert.deepEqual(await odds(`own:${name}`), await alone(files[name]));
  await open("d", files.a);
  assert.deepEqual(await odds("own:c"), await alone(files.c));
  assert.ok((await size()) > all);
});

test("what does not fit leaves the first one as it was", async () => {
  const { open, odds, size } = await engineWith();
  await open("a", lora(1));
  const said = await odds("own:a");
  const once = await size();
  const other = lora(2);
  other.tensors.set("model.layers.9.mlp.up_proj.lora_A", other.tensors.values().next().value!);
  await assert.rejects(open("a", other), (error) => error instanceof EngineError && /does not fit this model/.test(error.message));
  assert.equal(await size(), once);
  assert.deepEqual(await odds("own:a"), said);
});

test("an adapter that moves to another model leaves the first one, unless another adapter stands on it", async () => {
  const { open, odds, size } = await engineWith();
  const empty = await size();
  await open("a", lora(1));
  await open("a", lora(1), "m1");
  assert.equal(await size("m0"), empty);
  assert.ok((await size("m1")) > empty);
  await open("b", lora(2), "own:a");
  const both = await odds("own:b");
  await open("a", lora(1), "m0");
  assert.deepEqual(await odds("own:b"), both, "b stands on a's numbers in the other model");
});

test("a vector that a patch took under the first adapter is not put in under the second", async () => {
  const patch: Edit = { kind: "patch", layer: 0, position: 2, fromIds: [9, 9, 9], fromPosition: 1 };
  const patched = async (...files: AdapterFile[]): Promise<number[]> => {
    const { engine, open } = await engineWith();
    let raw: Float32Array = new Float32Array();
    for (const file of files) {
      await open("a", file);
      ({ raw } = await engine.distribution("own:a", IDS, {}, [patch]));
    }
    return [...raw];
  };
  assert.deepEqual(await patched(lora(1), lora(2)), await patched(lora(2)));
});
