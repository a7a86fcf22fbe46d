/**
 * The page's side of the model's worker: started at the first call and kept across instant
 * navigation. Every call is a message; its answer, or its error, comes back as a promise.
 */

import { assetUrl } from "../assets";
import { EngineError, type Drawn, type Edit, type Finished, type GenerateRequest, type Message, type ModelEngine, type ModelInfo, type Progress, type Sampling, type Shipped, type Source, type Trace, type TraceWish } from "./api";
import type { Answer, Ask } from "./wire";

/** What the client needs of a Worker; tests pass their own. */
export interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

interface Waiting { done(value: unknown): void; failed(error: EngineError): void; news?: ((news: never) => void) | undefined }

export class EngineClient implements ModelEngine {
  private worker: WorkerLike | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private serial = 0;
  /** Messages from the worker so far. */
  private heard = 0;

  /** `patience`: milliseconds after which a worker that does not stop is ended. */
  constructor(private readonly start: () => WorkerLike, private readonly patience = 10_000) {}

  shipped(): Promise<Shipped[]> {
    return this.call("shipped", []);
  }
  load(source: Source, progress?: (p: Progress) => void, signal?: AbortSignal): Promise<ModelInfo> {
    return this.call("load", [source], progress, signal);
  }
  unload(model: string): Promise<void> {
    return this.call("unload", [model]);
  }
  encode(model: string, text: string): Promise<{ ids: number[]; texts: string[] }> {
    return this.call("encode", [model, text]);
  }
  chat(model: string, messages: Message[], thinking?: boolean): Promise<{ ids: number[]; texts: string[] }> {
    return this.call("chat", [model, messages, thinking]);
  }
  trace(model: string, ids: number[], wish?: TraceWish): Promise<Trace> {
    return this.call("trace", [model, ids, wish]);
  }
  distribution(model: string, ids: number[], sampling?: Partial<Sampling>, edits?: Edit[]): Promise<{ raw: Float32Array; shaped: Float32Array; texts: string[] }> {
    return this.call("distribution", [model, ids, sampling, edits]);
  }
  generate(model: string, request: GenerateRequest, drawn: (token: Drawn) => void, signal?: AbortSignal): Promise<Finished> {
    return this.call("generate", [model, request], drawn, signal);
  }

  /** End the worker and forget all models. What was asked fails as stopped. */
  end(message = "The model was stopped.", code: EngineError["code"] = "stopped"): void {
    this.worker?.terminate();
    this.worker = null;
    const ended = [...this.waiting.values()];
    this.waiting.clear();
    for (const waiting of ended) waiting.failed(new EngineError(message, code));
  }

  private call<Kind>(method: keyof ModelEngine, given: unknown[], news?: (news: never) => void, signal?: AbortSignal): Promise<Kind> {
    return new Promise<Kind>((done, failed) => {
      this.serial += 1;
      const id = this.serial;
      this.waiting.set(id, { done: done as (value: unknown) => void, failed, news });
      try {
        this.worker ??= this.connect();
        this.worker.postMessage({ id, method, given } satisfies Ask);
      } catch (error) {
        this.waiting.delete(id);
        failed(new EngineError(`The model's worker could not be started (${String(error)}).`, "unsupported"));
        return;
      }
      const abort = (): void => this.abort(id);
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Ask the worker to end a call. One that says nothing any more (a template that never ends) is ended itself. */
  private abort(id: number): void {
    this.worker?.postMessage({ id, method: "abort" } satisfies Ask);
    const { worker, heard } = this;
    setTimeout(() => {
      if (!this.waiting.has(id) || this.worker !== worker) return;
      if (this.heard === heard) this.end("The model did not stop, so it was ended. Reload the page to load it again.");
      else this.abort(id); // it works on what another lab asked before
    }, this.patience);
  }

  private connect(): WorkerLike {
    const worker = this.start();
    worker.onmessage = (event: MessageEvent) => this.receive(event.data as Answer);
    worker.onerror = (event: ErrorEvent) => {
      event.preventDefault?.();
      this.end(event.message || "The model's worker could not be started; reload the page.", "unsupported");
    };
    return worker;
  }

  private receive(answer: Answer): void {
    this.heard += 1;
    const waiting = this.waiting.get(answer.id);
    if (!waiting) return;
    if ("news" in answer) {
      waiting.news?.(answer.news as never);
      return;
    }
    this.waiting.delete(answer.id);
    if ("error" in answer) waiting.failed(new EngineError(answer.error.message, answer.error.code));
    else waiting.done(answer.value);
  }
}

let shared: EngineClient | undefined;
/** The one engine of this visit. */
export function modelEngine(): EngineClient {
  shared ??= new EngineClient(
    () => new Worker(assetUrl("lmworker.js"), { type: "module", name: "model" }) as WorkerLike,
  );
  return shared;
}
