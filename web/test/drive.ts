/** The engine in Node, for tests in Python: calls from a JSON file, answers into another. */

import { readFileSync, writeFileSync } from "node:fs";
import { EngineError } from "../src/engine/api";
import type { ModelEngine } from "../src/engine/api";
import { Engine } from "../src/engine/engine";
import { openFiles } from "../src/engine/open";
import { settings, shape } from "../src/engine/sampling";
import { TextStream } from "../src/engine/tokenizer";
import type { Edit, Sampling } from "../src/engine/api";

type Method = keyof ModelEngine;
interface Task { folder: string; calls: { method: Method | keyof typeof beyond; given: unknown[] }[] }

/** An engine whose site is a folder on disk. */
export function engineAt(folder: string): Engine {
  const read = (url: string): ArrayBuffer => new Uint8Array(readFileSync(url)).buffer;
  return new Engine({
    folder,
    fetchBundle: (url, _expected, progress) => {
      const bytes = read(url);
      progress?.({ loaded: bytes.byteLength, total: bytes.byteLength, from: "disk" });
      return Promise.resolve(bytes);
    },
    list: (url) => Promise.resolve(JSON.parse(readFileSync(url, "utf8"))),
    openFiles,
    pause: () => new Promise((done) => setImmediate(done)),
  });
}

/** What tests look at and the page never asks for. */
const beyond = {
  /** The scores (T, V) at every place. */
  async logits(engine: Engine, model: string, ids: number[], edits: Edit[] = []): Promise<number[]> {
    const { session, edits: own } = (await engine.loader.loaded(model))!;
    const { config } = session.model;
    const all: number[] = [];
    session.advance(ids, [...own, ...edits], 1, {
      stream: (layer, _start, n) => layer === config.layers - 1 && all.push(...session.model.logits(0, n)),
    });
    return all;
  },
  /** The filters alone, on given scores. */
  shape: (_engine: Engine, scores: number[], sampling: Partial<Sampling>, ids: number[], given: number): Float64Array =>
    shape(scores, settings(sampling), { ids, given }),
  /** What each token adds to the text, and what is left at its end. */
  async texts(engine: Engine, model: string, ids: number[]): Promise<string[]> {
    const stream = new TextStream((await engine.loader.loaded(model))!.tokenizer);
    return [...ids.map((id) => stream.push(id)), stream.finish()];
  },
  /** How often each pair of first two tokens is drawn with a draft, over many seeds. */
  async pairs(engine: Engine, model: string, request: Record<string, unknown>, seeds: number): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (let seed = 0; seed < seeds; seed++) {
      const ids: number[] = [];
      const sampling = { ...(request.sampling as Sampling), seed };
      await engine.generate(model, { ids: [], maxTokens: 2, ...request, sampling }, ({ id }) => ids.push(id));
      const pair = ids.slice(0, 2).join(" ");
      counts[pair] = (counts[pair] ?? 0) + 1;
    }
    return counts;
  },
};

/** The reader's own files, from disk. */
function blobs(given: unknown): unknown {
  const source = given as { kind?: string; files?: { name: string; path: string }[] };
  if (source?.kind !== "files") return given;
  return { ...source, files: source.files!.map(({ name, path }) => ({ name, blob: new Blob([readFileSync(path)]) })) };
}

export async function drive(taskFile: string, answerFile: string): Promise<void> {
  const task = JSON.parse(readFileSync(taskFile, "utf8")) as Task;
  const engine = engineAt(task.folder);
  const answers: unknown[] = [];
  for (const { method, given } of task.calls) {
    const drawn: unknown[] = [];
    const news = method === "generate" ? [(token: unknown) => drawn.push(token)] : [];
    try {
      const other = beyond[method as keyof typeof beyond] as ((engine: Engine, ...all: unknown[]) => unknown) | undefined;
      const call = engine[method as Method] as (...all: unknown[]) => Promise<unknown>;
      const value = await (other ? other(engine, ...given) : call.apply(engine, [...given.map(blobs), ...news]));
      answers.push(method === "generate" ? { value, drawn } : { value });
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      answers.push({ error: error.message, code: error.code });
    }
  }
  const plain = (_key: string, value: unknown): unknown => (ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value);
  writeFileSync(answerFile, JSON.stringify(answers, plain));
}
