/**
 * What the service worker does: keeps one version of the site, whole, and answers from it.
 *
 * A version is fetched all at once or not at all, and never mixed with another: a page of today
 * with yesterday's script would fail in ways that nobody can reproduce. Files that did not change
 * are copied from the version before. Nothing is kept but what the list names, and only answers
 * that are sound: an error page that was kept would be shown for ever.
 */

/** offline.json, which the site's build writes (minimind_wiki/book/offline.py). */
export interface List {
  version: string;
  bytes: number;
  files: { path: string; bytes: number; hash: string }[];
}

export type News =
  | { kind: "keeping"; done: number; total: number }
  | { kind: "kept"; version: string }
  | { kind: "failed"; why: string };

export interface World {
  caches: CacheStorage;
  fetch: (address: string | Request, init?: RequestInit) => Promise<Response>;
  /** Address below which the site lies, with a slash at its end. */
  scope: string;
  tell: (news: News) => void;
}

const PREFIX = "minimind-site-";
const LIST = "offline.json";
const AT_ONCE = 4;

/** Two copies of the site on one host (under different paths) must not remove each other's. */
function prefix(scope: string): string {
  return `${PREFIX}${new URL(scope).pathname}-`;
}

/** The address under which a page is kept: without query, anchor and index.html. */
export function plainAddress(url: string): string {
  const address = new URL(url);
  address.search = "";
  address.hash = "";
  address.pathname = address.pathname.replace(/\/index\.html$/, "/");
  return address.href;
}

async function readList({ fetch, scope }: World): Promise<List> {
  const answer = await fetch(new URL(LIST, scope).href, { cache: "no-store" });
  if (!answer.ok) throw new Error("the list of its files is missing");
  return (await answer.json()) as List;
}

/** Fetch this version of the site into a cache of its own. Throws, and leaves nothing, if it fails. */
export async function keep(world: World, version: string): Promise<void> {
  const name = prefix(world.scope) + version;
  try {
    const list = await readList(world);
    if (list.version !== version) throw new Error("the site changed in between; try again");
    await fill(world, name, list);
    // A new version that was published meanwhile would leave files of both.
    if ((await readList(world)).version !== version) throw new Error("the site changed in between; try again");
    const cache = await world.caches.open(name);
    await cache.put(new URL(LIST, world.scope).href, Response.json(list)); // the mark that all is there
    world.tell({ kind: "kept", version });
  } catch (error) {
    await world.caches.delete(name);
    const full = (error as { name?: string }).name === "QuotaExceededError";
    world.tell({ kind: "failed", why: full ? "the browser's storage is full" : error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

async function fill(world: World, name: string, list: List): Promise<void> {
  const cache = await world.caches.open(name);
  const old = await before(world, name);
  const left = [...list.files];
  let done = 0;
  const next = async (): Promise<void> => {
    for (let file = left.shift(); file; file = left.shift()) {
      const url = new URL(file.path, world.scope).href;
      const copy = old?.hashes.get(file.path) === file.hash ? await old.cache.match(url) : undefined;
      await cache.put(url, copy ?? (await sound(world, url, file.path)));
      done += file.bytes;
      world.tell({ kind: "keeping", done, total: list.bytes });
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  } catch (error) {
    left.length = 0; // the others stop too
    throw error;
  }
}

/** The version that is kept so far, if it is whole. */
async function before(world: World, but: string): Promise<{ cache: Cache; hashes: Map<string, string> } | null> {
  for (const name of await ours(world)) {
    const cache = await world.caches.open(name);
    const list = name === but ? undefined : await cache.match(new URL(LIST, world.scope).href);
    if (list) return { cache, hashes: new Map(((await list.json()) as List).files.map(({ path, hash }) => [path, hash])) };
  }
  return null;
}

/** The file itself: no error, and nothing that another address answered. */
async function sound({ fetch }: World, url: string, path: string): Promise<Response> {
  const answer = await fetch(url, { cache: "no-cache" }).catch(() => {
    throw new Error("the connection was cut");
  });
  if (answer.status !== 200 || answer.redirected) throw new Error(`${path} cannot be fetched (${answer.status})`);
  return answer;
}

async function ours({ caches, scope }: World): Promise<string[]> {
  return (await caches.keys()).filter((name) => name.startsWith(prefix(scope)));
}

/** Remove all versions but this one; all of them without one. */
export async function keepOnly(world: World, version?: string): Promise<void> {
  for (const name of await ours(world)) {
    if (name !== prefix(world.scope) + version) await world.caches.delete(name);
  }
}

/** The kept file, or the network's; a page that is neither says so. */
export async function answer(world: World, request: Request, version: string): Promise<Response> {
  const kept = await fromCache(world, request, version);
  if (kept) return kept;
  try {
    return await world.fetch(request);
  } catch (error) {
    if (request.mode !== "navigate") throw error;
    return new Response("<!doctype html><meta charset=utf-8><title>Not kept</title><p>This page is not among those that were kept, and there is no connection. <a href=\"./\">Back</a></p>", {
      status: 503,
      headers: { "Content-Type": "text/html; charset=utf-8" },
    });
  }
}

async function fromCache(world: World, request: Request, version: string): Promise<Response | undefined> {
  try {
    // not open(), which makes the cache anew when a last page asks after its removal
    return await world.caches.match(plainAddress(request.url), { cacheName: prefix(world.scope) + version });
  } catch {
    return undefined; // storage was taken back: the network is left
  }
}

/** What is kept, or null: the list of the version that is whole. */
export async function keptList(caches: CacheStorage, scope: string): Promise<List | null> {
  for (const name of (await caches.keys()).filter((name) => name.startsWith(prefix(scope)))) {
    const list = await (await caches.open(name)).match(new URL(LIST, scope).href);
    if (list) return (await list.json()) as List;
  }
  return null;
}
