/**
 * Models that were fetched once, kept in the browser's Cache Storage under the hash of their bytes:
 * a new version of a model has another hash, so an old copy is never taken for it. Storage is a
 * favour that a browser may refuse (private windows, blocked site data), run out of, or take back;
 * then nothing is kept, and that is all.
 */

export type Kept = "kept" | "denied" | "full";

export interface Store {
  /** The bytes, or null where there are none or they cannot be read. Not yet checked. */
  read(sha256: string): Promise<ArrayBuffer | null>;
  write(sha256: string, bytes: ArrayBuffer): Promise<Kept>;
  remove(sha256: string): Promise<void>;
  /** Remove all others: earlier versions, which no page asks for any more. */
  keepOnly(hashes: string[]): Promise<void>;
}

const NAME = "minimind-models-1";

/** What stands for the hash in Cache Storage, which knows only addresses. Nothing is fetched from it. */
function address(sha256: string, base: string): string {
  return new URL(`kept-model/${encodeURIComponent(sha256)}`, base).href;
}

/** Undefined outside secure contexts (http:// on another machine); in a sandboxed frame even asking throws. */
function cacheStorage(): CacheStorage | undefined {
  try {
    return globalThis.caches;
  } catch {
    return undefined;
  }
}

export class CacheStore implements Store {
  constructor(
    private storage: CacheStorage | undefined = cacheStorage(),
    private base: string = globalThis.location?.href ?? "http://localhost/",
  ) {}

  async read(sha256: string): Promise<ArrayBuffer | null> {
    try {
      const cache = await this.open();
      const answer = await cache?.match(address(sha256, this.base));
      return (await answer?.arrayBuffer()) ?? null;
    } catch {
      return null; // taken back, or denied: the same to whoever reads
    }
  }

  async write(sha256: string, bytes: ArrayBuffer): Promise<Kept> {
    try {
      const cache = await this.open();
      if (!cache) return "denied";
      const key = address(sha256, this.base);
      try {
        await cache.put(key, new Response(bytes));
      } catch (error) {
        if (!isFull(error)) throw error;
        await this.keepOnly([sha256]); // make room at the cost of the other models, once
        await cache.put(key, new Response(bytes));
      }
      return "kept";
    } catch (error) {
      return isFull(error) ? "full" : "denied";
    }
  }

  async remove(sha256: string): Promise<void> {
    try {
      await (await this.open())?.delete(address(sha256, this.base));
    } catch {
      // Denied: then there is nothing to remove either.
    }
  }

  async keepOnly(hashes: string[]): Promise<void> {
    const kept = new Set(hashes.map((hash) => address(hash, this.base)));
    try {
      const cache = await this.open();
      for (const request of (await cache?.keys()) ?? []) {
        const ours = request.url.startsWith(address("", this.base)); // not those of a neighbour
        if (ours && !kept.has(request.url)) await cache?.delete(request);
      }
    } catch {
      // Denied, as above.
    }
  }

  private async open(): Promise<Cache | undefined> {
    return this.storage?.open(NAME);
  }
}

function isFull(error: unknown): boolean {
  return (error as { name?: unknown } | null)?.name === "QuotaExceededError";
}
