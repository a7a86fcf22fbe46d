/**
 * The engine behind the worker: which models are loaded, and what is asked of them, one after the
 * other. It knows nothing of workers or pages, so that tests run it as it is.
 */

import { EngineError, type Edit, type Finished, type GenerateRequest, type Drawn, type Message, type ModelEngine, type ModelInfo, type Progress, type Sampling, type Shipped, type Source, type Trace, type TraceWish } from "./api";
import { generate } from "./generate";
import { describe, Loader, type Loaded } from "./loader";
import { softmax } from "./odds";
import { settings, shape } from "./sampling";
import type { Site } from "./site";
import { trace } from "./trace";

const SLICE = 10; // ms of computing after which a message from the page may come in

export class Engine implements ModelEngine {
  readonly loader: Loader;
  /** Ends when all that was asked before has been answered. */
  private line: Promise<unknown> = Promise.resolve();

  constructor(private readonly site: Site) {
    this.loader = new Loader(site);
  }

  shipped(): Promise<Shipped[]> {
    return this.loader.shipped();
  }

  async load(source: Source, progress?: (p: Progress) => void, signal?: AbortSignal): Promise<ModelInfo> {
    return describe(await this.loader.load(source, progress, signal));
  }

  unload(model: string): Promise<void> {
    this.loader.drop(model);
    return Promise.resolve();
  }

  async encode(model: string, text: string): Promise<{ ids: number[]; texts: string[] }> {
    const { tokenizer } = await this.get(model);
    return withTexts(tokenizer.encode(text), tokenizer);
  }

  async chat(model: string, messages: Message[], thinking = false): Promise<{ ids: number[]; texts: string[] }> {
    const { tokenizer } = await this.get(model);
    return withTexts(tokenizer.chat(messages, thinking), tokenizer);
  }

  async trace(model: string, ids: number[], wish: TraceWish = {}): Promise<Trace> {
    const { session, tokenizer, edits } = await this.get(model);
    return this.inTurn(() => trace(session, tokenizer, ids, { ...wish, edits: [...edits, ...(wish.edits ?? [])] }));
  }

  async distribution(
    model: string, ids: number[], sampling: Partial<Sampling> = { temperature: 1 }, edits: Edit[] = [],
  ): Promise<{ raw: Float32Array; shaped: Float32Array; texts: string[] }> {
    const loaded = await this.get(model);
    return this.inTurn(() => {
      loaded.session.advance(ids, [...loaded.edits, ...edits]);
      const scores = loaded.session.scores();
      const shaped = shape(scores, settings(sampling), { ids, given: ids.length });
      const texts = Array.from(scores, (_, id) => loaded.tokenizer.show(id));
      return { raw: Float32Array.from(softmax(scores)), shaped: Float32Array.from(shaped), texts };
    });
  }

  async generate(model: string, request: GenerateRequest, drawn: (token: Drawn) => void, signal?: AbortSignal): Promise<Finished> {
    const loaded = await this.get(model);
    const draft = request.draft ? await this.partner(loaded, request.draft.model) : undefined;
    let last = performance.now();
    const turn = {
      stopped: () => signal?.aborted ?? false,
      rest: async () => {
        if (performance.now() - last < SLICE) return;
        await this.site.pause();
        last = performance.now();
      },
    };
    const writer = { ...loaded, edits: [...loaded.edits, ...(request.edits ?? [])] };
    return this.inTurn(() => generate(writer, request, drawn, turn, draft));
  }

  private async get(model: string): Promise<Loaded> {
    const loaded = await this.loader.loaded(model);
    if (!loaded) throw new EngineError(`The model “${model}” is not loaded; load it first.`, "input");
    return loaded;
  }

  /** A model that may guess for another: the same tokens, and not the same weights. */
  private async partner(loaded: Loaded, name: string): Promise<Loaded> {
    const draft = await this.get(name);
    if (draft.session === loaded.session) throw new EngineError("A model cannot guess for itself; choose a smaller one as draft.", "input");
    if (draft.tokens !== loaded.tokens) throw new EngineError(`“${name}” cuts text into other tokens, so it cannot guess for this model.`, "input");
    return draft;
  }

  private inTurn<Kind>(work: () => Kind | Promise<Kind>): Promise<Kind> {
    const answer = this.line.then(work);
    this.line = answer.catch(() => undefined);
    return answer;
  }
}

function withTexts(ids: number[], tokenizer: Loaded["tokenizer"]): { ids: number[]; texts: string[] } {
  return { ids, texts: ids.map((id) => tokenizer.show(id)) };
}
