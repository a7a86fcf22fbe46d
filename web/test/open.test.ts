import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { Progress } from "../src/engine/api";
import { readBundle } from "../src/engine/format";
import { oneFolder, openFiles } from "../src/engine/open";
import type { Chosen } from "../src/engine/open";
import { quantizeRows } from "../src/engine/open_quantize";
import { readFloats, readHeader, widen } from "../src/engine/open_safetensors";
import { CONFIG, folder, safetensors, tinyModel } from "./hostile";

const failure = (code: EngineError["code"], said: RegExp) => (error: unknown) =>
  error instanceof EngineError && error.code === code && (said.test(error.message) || assert.fail(error.message));
const file = (name: string, content: BlobPart = ""): Chosen => ({ name, blob: new Blob([content]) });

test("rows are rounded as numpy rounds them", () => {
  const steps = new Int8Array(6);
  const scales = new Float32Array(3);
  quantizeRows(Float32Array.of(-127, 0.5, 127, 2.5, 0, 0), 3, steps, scales);
  assert.deepEqual([...steps], [-127, 0, 127, 2, 0, 0], "halves to the even side");
  assert.deepEqual([...scales], [1, 1, 1], "a row of zeros has the scale 1");
});

test("half floats widen exactly", () => {
  assert.deepEqual([...widen(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x8001, 0x7bff, 0x0400), "F16")], [1, -2, 2 ** -24, -(2 ** -24), 65504, 2 ** -14]);
  assert.deepEqual([...widen(Uint16Array.of(0x7c00, 0xfc00), "F16")], [Infinity, -Infinity]);
  assert.ok(Number.isNaN(widen(Uint16Array.of(0x7e00), "F16")[0]));
  assert.deepEqual([...widen(Uint16Array.of(0x3f80, 0xc040), "BF16")], [1, -3]);
});

test("a folder is opened with its progress, from any depth, and strangers beside it are left alone", async () => {
  const seen: Progress[] = [];
  const opened = await openFiles([...folder(tinyModel(), "mine/"), file("mine/.git/config.json", "{"), file("mine/notes.txt", "x")], (p) => seen.push(p));
  const { beside } = opened;
  const bin = opened.bin!;
  assert.deepEqual([opened.name, opened.adapter], ["mine", null]);
  assert.deepEqual([...beside.keys()], ["tokenizer.json"]);
  const bundle = readBundle(bin);
  assert.equal(bundle.config.hidden, CONFIG.hidden_size);
  assert.match(bundle.sha256, /^[0-9a-f]{64}$/);
  assert.ok(seen.length > 10);
  assert.equal(seen.at(-1)?.loaded, seen.at(-1)?.total);
  assert.equal(seen.at(-1)?.from, "disk");
  // what was opened from a folder can be opened again as the bundle that it became
  const again = await openFiles([file("model.bin", bin), file("tokenizer.json", beside.get("tokenizer.json") as string)]);
  assert.deepEqual(new Uint8Array(again.bin!), new Uint8Array(bin));
});

/** A LoRA folder of PEFT: A (2, 4) of ones and B (3, 2) of twos. */
function peft(change: Record<string, unknown> = {}, third?: string): Chosen[] {
  const about = { peft_type: "LORA", base_model_name_or_path: "/there/base/", r: 2, lora_alpha: 8, use_rslora: false, bias: "none", loftq_config: {}, ...change };
  const at = "base_model.model.model.layers.0.mlp.up_proj.lora_";
  const header: Record<string, unknown> = {
    [`${at}A.weight`]: { dtype: "F32", shape: [2, 4], data_offsets: [0, 32] }, [`${at}B.weight`]: { dtype: "F32", shape: [3, 2], data_offsets: [32, 56] },
  };
  if (third) header[third] = { dtype: "F32", shape: [2, 1], data_offsets: [56, 64] };
  const data = new Uint8Array(Float32Array.of(...Array(8).fill(1) as number[], ...Array(6).fill(2) as number[], ...(third ? [0, 0] : [])).buffer);
  return [file("adapter_config.json", JSON.stringify(about)), file("adapter_model.safetensors", safetensors(header, data))];
}

test("a LoRA folder is read, alone and with its model", async () => {
  const alone = await openFiles(peft().map(({ name, blob }) => ({ name: `mine/${name}`, blob })));
  const { base, name, file: read } = alone.adapter!;
  assert.deepEqual([alone.bin, base, name, read.scale, read.rank, read.base], [null, "base", "mine", 4, 2, ""]);
  assert.deepEqual([...read.tensors.keys()], ["model.layers.0.mlp.up_proj.lora_A", "model.layers.0.mlp.up_proj.lora_B"]);
  assert.deepEqual([...read.tensors.values()].map(({ shape, values }) => [shape, values[0]]), [[[2, 4], 1], [[3, 2], 2]]);
  assert.equal((await openFiles(peft({ use_rslora: true }))).adapter!.file.scale, 8 / Math.SQRT2);
  const lora = peft().map(({ name: plain, blob }) => ({ name: `lora/${plain}`, blob }));
  const both = await openFiles([...lora, ...folder(tinyModel(), "base/")]);
  assert.deepEqual([both.name, both.adapter!.name, both.bin !== null], ["base", "lora", true]);
  // what a training left in the model's own folder is not meant
  const inside = await openFiles([...folder(tinyModel(), "base/"), ...lora.map(({ name: plain, blob }) => ({ name: `base/${plain}`, blob }))]);
  assert.equal(inside.adapter, null);
});

