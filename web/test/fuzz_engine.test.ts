/** Models of strangers that can be read: what the engine makes of them is an answer or an EngineError. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../src/engine/api";
import { Engine } from "../src/engine/engine";
import { softmax } from "../src/engine/odds";
import { openFiles } from "../src/engine/open";
import type { Chosen } from "../src/engine/open";
import { CONFIG, folder, random, spoilBytes, spoilJson, tinyModel, weights } from "./hostile";

const TOKENIZER = {
  version: "1.0", added_tokens: [{ id: 2, content: "<|end|>", special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }],
  normalizer: null, pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true }, post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  model: { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, merges: [["a", "b"]], vocab: Object.fromEntries(["a", "b", "<|end|>", "ab", "c", "d", "e", "f", "g", "h", "i", "<"].map((name, id) => [name, id])) },
};
const CHAT = { chat_template: "{% for message in messages %}{{ message.content }}{% endfor %}", eos_token: "<|end|>" };

const engine = (): Engine => new Engine({
  folder: "", openFiles, pause: () => Promise.resolve(),
  fetchBundle: () => Promise.reject(new EngineError("no network here", "offline")), list: () => Promise.resolve([]),
});

/** All that a reader can do with a model, on one prompt. */
async function use(files: Chosen[]): Promise<void> {
  const of = engine();
  const { id, vocabulary, layers } = await of.load({ kind: "files", name: "mine", files });
  const { ids } = await of.encode(id, "abc");
  await of.chat(id, [{ role: "user", content: "ab <|end|>" }]);
  const { next, attention } = await of.trace(id, [...ids, 0], { attention: true, lens: true, stream: true });
  for (const { top } of next) for (const { probability } of top) assert.ok(probability >= 0 && probability <= 1.000001, `a probability of ${probability}`);
  assert.equal(attention?.length, layers);
  const { raw } = await of.distribution(id, ids, { temperature: 0.7, topK: 3 });
  assert.equal(raw.length, vocabulary);
  await of.generate(id, { ids, maxTokens: 3, sampling: { temperature: 1, seed: 1 } }, () => undefined);
}

async function outcomes(cases: number, files: (draw: () => number) => Chosen[]): Promise<{ used: number; refused: number }> {
  const count = { used: 0, refused: 0 };
  for (let seed = 1; seed <= cases; seed++) {
    try {
      await use(files(random(seed)));
      count.used++;
    } catch (error) {
      if (!(error instanceof EngineError)) assert.fail(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
      assert.ok(error.message.length < 600, `seed ${seed}: ${error.message.length} characters`);
      count.refused++;
    }
  }
  return count;
}

const [config, model] = folder(tinyModel()) as [Chosen, Chosen, Chosen];
const json = (name: string, value: unknown): Chosen => ({ name, blob: new Blob([JSON.stringify(value)]) });
const tokenizer = [json("tokenizer.json", TOKENIZER), json("tokenizer_config.json", CHAT)];

test("the sound model answers", async () => {
  assert.deepEqual(await outcomes(1, () => [config, model, ...tokenizer]), { used: 1, refused: 0 });
});

test("tokens and scores that are no numbers are refused", async () => {
  const of = engine();
  const { id } = await of.load({ kind: "files", name: "mine", files: [config, model, ...tokenizer] });
  for (const wrong of [undefined, NaN, -1, 12, 1.5, "1"]) {
    await assert.rejects(of.trace(id, [wrong as number]), (error: unknown) => error instanceof EngineError && error.code === "input", String(wrong));
  }
  assert.throws(() => softmax([0, NaN]), EngineError);
  assert.throws(() => softmax([0, Infinity]), EngineError);
  assert.deepEqual([...softmax([0, -Infinity])], [1, 0], "what a filter refused has no chance");
});

test("a config that says something else", async () => {
  const { used, refused } = await outcomes(250, (draw) => [json("config.json", spoilJson(draw, CONFIG)), model, ...tokenizer]);
  assert.ok(used > 20 && refused > 80, `${used} used, ${refused} refused`);
});

test("weights with spoilt bytes", async () => {
  const { used, refused } = await outcomes(200, (draw) => [config, { name: "model.safetensors", blob: new Blob([spoilBytes(draw, weights(tinyModel()))]) }, ...tokenizer]);
  assert.ok(used > 20 && refused > 50, `${used} used, ${refused} refused`);
});

test("a tokenizer that says something else", async () => {
  const { used, refused } = await outcomes(400, (draw) => [config, model, json("tokenizer.json", spoilJson(draw, TOKENIZER)), tokenizer[1] as Chosen]);
  assert.ok(used > 20 && refused > 80, `${used} used, ${refused} refused`);
});

test("a chat template of a stranger renders text or is refused", async () => {
  const templates = [
    "{{ messages.constructor.constructor('return process')() }}", "{{ ''.constructor }}", "{{ messages[0].__proto__.polluted }}", "{% for", "{{ raise_exception('no') }}",
    "{{ messages | map(attribute='constructor') | list }}", "{{ strftime_now('%d') }}", "{{ cycler.__init__.__globals__ }}", "<img src=x onerror=alert(1)>", "{{ 1/0 }}", "{{ undefined_name.field.field }}",
  ];
  const { used, refused } = await outcomes(templates.length, (draw) => [config, model, tokenizer[0] as Chosen, json("tokenizer_config.json", { chat_template: templates[Math.floor(draw() * templates.length)] })]);
  assert.equal(used + refused, templates.length);
  for (const template of templates) {
    try {
      await use([config, model, tokenizer[0] as Chosen, json("tokenizer_config.json", { chat_template: template })]);
    } catch (error) {
      assert.ok(error instanceof EngineError, `${template}: ${String(error)}`);
    }
  }
});
