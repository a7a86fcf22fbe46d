/** "Keep this site for offline reading": a button, what it costs, how far it is, and the way back. */

import { assetUrl } from "../assets";
import { claim, h, statusLine } from "../dom";
import { size } from "../engine/guard";
import { keepOnly, keptList } from "./keep";
import type { List, News } from "./keep";

/** The pages lie two folders above the scripts. */
const siteBase = (): string => assetUrl("../../");

/** Undefined where the browser has none, or denies them with all storage; in a sandboxed frame asking throws. */
function serviceWorkers(): ServiceWorkerContainer | undefined {
  try {
    return "caches" in globalThis && globalThis.caches ? (navigator as { serviceWorker?: ServiceWorkerContainer }).serviceWorker : undefined;
  } catch {
    return undefined;
  }
}

export function upgradeOffline(root: HTMLElement): () => void {
  if (!claim(root)) return () => undefined;
  const status = statusLine();
  const bar = h("progress", { class: "mm-offline__bar", max: 1, value: 0, hidden: true, "aria-label": "Kept so far" });
  const button = h("button", { type: "button", class: "mm-button", hidden: true });
  root.append(h("div", { class: "mm-offline__row" }, button, bar), status);
  const workers = serviceWorkers();
  const say = (text: string): void => {
    status.textContent = text;
  };
  if (!workers) {
    say("This browser cannot keep the site for reading offline (it needs https, and a window that is not private).");
    return () => undefined;
  }
  const hear = (event: MessageEvent): void => news(event.data as News);
  workers.addEventListener("message", hear);
  void refresh();
  return () => workers.removeEventListener("message", hear);

  async function refresh(note = ""): Promise<void> {
    try {
      const kept = await keptList(caches, siteBase());
      if (kept) offerRemoval(kept, note);
      else await offerKeeping(note);
    } catch {
      say("This browser does not let the page keep anything.");
    }
  }

  function offer(label: string, act: () => Promise<void>): void {
    const had = document.activeElement === button;
    button.textContent = label;
    button.hidden = false;
    button.disabled = false;
    button.onclick = () => void act();
    bar.hidden = true;
    if (had) button.focus();
  }

  function offerRemoval(kept: List, note: string): void {
    offer("Remove the kept site", remove);
    say(note || `The site is kept in this browser (${size(kept.bytes)}) and works without a connection.`);
  }

  async function offerKeeping(note: string): Promise<void> {
    const answer = await fetch(new URL("offline.json", siteBase()).href, { cache: "no-cache" }).catch(() => null);
    if (!answer?.ok) {
      button.hidden = true;
      say(note || "This copy of the site was built without the list that offline reading needs.");
      return;
    }
    const list = (await answer.json()) as List;
    offer("Keep this site for offline reading", () => keepIt(list));
    say(note || `Takes ${size(list.bytes)} of this browser's storage: all pages, Python and the models.`);
  }

  async function keepIt(list: List): Promise<void> {
    button.disabled = true;
    bar.hidden = false;
    bar.value = 0;
    say("Fetching the site …");
    // Asks the browser not to throw it away when space gets short; it may say no.
    await navigator.storage?.persist?.().catch(() => false);
    const room = await navigator.storage?.estimate?.().catch(() => undefined);
    const free = (room?.quota ?? Infinity) - (room?.usage ?? 0);
    if (free < list.bytes) {
      await refresh(`The site needs ${size(list.bytes)}, and this browser has ${size(free)} left for it.`);
      return;
    }
    try {
      await workers?.register(new URL("sw.js", siteBase()).href, { scope: siteBase() });
    } catch {
      await refresh("This browser does not let the site be kept.");
    }
  }

  function news(told: News): void {
    if (told.kind === "keeping") {
      bar.hidden = false;
      bar.value = told.done / told.total;
      button.disabled = true;
    } else if (told.kind === "kept") void refresh();
    else void abandon(told.why);
  }

  /** An install that failed leaves a registration that would keep trying; it goes, unless one stood before. */
  async function abandon(why: string): Promise<void> {
    const standing = await keptList(caches, siteBase()).catch(() => null);
    if (!standing) await unregister();
    await refresh(standing ? `The new version could not be kept: ${why}. The one before stays.` : `The site could not be kept: ${why}. Nothing is stored.`);
  }

  async function remove(): Promise<void> {
    button.disabled = true;
    await unregister();
    await keepOnly({ caches, scope: siteBase(), fetch, tell: () => undefined });
    await refresh("Removed. Nothing of the site is kept any more.");
  }

  async function unregister(): Promise<void> {
    await (await workers?.getRegistration(siteBase()))?.unregister();
  }
}
