import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { EngineError } from "../src/engine/api";
import type { Progress } from "../src/engine/api";
import { Downloader } from "../src/engine/download";
import type { Parts } from "../src/engine/download";
import { CacheStore } from "../src/engine/store";
import type { Kept, Store } from "../src/engine/store";

const MODEL = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
const SHA256 = createHash("sha256").update(MODEL).digest("hex");
const EXPECTED = { bytes: MODEL.length, sha256: SHA256 };

/** How the server behaves in one test, and what it was asked. */
let cuts: number[] = []; // each answer ends after so many of its bytes
let ranges = true;
let etag: string | null = '"one"';
let body = MODEL;
let status = 0;
let asked: { range?: string; ifRange?: string }[] = [];
let server: Server;
let url = "";

function answer(request: IncomingMessage, response: ServerResponse): void {
  const range = request.headers.range;
  asked.push({ range, ifRange: request.headers["if-range"] as string | undefined });
  if (status) {
    response.writeHead(status).end("no");
    return;
  }
  const wanted = ranges && range && (!request.headers["if-range"] || request.headers["if-range"] === etag);
  const from = wanted ? Number(/bytes=(\d+)-/.exec(range)?.[1]) : 0;
  const part = body.subarray(from);
  response.writeHead(wanted ? 206 : 200, {
    "Content-Length": part.length,
    ...(etag ? { ETag: etag } : {}),
    ...(wanted ? { "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` } : {}),
  });
  const cut = cuts.shift();
  if (cut === undefined) response.end(part);
  else response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 30));
}

