import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeEngine } from "./fake";
import type { Candidate } from "../src/engine/api";
import { EXAMPLES } from "../src/playground/examples";
import { bytes, parting, rows, shown } from "../src/playground/odds";
import { fullWidth, reshape } from "../src/playground/reshape-model";
import { messages } from "../src/playground/talk";
import { bounded, defaults, fromQuery, KNOBS, PLAIN, TABS, toQuery } from "../src/playground/state";

const PROMPT = EXAMPLES[0]!.ask;
const candidates = (...odds: number[]): Candidate[] => odds.map((probability, rank) => ({ id: 10 + rank, text: `t${rank}`, probability, rank }));

test("a link keeps the open view, and gives it back", () => {
  const state = defaults(PROMPT);
  state.tab = "inspect";
  Object.assign(state.inspect, { model: "world-tiny", ask: "Is 2 < 3 & so on?\nYes", len: 20, at: 3, path: [83, 4, 2047] });
  Object.assign(state.inspect.sampling, { temperature: 0.7, topK: 40, topP: 0.95, minP: 0.05, repetitionPenalty: 1.1, seed: 42 });
  const query = toQuery(state, PROMPT, "?other=1");
  const back = fromQuery(query, PROMPT);
  assert.deepEqual(back, state);
  assert.match(query, /^\?other=1&/);
  assert.match(query, /path=83\.4\.2047/);
});

test("a chat's link says what the reader said, turn by turn", () => {
  const state = defaults(PROMPT);
  state.tab = "chat";
  state.chat.say = ["Hello & <b>", "And then?"];
  state.chat.draft = true;
  const back = fromQuery(toQuery(state, PROMPT, ""), PROMPT);
  assert.deepEqual(back.chat, state.chat);
  assert.equal(back.tab, "chat");
});

test("an inspected turn's link keeps the talk before it and the adapter's strength", () => {
  const state = defaults(PROMPT);
  state.tab = "inspect";
  Object.assign(state.inspect, { say: ["Hello", "Hi & <b>"], ask: "And?", scale: 0.35 });
  const query = toQuery(state, PROMPT, "");
  assert.match(query, /lora=0\.35/);
  assert.deepEqual(fromQuery(query, PROMPT), state);
  assert.equal(fromQuery("?tab=chat&lora=9", PROMPT).chat.scale, 2);
  assert.deepEqual(messages(["a", "b", "c"]).map(({ role }) => role), ["user", "assistant", "user"]);
});

test("the view that nothing has changed needs no query, for every tab but its name", () => {
  for (const tab of TABS) {
    const state = { ...defaults(PROMPT), tab };
    assert.equal(toQuery(state, PROMPT, ""), tab === "stages" ? "" : `?tab=${tab}`);
  }
});

test("what another view had in the address is taken out of it", () => {
  const state = { ...defaults(PROMPT), tab: "reshape" as const };
  assert.equal(toQuery(state, PROMPT, "?tab=chat&say=a&say=b&t=0.5&keep=me"), "?keep=me&tab=reshape");
});

test("what an address cannot mean becomes the default", () => {
  const usual = defaults(PROMPT);
  const state = fromQuery("?tab=<script>&t=abc&k=-5&p=7&len=1e9&at=-1&path=1.x.3&seed=", PROMPT);
  assert.equal(state.tab, "stages");
  assert.equal(state.stages.sampling.temperature, 0);
  assert.equal(state.stages.sampling.topK, 0);
  assert.equal(state.stages.sampling.topP, 1);
  assert.equal(state.stages.len, 200);
  assert.equal(state.stages.at, 0);
  assert.deepEqual(state.stages.path, []);
  assert.deepEqual(state.chat, usual.chat);
  assert.equal(fromQuery(`?ask=${"x".repeat(9000)}`, PROMPT).stages.ask.length, 2000);
});

test("views do not share their settings", () => {
  const state = defaults(PROMPT);
  state.chat.sampling.bias[3] = 1;
  state.chat.sampling.temperature = 2;
  assert.equal(state.inspect.sampling.temperature, 0);
  assert.deepEqual(state.inspect.sampling.bias, {});
  assert.deepEqual(PLAIN.bias, {});
});

test("a knob's value stands on its step and inside its bounds", () => {
  const knob = KNOBS.find((one) => one.key === "t")!;
  assert.equal(bounded("0.30000001", knob), 0.3);
  assert.equal(bounded("99", knob), 2);
  assert.equal(bounded("", knob), null);
  assert.equal(bounded("NaN", knob), null);
});

