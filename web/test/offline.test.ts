import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, keep, keepOnly, keptList, plainAddress } from "../src/offline/keep";
import type { List, News, World } from "../src/offline/keep";

const SCOPE = "https://host/project/en/";

/** Cache Storage in memory; `room` is how many answers it takes. */
class Caches {
  held = new Map<string, Map<string, Response>>();
  constructor(private room = Infinity) {}
  open(name: string): Promise<Cache> {
    const cache = this.held.get(name) ?? this.held.set(name, new Map()).get(name)!;
    const put = async (url: string, response: Response): Promise<void> => {
      if (cache.size >= this.room) throw new DOMException("no room", "QuotaExceededError");
      cache.set(url, response);
    };
    return Promise.resolve({ match: (url: string) => Promise.resolve(cache.get(url)?.clone()), put } as unknown as Cache);
  }
  match = (url: string, { cacheName }: { cacheName: string }): Promise<Response | undefined> =>
    Promise.resolve(this.held.get(cacheName)?.get(url)?.clone());
  keys = (): Promise<string[]> => Promise.resolve([...this.held.keys()]);
  delete = (name: string): Promise<boolean> => Promise.resolve(this.held.delete(name));
}

interface Site { world: World; caches: Caches; news: News[]; asked: string[]; put(version: string, files: Record<string, string>): void; online: boolean; answers: Record<string, Response> }

function site(room?: number): Site {
  const caches = new Caches(room);
  const made: Site = {
    caches, news: [], asked: [], online: true, answers: {},
    put(version, files) {
      const list: List = { version, bytes: 0, files: Object.entries(files).map(([path, text]) => ({ path, bytes: text.length, hash: text })) };
      list.bytes = list.files.reduce((sum, file) => sum + file.bytes, 0);
      made.answers = Object.fromEntries(Object.entries({ ...files, "offline.json": JSON.stringify(list) }).map(([path, text]) => [new URL(path, SCOPE).href, new Response(text)]));
    },
    world: {
      caches: caches as unknown as CacheStorage,
      scope: SCOPE,
      tell: (news) => void made.news.push(news),
      fetch: async (address) => {
        const url = typeof address === "string" ? address : address.url;
        made.asked.push(url);
        if (!made.online) throw new TypeError("Failed to fetch");
        return made.answers[url]?.clone() ?? new Response("not here", { status: 404 });
      },
    },
  };
  return made;
}

const get = async (of: Site, url: string, version: string, mode = "cors"): Promise<string> =>
  (await answer(of.world, { url, mode, method: "GET" } as Request, version)).text();

test("a version is kept whole and answers without a connection", async () => {
  const s = site();
  s.put("one", { "./": "home", "playground/": "play", "assets/book.js": "code" });
  await keep(s.world, "one");
  assert.deepEqual(s.news.at(-1), { kind: "kept", version: "one" });
  assert.equal((s.news.at(-2) as { done: number }).done, 12);
  s.online = false;
  assert.equal(await get(s, `${SCOPE}playground/?stage=sft#top`, "one"), "play");
  assert.equal(await get(s, `${SCOPE}playground/index.html`, "one"), "play");
  assert.equal(await get(s, SCOPE, "one"), "home");
  assert.match(await get(s, `${SCOPE}other/`, "one", "navigate"), /not among those that were kept/);
  await assert.rejects(get(s, `${SCOPE}other.js`, "one"), TypeError);
  assert.equal((await keptList(s.world.caches, SCOPE))?.version, "one");
});

test("an error is never kept, and what failed leaves nothing", async () => {
  const s = site();
  s.put("one", { "./": "home", "a/": "page" });
  for (const [bad, why] of [[new Response("gone", { status: 404 }), /a\/ cannot be fetched \(404\)/], [new Response("part", { status: 206 }), /\(206\)/]] as const) {
    s.answers[`${SCOPE}a/`] = bad;
    await assert.rejects(keep(s.world, "one"), why);
    assert.equal(s.caches.held.size, 0);
    assert.equal(s.news.at(-1)?.kind, "failed");
  }
  const redirected = new Response("elsewhere");
  Object.defineProperty(redirected, "redirected", { value: true });
  s.answers[`${SCOPE}a/`] = Object.assign(redirected, { clone: () => redirected });
  await assert.rejects(keep(s.world, "one"), /cannot be fetched/);
  assert.equal(await get(s, `${SCOPE}missing/`, "one"), "not here", "the network's answer, as it is");
  assert.equal((await (await s.world.caches.open("minimind-site-/project/en/-one")).match(`${SCOPE}missing/`)), undefined);
});

test("a new version copies what did not change, and replaces the old one when it is whole", async () => {
  const s = site();
  s.put("one", { "./": "home", "a/": "old" });
  await keep(s.world, "one");
  s.asked.length = 0;
  s.put("two", { "./": "home", "a/": "new" });
  await keep(s.world, "two");
  assert.deepEqual(s.asked.filter((url) => !url.endsWith("offline.json")), [`${SCOPE}a/`]);
  assert.equal(await get(s, `${SCOPE}a/`, "one"), "old", "open pages stay with their own version");
  await keepOnly(s.world, "two");
  assert.deepEqual(await s.caches.keys(), ["minimind-site-/project/en/-two"]);
  assert.equal(await get(s, SCOPE, "two"), "home");
});

test("a version that changes while it is fetched is not kept", async () => {
  const s = site();
  s.put("one", { "./": "home" });
  const plain = s.world.fetch;
  s.world.fetch = async (address, init) => {
    const found = await plain(address, init);
    if (address === SCOPE) s.put("two", { "./": "other" });
    return found;
  };
  await assert.rejects(keep(s.world, "one"), /changed in between/);
  assert.equal(s.caches.held.size, 0);
  await assert.rejects(keep(s.world, "three"), /changed in between/);
});

test("full storage and a cut connection are told, and the version before stays", async () => {
  const full = site(1);
  full.put("one", { "./": "home", "a/": "page" });
  await assert.rejects(keep(full.world, "one"));
  assert.deepEqual(full.news.at(-1), { kind: "failed", why: "the browser's storage is full" });
  const cut = site();
  cut.put("one", { "./": "home" });
  await keep(cut.world, "one");
  cut.put("two", { "./": "other" });
  const plain = cut.world.fetch;
  cut.world.fetch = (address, init) => (address === SCOPE ? Promise.reject(new TypeError("cut")) : plain(address, init));
  await assert.rejects(keep(cut.world, "two"), /connection was cut/);
  assert.equal((await keptList(cut.world.caches, SCOPE))?.version, "one");
});

test("what a last page asks for after the removal keeps nothing anew", async () => {
  const s = site();
  s.put("one", { "./": "home" });
  await keep(s.world, "one");
  await keepOnly(s.world);
  assert.equal(await get(s, SCOPE, "one"), "home"); // from the network
  assert.deepEqual(await s.caches.keys(), []);
});

test("a neighbour on the same host keeps its own", async () => {
  const s = site();
  await s.caches.open("minimind-site-/other/en/-one");
  await keepOnly(s.world);
  assert.deepEqual(await s.caches.keys(), ["minimind-site-/other/en/-one"]);
  assert.equal(await keptList(s.world.caches, SCOPE), null);
});

test("an address is kept without what follows it", () => {
  assert.equal(plainAddress("https://h/en/a/index.html?x=1#y"), "https://h/en/a/");
  assert.equal(plainAddress("https://h/en/a.js"), "https://h/en/a.js");
});