before(async () => {
  server = createServer(answer);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/lm/world-tiny/model.bin`;
});
after(() => void server.close());
beforeEach(() => {
  [cuts, ranges, etag, body, status, asked] = [[], true, '"one"', MODEL, 0, []];
});

class Memory implements Store {
  held = new Map<string, ArrayBuffer>();
  constructor(private outcome: Kept = "kept") {}
  read(sha256: string): Promise<ArrayBuffer | null> {
    return Promise.resolve(this.held.get(sha256) ?? null);
  }
  write(sha256: string, bytes: ArrayBuffer): Promise<Kept> {
    if (this.outcome === "kept") this.held.set(sha256, bytes.slice(0));
    return Promise.resolve(this.outcome);
  }
  remove(sha256: string): Promise<void> {
    this.held.delete(sha256);
    return Promise.resolve();
  }
  keepOnly(): Promise<void> {
    return Promise.resolve();
  }
}

const made = (parts: Partial<Parts> = {}): Downloader =>
  new Downloader({ fetch: (to, init) => fetch(to, init), store: new Memory(), subtle: crypto.subtle, pauses: [1, 1, 1], patience: 5000, ...parts });
const failure = (code: EngineError["code"], said: RegExp) => (error: unknown) =>
  error instanceof EngineError && error.code === code && said.test(error.message);

test("a download tells how far it is, and is not asked for twice", async () => {
  const seen: Progress[] = [];
  const store = new Memory();
  const once = made({ store });
  assert.deepEqual(new Uint8Array(await once.fetchBundle(url, EXPECTED, (p) => seen.push(p))), MODEL);
  assert.deepEqual(seen.at(-1), { loaded: MODEL.length, total: MODEL.length, from: "network" });
  assert.ok(seen.every((p, i) => p.loaded >= (seen[i - 1]?.loaded ?? 0)));
  await made({ store }).fetchBundle(url, EXPECTED, (p) => seen.push(p));
  assert.equal(seen.at(-1)?.from, "cache");
  assert.equal(asked.length, 1);
});

test("a cut download goes on from where it was", async () => {
  cuts = [100_000, 50_000];
  const notes: string[] = [];
  const bytes = await made().fetchBundle(url, EXPECTED, (p) => p.note && notes.push(p.note));
  assert.deepEqual(new Uint8Array(bytes), MODEL);
  assert.deepEqual(asked.map((a) => a.range), [undefined, "bytes=100000-", "bytes=150000-"]);
  assert.deepEqual(asked[1]?.ifRange, '"one"');
  assert.match(notes[0] ?? "", /cut at 97\.7 KB/);
});

test("without a hash or a strong ETag nothing is glued together", async () => {
  [cuts, etag] = [[100_000], 'W/"one"'];
  await made().fetchBundle(url, { bytes: MODEL.length });
  assert.deepEqual(asked.map((a) => a.range), [undefined, undefined]);
  [cuts, asked] = [[100_000], []];
  await made().fetchBundle(url, EXPECTED); // here the hash judges the sum
  assert.deepEqual(asked, [{ range: undefined, ifRange: undefined }, { range: "bytes=100000-", ifRange: undefined }]);
});

test("a server without ranges begins anew", async () => {
  [cuts, ranges] = [[100_000], false];
  assert.deepEqual(new Uint8Array(await made().fetchBundle(url, EXPECTED)), MODEL);
  assert.equal(asked.length, 2);
});

test("another version in the middle is fetched whole", async () => {
  cuts = [100_000];
  const old = MODEL.map((byte) => byte ^ 1);
  body = old;
  const whole = made({
    fetch: (to, init) => {
      if (asked.length === 1) [body, etag] = [MODEL, '"two"'];
      return fetch(to, init);
    },
  });
  assert.deepEqual(new Uint8Array(await whole.fetchBundle(url, EXPECTED)), MODEL);
  assert.deepEqual(asked.map((a) => a.ifRange), [undefined, '"one"']);
});

test("a server that is gone is named, and the next try goes on", async () => {
  cuts = [100_000, 0, 0, 0, 0];
  const one = made();
  await assert.rejects(one.fetchBundle(url, EXPECTED), failure("offline", /97\.7 KB of 293 KB have come/));
  cuts = [];
  assert.deepEqual(new Uint8Array(await one.fetchBundle(url, EXPECTED)), MODEL);
  assert.equal(asked.at(-1)?.range, "bytes=100000-");
});

test("stopping keeps what has come", async () => {
  cuts = [100_000, 0];
  const one = made();
  const stop = new AbortController();
  const begun = one.fetchBundle(url, EXPECTED, () => stop.abort(), stop.signal);
  await assert.rejects(begun, failure("stopped", /kept until/));
  await one.fetchBundle(url, EXPECTED);
  assert.match(asked.at(-1)?.range ?? "", /^bytes=[1-9]/);
  const already = AbortSignal.abort();
  await assert.rejects(made().fetchBundle(url, EXPECTED, undefined, already), failure("stopped", /stopped/));
});

test("a connection that brings nothing is a cut one", async () => {
  const silent = (_: string, init: RequestInit): Promise<Response> =>
    new Promise((_done, fail) => init.signal?.addEventListener("abort", () => fail(new Error("aborted"))));
  await assert.rejects(made({ fetch: silent, patience: 5 }).fetchBundle(url, EXPECTED), failure("offline", /does not answer/));
});

test("what is missing, damaged or too long is said", async () => {
  status = 404;
  await assert.rejects(made().fetchBundle(url, EXPECTED), failure("missing", /world-tiny\/model\.bin is not part of this copy/));
  status = 503;
  await assert.rejects(made().fetchBundle(url, EXPECTED), failure("offline", /does not answer/));
  [status, asked, body] = [0, [], MODEL.map((byte, i) => (i === 5 ? byte ^ 1 : byte))];
  await assert.rejects(made().fetchBundle(url, EXPECTED), failure("damaged", /its hash is not/));
  assert.equal(asked.length, 2, "once more, past the caches");
  body = new Uint8Array(MODEL.length + 1);
  await assert.rejects(made().fetchBundle(url, EXPECTED), failure("damaged", /larger than/));
});

test("a damaged copy in storage is replaced", async () => {
  const store = new Memory();
  store.held.set(SHA256, MODEL.map((byte) => byte ^ 1).buffer);
  const notes: string[] = [];
  await made({ store }).fetchBundle(url, EXPECTED, (p) => p.note && notes.push(p.note));
  assert.match(notes[0] ?? "", /was damaged/);
  assert.deepEqual(new Uint8Array(store.held.get(SHA256) ?? new ArrayBuffer(0)), MODEL);
});

test("storage that is denied, full or without hashes costs one line, never the model", async () => {
  const said = async (parts: Partial<Parts>): Promise<string> => {
    let last = "";
    await made(parts).fetchBundle(url, EXPECTED, (p) => (last = p.note ?? last));
    return last;
  };
  assert.match(await said({ store: new Memory("denied") }), /allows this page no storage/);
  assert.match(await said({ store: new Memory("full") }), /storage is full/);
  const insecure = new Memory();
  assert.match(await said({ store: insecure, subtle: undefined }), /not served over https/);
  assert.equal(insecure.held.size, 0, "what was not checked is not kept under its hash");
});

/** Cache Storage as browsers have it, with the faults that they have. */
function cacheStorage(fault?: string, room = Infinity): CacheStorage {
  const held = new Map<string, Response>();
  const cache = {
    match: (key: string) => Promise.resolve(held.get(key)?.clone()),
    put: async (key: string, value: Response) => {
      if (held.size >= room) throw new DOMException("no room", "QuotaExceededError");
      held.set(key, value);
    },
    delete: (key: string | Request) => Promise.resolve(held.delete(typeof key === "string" ? key : key.url)),
    keys: () => Promise.resolve([...held.keys()].map((key) => ({ url: key }))),
  };
  const open = () => (fault ? Promise.reject(new DOMException("denied", fault)) : Promise.resolve(cache));
  return { open } as unknown as CacheStorage;
}

test("Cache Storage: kept by hash, full, denied, absent", async () => {
  const [one, two] = [new ArrayBuffer(3), new ArrayBuffer(5)];
  const store = new CacheStore(cacheStorage(), "http://site/book/lmworker.js");
  assert.equal(await store.write("aa", one), "kept");
  assert.equal(await store.write("bb", two), "kept");
  assert.equal((await store.read("aa"))?.byteLength, 3);
  await store.keepOnly(["bb"]);
  assert.equal(await store.read("aa"), null);
  assert.equal((await store.read("bb"))?.byteLength, 5);
  await store.remove("bb");
  assert.equal(await store.read("bb"), null);

  const small = new CacheStore(cacheStorage(undefined, 1), "http://site/");
  assert.equal(await small.write("aa", one), "kept");
  assert.equal(await small.write("bb", two), "kept", "the other model gives way");
  assert.equal(await small.read("aa"), null);
  assert.equal(await new CacheStore(cacheStorage(undefined, 0), "http://site/").write("aa", one), "full");

  for (const storage of [cacheStorage("SecurityError"), undefined]) {
    const denied = new CacheStore(storage, "http://site/");
    assert.equal(await denied.write("aa", one), "denied");
    assert.equal(await denied.read("aa"), null);
    await denied.remove("aa");
    await denied.keepOnly([]);
  }
});

test("where even asking for the storage throws, it counts as denied", async () => {
  const had = Object.getOwnPropertyDescriptor(globalThis, "caches");
  Object.defineProperty(globalThis, "caches", { configurable: true, get: () => { throw new DOMException("sandboxed", "SecurityError"); } });
  try {
    assert.equal(await new CacheStore().write("aa", new ArrayBuffer(1)), "denied");
  } finally {
    if (had) Object.defineProperty(globalThis, "caches", had);
    else delete (globalThis as { caches?: unknown }).caches;
  }
});

test("a neighbour's models on the same host are left alone", async () => {
  const storage = cacheStorage();
  const [here, there] = [new CacheStore(storage, "http://site/a/w.js"), new CacheStore(storage, "http://site/b/w.js")];
  await here.write("aa", new ArrayBuffer(1));
  await there.write("aa", new ArrayBuffer(2));
  await here.keepOnly([]);
  assert.equal(await here.read("aa"), null);
  assert.equal((await there.read("aa"))?.byteLength, 2);
});
