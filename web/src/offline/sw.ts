/**
 * The service worker, registered only by a reader who asks for it. The site's build puts its version
 * in the place of __VERSION__: each build is another script, which is how browsers find a new one.
 * A new version waits until no page of the old one is open.
 */

import { answer, keep, keepOnly } from "./keep";
import type { News, World } from "./keep";

/** What TypeScript's page types lack of a service worker. */
interface Scope {
  registration: { scope: string };
  clients: { claim(): Promise<void>; matchAll(options: object): Promise<{ postMessage(news: News): void }[]> };
  addEventListener(type: string, handle: (event: Happening) => void): void;
}
interface Happening {
  request: Request;
  waitUntil(work: Promise<unknown>): void;
  respondWith(answer: Promise<Response>): void;
}

const VERSION = "__VERSION__";
const worker = self as unknown as Scope;
const world: World = {
  caches,
  fetch: (address, init) => fetch(address, init),
  scope: worker.registration.scope,
  tell: (news) => {
    void worker.clients.matchAll({ includeUncontrolled: true, type: "window" }).then((pages) => pages.forEach((page) => page.postMessage(news)));
  },
};

worker.addEventListener("install", (event) => event.waitUntil(keep(world, VERSION)));
worker.addEventListener("activate", (event) => event.waitUntil(keepOnly(world, VERSION).then(() => worker.clients.claim())));
worker.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const list = new URL("offline.json", world.scope).href; // must tell what the site has now
  if (method === "GET" && url.startsWith(world.scope) && !url.startsWith(list)) event.respondWith(answer(world, event.request, VERSION));
});
