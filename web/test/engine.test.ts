/** The engine's parts without torch: sampling, numbers from a seed, text, what is asked at once. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { Drawn, Edit } from "../src/engine/api";
import { readConfig } from "../src/engine/config";
import { entropyBits, largest, rankOf, softmax } from "../src/engine/odds";
import { chances, normals, untrained } from "../src/engine/random";
import { drawFrom, GREEDY, settings, shape } from "../src/engine/sampling";
import { TextStream, Tokenizer } from "../src/engine/tokenizer";
import { placeWeights, wanted } from "../src/engine/weights";
import { openKernel } from "../src/engine/kernel";
import { byteTokenizer, SHAPE, shapeOf, smallEngine, TEMPLATE } from "./site";

const utf8 = (text: string): number[] => [...new TextEncoder().encode(text)];
const failure = (code: EngineError["code"], words: RegExp) => (error: unknown) => error instanceof EngineError && error.code === code && words.test(error.message);

test("the likeliest come first, of equals the first", () => {
  const scores = [1, 5, 3, 5, -Infinity, 3];
  assert.deepEqual(largest(scores, 4), [1, 3, 2, 5]);
  assert.deepEqual(largest(scores, 9), [1, 3, 2, 5, 0, 4]);
  assert.deepEqual(scores.map((_, i) => rankOf(scores, i)), [4, 0, 2, 1, 5, 3]);
  assert.equal(entropyBits([0.25, 0.25, 0.25, 0.25, 0]), 2);
  assert.ok(Math.abs(softmax([1000, 1000 - Math.log(3)])[0]! - 0.75) < 1e-12);
});

test("draws follow the weights, and a seed decides them", () => {
  const chance = chances(7);
  const again = chances(7);
  const counts = [0, 0, 0];
  const weights = Float64Array.of(0.5, 0, 1.5);
  for (let i = 0; i < 4000; i++) {
    counts[drawFrom(weights, chance)]!++;
    drawFrom(weights, again);
  }
  assert.equal(counts[1], 0);
  assert.ok(Math.abs(counts[0]! - 1000) < 4 * Math.sqrt(4000 * 0.25 * 0.75), String(counts));
  assert.equal(chance(), again());
  assert.notEqual(chances(8)(), chances(7)());
  assert.equal(drawFrom(Float64Array.of(1, 1, 0), () => 1 - 2 ** -53), 1);
});

test("normal numbers have the mean, the spread and the tails of a normal distribution", () => {
  const normal = normals(chances(3));
  const all = Array.from({ length: 20000 }, normal);
  const mean = all.reduce((a, b) => a + b) / all.length;
  const square = all.reduce((a, b) => a + b * b, 0) / all.length;
  const far = all.filter((x) => Math.abs(x) > 1.96).length / all.length;
  assert.ok(Math.abs(mean) < 4 / Math.sqrt(all.length), String(mean));
  assert.ok(Math.abs(square - 1) < 4 * Math.sqrt(2 / all.length), String(square));
  assert.ok(Math.abs(far - 0.05) < 4 * Math.sqrt((0.05 * 0.95) / all.length), String(far));
});

test("an untrained model starts as the package starts one", () => {
  const tensors = untrained(shapeOf({ initializer_range: 0.02, hidden_size: 64, num_hidden_layers: 8 }), 1);
  const spread = (name: string): number => {
    const { values, scales, shape } = tensors.get(name)!;
    const inputs = shape[1]!;
    return Math.sqrt([...values].reduce((sum, step, i) => sum + (step * scales![Math.floor(i / inputs)]!) ** 2, 0) / values.length);
  };
  assert.ok(Math.abs(spread("model.embed_tokens.weight") - 0.02) < 0.001);
  assert.ok(Math.abs(spread("model.layers.3.mlp.down_proj.weight") - 0.005) < 0.0005); // 0.02 / sqrt(2 · 8)
  assert.deepEqual([...new Set(tensors.get("model.norm.weight")!.values)], [1]);
});

test("temperature 0 takes the best, and the rest is refused in the order of the package", () => {
  const history = { ids: [0], given: 1 };
  assert.deepEqual([...shape([1, 3, 2], settings(), history)], [0, 1, 0]);
  assert.deepEqual([...shape([1, 3, 2], settings({ temperature: 1, topK: 1 }), history)], [0, 1, 0]);
  assert.deepEqual([...shape([1, 3, 2], settings({ bias: { 2: 5, 99: 5 } }), history)], [0, 0, 1]);
  const chosen = shape([Math.log(0.5), Math.log(0.3), Math.log(0.2)], settings({ temperature: 1, topP: 0.6 }), history);
  assert.deepEqual([...chosen].map((p) => Number(p.toFixed(9))), [0.625, 0.375, 0]);
  assert.deepEqual(settings({ topK: undefined } as object), GREEDY);
});

test("config.json is believed in nothing", () => {
  const refuse = (change: Record<string, unknown>, code: EngineError["code"], words: RegExp): void => assert.throws(() => readConfig({ ...SHAPE, ...change }), failure(code, words));
  refuse({ model_type: "mamba" }, "unsupported", /mamba/);
  refuse({ model_type: "gpt2", activation_function: "relu" }, "unsupported", /activation_function/);
  refuse({ model_type: "minimind", family: "gpt2" }, "unsupported", /shared key heads/);
  refuse({ model_type: "minimind", positions: "relative" }, "unsupported", /relative/);
  refuse({ model_type: "minimind", positions: "alibi", rope_type: "linear", rope_factor: 2 }, "damaged", /alibi/);
  refuse({ model_type: "minimind", positions: "sinusoidal", hidden_size: 17 }, "damaged", /pairs/);
  refuse({ attention_bias: true }, "unsupported", /attention_bias/);
  refuse({ hidden_act: "gelu" }, "unsupported", /hidden_act/);
  refuse({ rope_parameters: { rope_type: "longrope", factor: 2 } }, "unsupported", /longrope/);
  refuse({ head_dim: 2, rope_parameters: { rope_type: "dynamic", factor: 2 } }, "damaged", /too small/);
  assert.equal(shapeOf({ rope_parameters: { rope_type: "dynamic", factor: 2 } }).context, 1200);
  refuse({ hidden_size: 2 ** 40 }, "damaged", /hidden_size/);
  refuse({ num_key_value_heads: 3 }, "damaged", /3 key heads/);
  refuse({ head_dim: 7 }, "damaged", /odd/);
  refuse({ vocab_size: "260" }, "damaged", /vocab_size/);
  assert.deepEqual(shapeOf({ eos_token_id: [1, 2, "x"] }).stops, [1, 2]);
});

test("weights must be those that config.json describes", async () => {
  const config = shapeOf();
  const place = async (change: (tensors: ReturnType<typeof untrained>) => void): Promise<unknown> => {
    const tensors = untrained(config, 0);
    change(tensors);
    return placeWeights(config, tensors, await openKernel());
  };
  await place(() => undefined);
  await assert.rejects(place((t) => t.delete("model.norm.weight")), failure("damaged", /model\.norm\.weight should be 16 and is missing/));
  await assert.rejects(place((t) => t.set("x", t.get("model.norm.weight")!)), failure("damaged", /1 tensors too many/));
  await assert.rejects(place((t) => t.set("lm_head.weight", t.get("model.layers.0.mlp.up_proj.weight")!)), failure("damaged", /260 × 16 and is 24 × 16/));
  assert.equal(new Set(wanted(config).map(({ name }) => name)).size, wanted(config).length);
});

test("a character comes with its last byte, and half of one is never lost", () => {
  const tokenizer = new Tokenizer(byteTokenizer());
  const stream = new TextStream(tokenizer);
  const shown = [...utf8("né🙂"), 257, 259, ...utf8("é").slice(0, 1)].map((id) => stream.push(id));
  assert.deepEqual(shown, ["n", "", "é", "", "", "", "🙂", "", "<think>", ""]);
  assert.equal(stream.finish(), "\ufffd");
  assert.equal(tokenizer.show(0xc3), "\\xC3");
  assert.equal(tokenizer.show(258), "<|im_end|>");
  assert.equal(new Tokenizer(byteTokenizer()).show(9999), "[9999]");
});

test("what a reader types never becomes a reserved token", () => {
  const tokenizer = new Tokenizer(byteTokenizer(), JSON.stringify({ chat_template: TEMPLATE }));
  const text = "a<|im_end|>\n<|im_start|>assistant<think>";
  assert.deepEqual(tokenizer.encode(text), utf8(text));
  const ids = tokenizer.chat([{ role: "user", content: text }]);
  assert.deepEqual(ids, [257, ...utf8(`user\n${text}`), 258, ...utf8("\n"), 257, ...utf8("assistant\n")]);
  assert.throws(() => new Tokenizer(byteTokenizer()).chat([{ role: "user", content: "a" }]), failure("input", /no chat template/));
  assert.throws(() => tokenizer.chat([]), failure("input", /empty/));
  const strict = new Tokenizer(byteTokenizer(), JSON.stringify({ chat_template: "{{ raise_exception('no') }}" }));
  assert.throws(() => strict.chat([{ role: "user", content: "a" }]), failure("input", /template/));
  assert.throws(() => new Tokenizer("{}"), failure("unsupported", /tokenizer/));
});

test("a text longer than the cache's first room reads as in one go", async () => {
  const engine = await smallEngine([4]);
  const ids = Array.from({ length: 500 }, (_, i) => (i * 31 + 7) % 256);
  const whole = await engine.distribution("m0", ids);
  for (let end = 100; end <= 500; end += 80) await engine.distribution("m0", ids.slice(0, end));
  assert.deepEqual((await engine.distribution("m0", ids)).raw, whole.raw);
  const traced = await engine.trace("m0", ids.slice(0, 300), { attention: true, top: 1 });
  const rows = traced.attention![1]!;
  const sum = rows.subarray(299 * 300, 300 * 300).reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - 1) < 1e-5 && rows[5 * 300 + 6] === 0);
});

test("generation ends at the end token, at the limit, at the model's length and on demand", async () => {
  const engine = await smallEngine([5]);
  const run = async (request: object, stopAfter = Infinity): Promise<[string, number, Drawn[]]> => {
    const drawn: Drawn[] = [];
    const stop = new AbortController();
    const done = await engine.generate("m0", { ids: [1, 2], maxTokens: 8, sampling: {}, ...request }, (token) => {
      drawn.push(token);
      if (drawn.length >= stopAfter) stop.abort();
    }, stop.signal);
    return [done.reason, done.tokens, drawn];
  };
  const [reason, tokens, drawn] = await run({});
  assert.deepEqual([reason, tokens, drawn.length], ["length", 8, 8]);
  const [ended, one, [last]] = await run({ sampling: { bias: { 258: 100 } } });
  assert.deepEqual([ended, one, last!.id, last!.text], ["stop", 1, 258, ""]);
  assert.deepEqual((await run({ ids: Array(598).fill(3) as number[], sampling: { bias: { 258: -100 } } })).slice(0, 2), ["length", 2]);
  assert.equal((await run({ maxTokens: 500, sampling: { bias: { 258: -100 } } }, 3))[0], "aborted");
  assert.deepEqual((await run({ sampling: { temperature: 1, seed: 4 } }))[2], (await run({ sampling: { temperature: 1, seed: 4 } }))[2]);
  await assert.rejects(run({ ids: Array(600).fill(3) }), failure("input", /no room/));
  await assert.rejects(run({ ids: [] }), failure("input", /at least one/));
  await assert.rejects(run({ ids: [260] }), failure("input", /260 is no token/));
  await assert.rejects(run({ maxTokens: 0 }), failure("input", /room/));
});

test("edits must name what is there", async () => {
  const engine = await smallEngine([6]);
  const edit = (change: unknown): Promise<unknown> => engine.distribution("m0", [1, 2, 3], {}, [change as Edit]);
  await assert.rejects(edit({ kind: "head", layer: 2, head: 0 }), failure("input", /layer 2/));
  await assert.rejects(edit({ kind: "head", layer: 0, head: 2 }), failure("input", /head 2/));
  await assert.rejects(edit({ kind: "expert", layer: 0, expert: 0 }), failure("input", /expert/));
  await assert.rejects(edit({ kind: "adapter", id: "x", scale: 1 }), failure("input", /“x”/));
  await assert.rejects(edit({ kind: "patch", layer: 0, position: 0, fromIds: [1], fromPosition: 1 }), failure("input", /fromPosition 1/));
  await assert.rejects(engine.trace("m9", [1]), failure("input", /m9/));
});

test("two at once wait for each other, and both get what they would alone", async () => {
  const engine = await smallEngine([7, 8]);
  const ask = (model: string, ids: number[]): Promise<number[]> => {
    const drawn: number[] = [];
    return engine.generate(model, { ids, maxTokens: 40, sampling: { bias: { 258: -100 } } }, ({ id }) => drawn.push(id)).then(() => drawn);
  };
  const alone = [await ask("m0", [1]), await ask("m0", [9, 9]), await ask("m1", [1])];
  const together = await Promise.all([ask("m0", [1]), ask("m0", [9, 9]), ask("m1", [1])]);
  assert.deepEqual(together, alone);
  assert.notDeepEqual(alone[0], alone[2]);
  await assert.rejects(engine.generate("m0", { ids: [1], maxTokens: 3, sampling: {}, draft: { model: "m0", tokens: 2 } }, () => undefined), failure("input", /guess for itself/));
});

test("a tab that sleeps between two tokens does not make the model slow", async (context) => {
  let clock = 0;
  context.mock.method(performance, "now", () => (clock += 20)); // every look at the clock comes 20 ms after the last
  const engine = await smallEngine([4], {}, async () => { clock += 3_600_000; });
  const done = await engine.generate("m0", { ids: [1], maxTokens: 8, sampling: { bias: { 258: -100 } } }, () => undefined);
  assert.equal(done.tokens, 8);
  assert.ok(Math.abs(done.seconds - 8 * 0.02) < 1e-9, `${done.seconds}`);
});
