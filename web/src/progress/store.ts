/** The reader's progress in localStorage; in memory, with a note, where storage is denied. */

import { empty, merge, parse } from "./model";
import type { ModuleProgress, Progress } from "./model";

export const KEY = "minimind:progress:v1";
type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

export class Store {
  private state: Progress = empty();
  private listeners = new Set<() => void>();
  private storage: Storage | null;
  /** False when nothing survives this visit; the page says so. */
  durable = true;

  constructor(storage: Storage | null) {
    this.storage = storage;
    this.durable = storage !== null;
    this.reload();
  }

  /** Read again what is stored: another tab may have written. */
  reload(): void {
    try {
      const text = this.storage?.getItem(KEY);
      if (text) this.state = parse(text);
    } catch {
      // Unreadable or denied: start empty, and never overwrite before the reader does something.
    }
  }

  module(slug: string): ModuleProgress {
    return this.state.modules[slug] ?? {};
  }

  all(): Progress {
    return this.state;
  }

  /** Change one module's entry and keep it at once. */
  update(slug: string, change: (entry: ModuleProgress) => void): void {
    this.reload();
    const entry = structuredClone(this.module(slug));
    change(entry);
    this.state.modules[slug] = entry;
    this.save();
  }

  import(text: string): void {
    this.state = merge(this.state, parse(text));
    this.save();
  }

  export(): string {
    return `${JSON.stringify(this.state, null, 2)}\n`;
  }

  reset(): void {
    this.state = empty();
    try {
      this.storage?.removeItem(KEY);
    } catch {
      this.durable = false;
    }
    this.changed();
  }

  /** Tell when anything changed; returns how to stop. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed(): void {
    for (const listener of this.listeners) listener();
  }

  private save(): void {
    try {
      if (!this.storage) throw new Error("denied");
      this.storage.setItem(KEY, JSON.stringify(this.state));
    } catch {
      this.durable = false;
      this.storage = null;
    }
    this.changed();
  }
}

function browserStorage(): Storage | null {
  try {
    const probe = "minimind:probe";
    localStorage.setItem(probe, "1");
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    return null;
  }
}

let shared: Store | undefined;
/** The one store of this visit. */
export function store(): Store {
  if (!shared) {
    const mine = new Store(browserStorage());
    shared = mine;
    window.addEventListener("storage", (event) => {
      if (event.key !== KEY) return;
      mine.reload();
      mine.changed();
    });
  }
  return shared;
}

export const now = (): string => new Date().toISOString();
