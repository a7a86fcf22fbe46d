/**
 * The page's side of the Python worker: started at the first job, kept across instant navigation,
 * ended by `stop()`. One job runs at a time; of jobs waiting with the same key only the last is run.
 */

import { assetUrl } from "../assets";
import type { Control, Job, Listener, Message, Outcome } from "./protocol";

interface Waiting { id: number; key: string; job: Job; listener: Listener; done(outcome: Outcome | null): void }
/** What the client needs of a Worker; tests pass their own. */
export interface WorkerLike {
  postMessage(message: unknown): void;
  terminate(): void;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

export class PythonRuntime {
  private worker: WorkerLike | null = null;
  private running: Waiting | null = null;
  private queue: Waiting[] = [];
  private serial = 0;

  constructor(private start: () => WorkerLike) {}

  /** True once Python has answered at least once: the next answer will be quick. */
  warm = false;

  /**
   * Run a job. Resolves with its outcome, or null when a later job with the same key took its place
   * or `stop` ended it.
   */
  run(key: string, job: Job, listener: Listener = {}): Promise<Outcome | null> {
    return new Promise((done) => {
      const late = this.queue.filter((waiting) => waiting.key === key);
      this.queue = this.queue.filter((waiting) => waiting.key !== key);
      for (const waiting of late) waiting.done(null);
      this.serial += 1;
      this.queue.push({ id: this.serial, key, job, listener, done });
      this.next();
    });
  }

  /** Say something to the job of this key while it runs; false when it does not run (any more). */
  tell(key: string, control: Control): boolean {
    if (this.running?.key !== key) return false;
    this.worker?.postMessage({ id: this.running.id, ...control });
    return true;
  }

  get busy(): boolean {
    return this.running !== null;
  }

  /** End Python at once, whatever it does. The next job starts it again. */
  stop(): void {
    this.worker?.terminate();
    this.worker = null;
    this.warm = false;
    const ended = [this.running, ...this.queue];
    this.running = null;
    this.queue = [];
    for (const waiting of ended) waiting?.done(null);
  }

  private next(): void {
    if (this.running) return;
    const waiting = this.queue.shift();
    if (!waiting) return;
    this.running = waiting;
    try {
      this.worker ??= this.connect();
      this.worker.postMessage({ id: waiting.id, ...waiting.job });
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  private connect(): WorkerLike {
    const worker = this.start();
    worker.onmessage = (event: MessageEvent) => this.receive(event.data as Message);
    worker.onerror = (event: ErrorEvent) => {
      event.preventDefault?.();
      this.worker?.terminate();
      this.worker = null;
      this.fail(event.message || "The Python worker could not be started.");
    };
    return worker;
  }

  private receive(message: Message): void {
    const waiting = this.running;
    if (!waiting || message.id !== waiting.id) return;
    if (message.type === "status") waiting.listener.status?.(message.text);
    else if (message.type === "stdout") waiting.listener.stdout?.(message.text);
    else if (message.type === "begun") waiting.listener.begun?.(message);
    else if (message.type === "progress") waiting.listener.progress?.(message.events);
    else if (message.type === "saved") waiting.listener.saved?.(message.data);
    else {
      if (message.type !== "error") this.warm = true;
      this.running = null;
      waiting.done(message);
      this.next();
    }
  }

  private fail(message: string): void {
    const waiting = this.running;
    this.running = null;
    waiting?.done({ id: waiting.id, type: "error", message, traceback: "" });
    this.next();
  }
}

let shared: PythonRuntime | undefined;
/** The one Python of this visit. */
export function python(): PythonRuntime {
  shared ??= new PythonRuntime(
    () => new Worker(assetUrl("pyworker.js"), { type: "module", name: "python" }) as WorkerLike,
  );
  return shared;
}
