/**
 * Fetch a model once: with progress, from where it was cut, checked against its hash, and kept.
 *
 * A cut download goes on by a Range request (RFC 9110, section 14). `If-Range` makes a server that
 * has another version by now send the whole of it; it needs a strong ETag. Where there is none the
 * rest is asked for all the same if a hash will judge the sum. A server that knows no ranges answers
 * 200, and the download begins anew.
 */

import { EngineError } from "./api";
import type { Progress } from "./api";
import { size } from "./guard";
import { CacheStore } from "./store";
import type { Store } from "./store";

/** `bytes` is exact. Without `sha256` nothing is kept, as nothing could be trusted. */
export interface Expected { bytes: number; sha256?: string }
type Tell = (progress: Progress) => void;

/** What the download stands on; tests pass their own. */
export interface Parts {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  store: Store;
  /** Undefined outside secure contexts. */
  subtle: Pick<SubtleCrypto, "digest"> | undefined;
  /** Milliseconds before each new try; as many tries in a row that bring nothing. */
  pauses: number[];
  /** Milliseconds without a byte after which a connection counts as cut. */
  patience: number;
}

/** What came so far, kept when a download stops, so that the next call goes on from there. */
interface Pieces { bytes: Uint8Array<ArrayBuffer>; filled: number; etag: string | null }

class Cut extends Error {}

export class Downloader {
  private partial = new Map<string, Pieces>();

  constructor(private parts: Parts) {}

  async fetchBundle(url: string, expected: Expected, progress: Tell = () => undefined, signal?: AbortSignal): Promise<ArrayBuffer> {
    const { sha256, bytes: total } = expected;
    const kept = sha256 ? await this.fromStore(sha256, total, progress) : null;
    if (kept) return kept;
    const tell = (loaded: number, note?: string): void => progress({ loaded, total, from: "network", ...(note ? { note } : {}) });
    let bytes = await this.transfer(url, expected, tell, signal, false);
    let sound = await this.matches(bytes.buffer, sha256);
    if (sound === false) {
      // Pieces of two versions, or a bad copy on the way: once more, past every cache.
      tell(0, "What came was damaged; it is fetched anew.");
      bytes = await this.transfer(url, expected, tell, signal, true);
      sound = await this.matches(bytes.buffer, sha256);
    }
    if (sound === false) {
      throw new EngineError(`${nameOf(url)} arrives damaged: its hash is not the one that this site expects. Reload the page; if it stays so, the site's copy is at fault.`, "damaged");
    }
    const note = sound === null && sha256 ? "This page is not served over https, so only the length of the model was checked." : await this.keep(sha256, bytes.buffer);
    tell(total, note);
    return bytes.buffer;
  }

  /** The checked copy in the browser's storage, or null. A damaged one is thrown away. */
  private async fromStore(sha256: string, total: number, progress: Tell): Promise<ArrayBuffer | null> {
    const kept = await this.parts.store.read(sha256);
    if (!kept) return null;
    if (kept.byteLength === total && (await this.matches(kept, sha256)) !== false) {
      progress({ loaded: total, total, from: "cache" });
      return kept;
    }
    await this.parts.store.remove(sha256);
    progress({ loaded: 0, total, from: "network", note: "The copy kept in this browser was damaged; it is fetched anew." });
    return null;
  }

  private async keep(sha256: string | undefined, bytes: ArrayBuffer): Promise<string | undefined> {
    const outcome = sha256 ? await this.parts.store.write(sha256, bytes) : "kept";
    if (outcome === "kept") return undefined;
    const why = outcome === "full" ? "the browser's storage is full" : "this browser allows this page no storage";
    return `The model is not kept for the next visit: ${why}.`;
  }

