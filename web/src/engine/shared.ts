/**
 * One load for all who ask for it: each hears how far it is, each may leave, and it ends when the
 * last one has left. A reader who stops one view must not stop the other.
 */

import { EngineError, type Progress } from "./api";

type Tell = (progress: Progress) => void;

export class Shared<Kind> {
  readonly answer: Promise<Kind>;
  private readonly stop = new AbortController();
  private readonly listeners = new Set<Tell>();
  private waiting = 0;
  private done = false;
  /** The answer, once it is there. */
  value: Kind | undefined;

  constructor(work: (tell: Tell, signal: AbortSignal) => Promise<Kind>) {
    this.answer = work((progress) => this.listeners.forEach((tell) => tell(progress)), this.stop.signal);
    this.answer.then((value) => ((this.value = value), (this.done = true)), () => (this.done = true));
  }

  /** True once all have left: who comes now must begin anew. */
  get stopped(): boolean {
    return this.stop.signal.aborted;
  }

  /** Wait for the answer with the others. The signal ends this wait, and the work with the last one. */
  join(tell?: Tell, signal?: AbortSignal): Promise<Kind> {
    if (tell) this.listeners.add(tell);
    this.waiting++;
    return new Promise<Kind>((resolve, reject) => {
      let here = true;
      const leave = (): void => {
        if (!here) return;
        here = false;
        if (tell) this.listeners.delete(tell);
        this.waiting--;
        signal?.removeEventListener("abort", abort);
      };
      const abort = (): void => {
        leave();
        if (this.waiting === 0 && !this.done) this.stop.abort();
        reject(new EngineError("Loading was stopped.", "stopped"));
      };
      this.answer.then(resolve, reject).finally(leave);
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort);
    });
  }
}
