/** The worker's end: it takes calls, hands them to the engine and sends back what comes. */

import { Engine } from "./engine";
import { fetchBundle } from "./download";
import { openFiles } from "./open";
import { EngineError, type Shipped } from "./api";
import { CacheStore } from "./store";
import { serve } from "./wire";

const pause = (() => {
  // A message to oneself comes after those that wait; a timer would cost four milliseconds.
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return () => new Promise<void>((done) => (waiting.push(done), port2.postMessage(0)));
})();

async function list(url: string): Promise<unknown> {
  const answer = await fetch(url, { cache: "no-cache" }).catch(() => {
    throw new EngineError("The site cannot be reached; check the connection and try again.", "offline");
  });
  if (answer.ok) {
    return answer.json().then(forgetOthers, () => {
      throw new EngineError("The site's list of models is damaged; reload the page.", "damaged");
    });
  }
  throw new EngineError("The models are not part of this copy of the site; “make web” adds them.", "missing");
}

/** Earlier versions of the models, which no page asks for any more, leave the browser's storage. */
function forgetOthers(listed: unknown): unknown {
  const files = Array.isArray(listed) ? (listed as Shipped[]).flatMap((entry) => entry.files ?? []) : [];
  if (files.length) void new CacheStore().keepOnly(files.map(({ sha256 }) => sha256));
  return listed;
}

const folder = new URL("./lm/", import.meta.url).href;
serve(new Engine({ folder, fetchBundle, list, openFiles, pause }), {
  listen: (receive) => (self.onmessage = (event: MessageEvent) => receive(event.data)),
  send: (message, give) => self.postMessage(message, { transfer: give }),
});