  /** Whether the bytes have this hash; null where nothing can compute it, or none was given. */
  private async matches(bytes: ArrayBuffer, sha256: string | undefined): Promise<boolean | null> {
    if (!sha256 || !this.parts.subtle) return null;
    const digest = new Uint8Array(await this.parts.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
  }

  /** All bytes, over as many answers as it takes. */
  private async transfer(url: string, expected: Expected, tell: (loaded: number, note?: string) => void, signal: AbortSignal | undefined, anew: boolean): Promise<Uint8Array<ArrayBuffer>> {
    const key = `${url}#${expected.sha256 ?? ""}`;
    const state = (anew ? undefined : this.partial.get(key)) ?? begin(expected.bytes);
    this.partial.delete(key); // two calls must not write into one buffer
    let failures = 0;
    try {
      for (;;) {
        const before = state.filled;
        try {
          await this.one(url, state, expected, tell, signal, anew);
          return state.bytes;
        } catch (error) {
          if (!(error instanceof Cut) || signal?.aborted) throw error;
          failures = state.filled > before ? 1 : failures + 1;
          const pause = this.parts.pauses[failures - 1];
          if (pause === undefined) throw new EngineError(offline(url, state.filled, expected.bytes), "offline");
          tell(state.filled, `The connection was cut at ${size(state.filled)}; going on from there.`);
          await rest(pause, signal);
        }
      }
    } catch (error) {
      if (state.filled > 0 && !(error instanceof EngineError && error.code === "damaged")) this.partial.set(key, state);
      if (signal?.aborted) throw new EngineError("Loading was stopped. What has come is kept until the page is closed.", "stopped");
      throw error;
    }
  }

  /** One request, read to its end. Throws Cut where another may help. */
  private async one(url: string, state: Pieces, expected: Expected, tell: (loaded: number, note?: string) => void, signal: AbortSignal | undefined, anew: boolean): Promise<void> {
    const patience = new AbortController();
    let timer = setTimeout(() => patience.abort(), this.parts.patience);
    const stop = (): void => patience.abort();
    signal?.addEventListener("abort", stop);
    try {
      if (signal?.aborted) throw new Cut();
      const judged = Boolean(expected.sha256 && this.parts.subtle);
      if (state.filled > 0 && !state.etag && !judged) restart(state);
      const headers: Record<string, string> = state.filled > 0 ? { Range: `bytes=${state.filled}-`, ...(state.etag ? { "If-Range": state.etag } : {}) } : {};
      const answer = await this.parts.fetch(url, { headers, signal: patience.signal, cache: anew ? "reload" : "default" }).catch(cut);
      judge(answer, url, state, expected.bytes);
      const reader = answer.body?.getReader();
      if (!reader) throw new Cut();
      for (;;) {
        const { done, value } = await reader.read().catch(cut);
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => patience.abort(), this.parts.patience);
        if (state.filled + value.length > expected.bytes) {
          void reader.cancel().catch(() => undefined);
          throw new EngineError(`${nameOf(url)} is larger than the ${size(expected.bytes)} that this site expects; the site's copy is at fault.`, "damaged");
        }
        state.bytes.set(value, state.filled);
        state.filled += value.length;
        tell(state.filled);
      }
      if (state.filled < expected.bytes) throw new Cut();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }
}

function begin(bytes: number): Pieces {
  try {
    return { bytes: new Uint8Array(bytes), filled: 0, etag: null };
  } catch {
    throw new EngineError(`There is no memory for the ${size(bytes)} of this model. Close other pages, or take a smaller one.`, "memory");
  }
}

function restart(state: Pieces): void {
  state.filled = 0;
  state.etag = null;
}

function cut(): never {
  throw new Cut();
}

/** Make of an answer's head what it means for the bytes so far; throw where there are none in it. */
function judge(answer: Response, url: string, state: Pieces, total: number): void {
  const { status } = answer;
  if (status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers.get("Content-Range") ?? "");
    const fits = range && Number(range[1]) === state.filled && (range[2] === "*" || Number(range[2]) === total);
    if (fits) return;
    restart(state); // a part of something else
    throw new Cut();
  }
  if (status === 200) {
    restart(state); // all of it, whatever was asked for
    const etag = answer.headers.get("ETag");
    state.etag = etag?.startsWith('"') ? etag : null; // a weak one (W/) may name other bytes
    return;
  }
  if (status === 416) restart(state);
  if (status === 416 || status === 408 || status === 429 || status >= 500) throw new Cut();
  throw new EngineError(`${nameOf(url)} is not part of this copy of the site (the server answers ${status}). “make web” builds it.`, "missing");
}

function offline(url: string, filled: number, total: number): string {
  const got = filled > 0 ? ` ${size(filled)} of ${size(total)} have come; the next try goes on from there.` : "";
  return `${nameOf(url)} cannot be fetched: the server does not answer. Look at the connection and try again.${got}`;
}

/** The last two parts of an address: which model, which file. */
function nameOf(url: string): string {
  return url.split(/[?#]/)[0]?.split("/").slice(-2).join("/") ?? url;
}

function rest(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(finish, ms);
    function finish(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      done();
    }
    signal?.addEventListener("abort", finish);
  });
}

let shared: Downloader | undefined;

/**
 * The bytes behind `url`, from this browser's storage or the network. EngineError: "missing",
 * "offline", "damaged", "memory", or "stopped" by the signal.
 */
export function fetchBundle(url: string, expected: Expected, progress?: Tell, signal?: AbortSignal): Promise<ArrayBuffer> {
  shared ??= new Downloader({
    fetch: (address, init) => fetch(address, init),
    store: new CacheStore(),
    subtle: globalThis.crypto?.subtle,
    pauses: [300, 1000, 3000],
    patience: 30_000,
  });
  return shared.fetchBundle(url, expected, progress, signal);
}