test("bars are the likeliest tokens and one for all others, and sum to one", () => {
  const bars = rows(candidates(0.6, 0.2, 0.1), 11, 2);
  assert.deepEqual(bars.map((bar) => bar.text), ["t0", "t1", "all others"]);
  assert.deepEqual(bars.map((bar) => bar.taken), [false, true, false]);
  assert.ok(Math.abs(bars.reduce((sum, bar) => sum + bar.probability, 0) - 1) < 1e-12);
  assert.equal(rows(candidates(0.6, 0.2, 0.1), 12, 2)[2]!.taken, true, "the taken one is among the others");
  assert.equal(rows(candidates(0.7, 0.4), null, 8).at(-1)!.probability, 0, "rounding gives no negative bar");
});

test("spaces and line ends of a token are seen", () => {
  assert.equal(shown(" a"), "␣a");
  assert.equal(shown("a b  "), "a b␣␣");
  assert.equal(shown("\n\n"), "⏎⏎");
  assert.equal(shown("   "), "␣␣␣");
  assert.equal(shown(""), "∅");
  assert.equal(shown("<b>"), "<b>");
});

test("two answers part where their tokens first differ", () => {
  const ids = (...list: number[]): { id: number }[] => list.map((id) => ({ id }));
  assert.equal(parting(ids(1, 2, 3), ids(1, 2, 3)), null);
  assert.equal(parting(ids(1, 2, 3), ids(1, 4, 3)), 1);
  assert.equal(parting(ids(1, 2), ids(1, 2, 3)), 2);
});

test("sizes are told in the unit that fits", () => {
  assert.deepEqual([0, 1, 131_000, 999_600, 2_400_000, 27_500_000].map(bytes), ["0 KB", "1 KB", "131 KB", "1.0 MB", "2.4 MB", "28 MB"]);
});

const RAW = [0.5, 0.25, 0.125, 0.125];
const TEXTS = ["a", "b", "c", "d"];

test("temperature 1 with nothing refused changes nothing", () => {
  const made = reshape(RAW, TEXTS, { ...PLAIN, temperature: 1 }, 2);
  made.shaped.forEach((p, i) => assert.ok(Math.abs(p - RAW[i]!) < 1e-12));
  assert.deepEqual(made.pairs.map((pair) => pair.text), ["a", "b"]);
  assert.ok(Math.abs(made.rest.before - 0.25) < 1e-12 && Math.abs(made.rest.after - 0.25) < 1e-12);
  assert.equal(made.rest.count, 2);
  assert.ok(Math.abs(made.bitsBefore - 1.75) < 1e-12);
  assert.equal(made.kept, 4);
});

test("half the temperature squares the odds", () => {
  const made = reshape(RAW, TEXTS, { ...PLAIN, temperature: 0.5 }, 4);
  const squares = RAW.map((p) => p * p);
  const sum = squares.reduce((a, b) => a + b, 0);
  made.shaped.forEach((p, i) => assert.ok(Math.abs(p - squares[i]! / sum) < 1e-12));
  assert.ok(made.bitsAfter < made.bitsBefore);
});

test("the bars' full width is a round share that holds the longest, before and after", () => {
  const odds = (n: number): number[] => Array.from({ length: n }, () => 1 / n);
  const width = (raw: number[], more: object): number => fullWidth(reshape(raw, [], { ...PLAIN, temperature: 1, ...more }, raw.length));
  assert.equal(width(odds(16), {}), 0.1);
  assert.equal(width([...odds(8)], {}), 0.25);
  assert.equal(width(RAW, {}), 0.5);
  assert.equal(width(RAW, { topK: 1 }), 1, "one token is left, and takes it all");
});

test("top-k, top-p and min-p refuse, and say so", () => {
  const kept = (more: object): boolean[] => reshape(RAW, TEXTS, { ...PLAIN, temperature: 1, ...more }, 4).pairs.map((pair) => !pair.refused);
  assert.deepEqual(kept({ topK: 2 }), [true, true, false, false]);
  assert.deepEqual(kept({ topP: 0.7 }), [true, true, false, false]);
  assert.deepEqual(kept({ minP: 0.3 }), [true, true, false, false]);
  assert.deepEqual(kept({ minP: 0.2 }), [true, true, true, true]);
  const greedy = reshape(RAW, TEXTS, PLAIN, 4);
  assert.deepEqual([greedy.kept, greedy.bitsAfter, greedy.shaped[0]], [1, 0, 1]);
});

test("the engine's double gives the same answer twice, and stops when told", async () => {
  const engine = new FakeEngine();
  const { ids } = await engine.encode("world-tiny", PROMPT);
  const answer = async (signal?: AbortSignal): Promise<number[]> => {
    const drawn: number[] = [];
    const done = await engine.generate("world-tiny", { ids, maxTokens: 8, sampling: {} }, (token) => drawn.push(token.id), signal);
    assert.equal(done.tokens, drawn.length);
    return drawn;
  };
  assert.deepEqual(await answer(), await answer());
  const stop = new AbortController();
  stop.abort();
  assert.deepEqual(await answer(stop.signal), []);
});