test("what is no model is refused by what it is", async () => {
  const cases: [Chosen[], EngineError["code"], RegExp][] = [
    [[], "input", /There is no model here/],
    [[file("a.gguf")], "unsupported", /gguf/],
    [[file("pytorch_model.bin")], "unsupported", /pickle, which may run code/],
    [[file("x.onnx")], "unsupported", /onnx/],
    [[file("model.safetensors")], "input", /weights alone/],
    [[file("a/config.json"), file("b/config.json")], "input", /more than one model here/],
    [[file("adapter_config.json", "{}")], "missing", /adapter_model\.safetensors is missing/],
    [peft({ peft_type: "IA3" }), "unsupported", /describes "IA3"/],
    [peft({ use_dora: true }), "unsupported", /"use_dora" to true/],
    [peft({ bias: "all" }), "unsupported", /"bias" to "all"/],
    [peft({ init_lora_weights: "pissa" }), "unsupported", /"init_lora_weights" to "pissa"/],
    [peft({ r: 0 }), "damaged", /r in adapter_config\.json is 0/],
    [peft({}, "base_model.model.x.modules_to_save.weight"), "unsupported", /no part of a LoRA/],
    [[...peft({}), file("other/adapter_config.json")].map(({ name, blob }) => ({ name: name.includes("/") ? name : `a/${name}`, blob })), "input", /more than one adapter here/],
    [[file("config.json", "{}")], "missing", /model\.safetensors is missing/],
    [[file("config.json", "[]"), file("model.safetensors")], "damaged", /config\.json is no object/],
    [[file("config.json", "{"), file("model.safetensors")], "damaged", /config\.json is not JSON/],
    [folder(tinyModel()).filter(({ name }) => name !== "tokenizer.json"), "missing", /tokenizer\.json is missing/],
    [[file("model.bin", "GGUF....")], "unsupported", /MMB1/],
  ];
  for (const [chosen, code, said] of cases) await assert.rejects(openFiles(chosen), failure(code, said));
});

test("a bundle's hashes are checked", async () => {
  const bin = (await openFiles(folder(tinyModel()))).bin!;
  await assert.rejects(openFiles([file("model.bin", bin), file("tokenizer.json", "{ }")]), failure("damaged", /tokenizer\.json is damaged/));
  const bent = bin.slice(0);
  const last = new Uint8Array(bent);
  last[last.length - 1] = (last.at(-1) as number) ^ 1;
  await assert.rejects(openFiles([file("model.bin", bent), file("tokenizer.json", "{}")]), failure("damaged", /model\.bin is damaged/));
});

test("a safetensors header is believed in nothing", async () => {
  const sound = { w: { dtype: "F32", shape: [2], data_offsets: [0, 8] } };
  const read = (header: unknown, data = 8, length?: number) => readHeader(new Blob([safetensors(header, new Uint8Array(data), length)]), "model.safetensors");
  assert.deepEqual([...(await read(sound)).keys()], ["w"]);
  assert.deepEqual([...(await readFloats((await read(sound)).get("w")!, "w"))], [0, 0]);
  const cases: [unknown, RegExp, number?, number?][] = [
    [sound, /belong to no tensor/, 12],
    [sound, /w's end is 8/, 4],
    [{ w: { ...sound.w, data_offsets: [4, 12] } }, /does not begin/, 12],
    [{ w: { ...sound.w, data_offsets: [8, 0] } }, /w's end/],
    [{ w: { ...sound.w, shape: [3] } }, /8 bytes where its shape asks for 12/],
    [{ w: { ...sound.w, shape: [2 ** 31, 2 ** 31, 2 ** 31] } }, /the size of w/],
    [{ w: { ...sound.w, shape: [-2] } }, /a side of w/],
    [{ ...sound, v: sound.w }, /does not begin where/],
    [{ w: 3 }, /w is no object/],
    [[], /header is no object/],
    [sound, /says that its header has/, 8, 2 ** 40],
    ["[".repeat(50_000), /nests deeper/],
  ];
  for (const [header, said, data, length] of cases) await assert.rejects(read(header, data, length), failure("damaged", said));
  await assert.rejects(read({ w: { ...sound.w, dtype: "I64" } }), failure("unsupported", /F32, F16 and BF16/));
  await assert.rejects(read({ w: { ...sound.w, dtype: "toString" } }), failure("unsupported", /F32, F16 and BF16/));
  const nan = (await readHeader(new Blob([safetensors(sound, new Uint8Array(Float32Array.of(NaN, 1).buffer))]), "m")).get("w")!;
  await assert.rejects(readFloats(nan, "w"), failure("damaged", /no number/));
});

test("a larger model than the device holds is refused before it is read", async () => {
  const chosen = folder({ ...tinyModel(), config: { ...CONFIG, vocab_size: 2 ** 22 } });
  await assert.rejects(openFiles(chosen), failure("damaged", /embed_tokens\.weight has the shape/));
  const experts = { ...CONFIG, model_type: "qwen3_moe", num_experts: 4096, moe_intermediate_size: 8, num_hidden_layers: 512, num_experts_per_tok: 1 };
  await assert.rejects(openFiles(folder({ ...tinyModel(), config: experts })), failure("unsupported", /2097152 experts/));
});

test("stopping ends the opening", async () => {
  await assert.rejects(openFiles(folder(tinyModel()), undefined, AbortSignal.abort()), failure("stopped", /stopped/));
});

test("the folder of the config is taken, not one below it", () => {
  assert.deepEqual([...oneFolder([file("m/config.json"), file("m/x/model.safetensors"), file("m/model.safetensors")], "m/").keys()], ["config.json", "model.safetensors"]);
  assert.deepEqual([...oneFolder([file("m\\config.json")], "m\\").keys()], ["config.json"]);
});
