/** Calls over messages: the page's end and the worker's end of the same few sentences. */

import { EngineError, type ModelEngine } from "./api";

type Method = keyof ModelEngine;
/** From the page: a call, or the wish to end one. */
export type Ask = { id: number; method: Method; given: unknown[] } | { id: number; method: "abort" };
/** From the worker: news while it works, then one answer. */
export type Answer =
  | { id: number; news: unknown }
  | { id: number; value: unknown }
  | { id: number; error: { message: string; code: EngineError["code"] } };

export interface Line<In, Out> {
  listen(receive: (message: In) => void): void;
  send(message: Out, give: Transferable[]): void;
}

/** The methods that tell news while they work; they also take a signal. */
const TELLING: Partial<Record<Method, true>> = { load: true, generate: true };

/** Answer what comes over the line with the engine. */
export function serve(engine: ModelEngine, line: Line<Ask, Answer>): void {
  const running = new Map<number, AbortController>();
  const answer = async (ask: Extract<Ask, { given: unknown[] }>): Promise<Answer> => {
    const { id, method, given } = ask;
    const stop = new AbortController();
    running.set(id, stop);
    try {
      const extra = TELLING[method] ? [(news: unknown) => line.send({ id, news }, []), stop.signal] : [];
      const call = engine[method] as (...all: unknown[]) => Promise<unknown>;
      return { id, value: await call.apply(engine, [...given, ...extra]) };
    } catch (error) {
      if (error instanceof EngineError) return { id, error: { message: error.message, code: error.code } };
      const full = error instanceof RangeError;
      const message = full ? "The browser has no memory left for this; close other tabs, or take a smaller model." : `The model's engine failed: ${String(error)}`;
      return { id, error: { message, code: full ? "memory" : "unsupported" } };
    } finally {
      running.delete(id);
    }
  };
  line.listen((ask) => {
    if (ask.method === "abort") running.get(ask.id)?.abort();
    else void answer(ask).then((said) => line.send(said, "value" in said ? buffers(said.value) : []));
  });
}

/** The memory behind the arrays of an answer, which moves to the page instead of being copied. */
function buffers(value: unknown, found: Set<ArrayBuffer> = new Set(), deep = 0): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) found.add(value.buffer as ArrayBuffer);
  else if (deep < 3 && typeof value === "object" && value !== null) {
    for (const part of Object.values(value)) if (typeof part === "object") buffers(part, found, deep + 1);
  }
  return [...found];
}
