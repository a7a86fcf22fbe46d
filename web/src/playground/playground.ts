/** The playground: views of what a model does, over one engine. Its state is the page's address. */

import { debounce, h, statusLine } from "../dom";
import type { ModelEngine } from "../engine/api";
import { chatView } from "./chat";
import { inspectView } from "./inspect";
import { openOwn } from "./picker";
import { tabs } from "./parts";
import { reshapeView } from "./reshape";
import { Session } from "./session";
import { stagesView } from "./stages";
import type { Host, Recorded, View } from "./stages";
import { fromQuery, TABS, toQuery } from "./state";
import type { Tab } from "./state";

const TITLES: Record<Tab, string> = { stages: "Stages", chat: "Chat", inspect: "Inspect", reshape: "Reshape" };

/** Browsers refuse an address that changes too often: Safari after a hundred times in half a minute. */
const AT_ONCE = 25; // changes in ten seconds; further ones wait for a pause
const QUIET = 300;

/** Build the playground in `root` in place of its static form; returns what takes it down. */
export function startPlayground(root: HTMLElement, engine: ModelEngine, recorded: Recorded): () => void {
  const state = fromQuery(location.search, recorded.prompt);
  const session = new Session(engine);
  const status = statusLine("mm-status mm-sr");
  const views = new Map<Tab, View>();
  let here = location.href;
  let written: number[] = [];
  const later = debounce(write, QUIET);
  let gone = false; // the address belongs to the next page then
  const host: Omit<Host, "life"> = {
    session,
    say: (line) => { status.textContent = line; },
    changed: remember,
    inspect: (wish) => {
      Object.assign(state.inspect, { path: [], at: 0, say: [], scale: 1 }, wish);
      replace("inspect");
      go("inspect");
    },
  };
  const make: Record<Tab, (host: Host) => View> = {
    stages: (host) => stagesView(host, state.stages, recorded),
    chat: (host) => chatView(host, state.chat),
    inspect: (host) => inspectView(host, state.inspect),
    reshape: (host) => reshapeView(host, state.reshape),
  };
  const panel = (name: Tab): HTMLElement => h("div", { class: "mm-panel", "data-panel": name });
  const panels: Record<Tab, HTMLElement> = { stages: panel("stages"), chat: panel("chat"), inspect: panel("inspect"), reshape: panel("reshape") };
  const bar = tabs("Views of the playground", TABS.map((name) => ({ name, title: TITLES[name], panel: panels[name] })), (name) => go(name as Tab));
  const copied = h("button", { type: "button", class: "mm-button mm-button--quiet", "data-action": "link", onclick: () => void copy() }, "Copy link");

  function replace(name: Tab): void {
    views.get(name)?.stop?.();
    views.delete(name);
    panels[name].replaceChildren();
  }

  function go(name: Tab): void {
    state.tab = name;
    if (!views.has(name)) {
      const life = new AbortController();
      const view = make[name]({ ...host, life: life.signal });
      views.set(name, { ...view, stop: () => (life.abort(), view.stop?.()) });
      panels[name].replaceChildren(view.element);
    }
    bar.open(name);
    views.get(name)?.shown?.();
    remember();
  }

  /** Keep the address in step: at once, but not for every step of a slider that is dragged. */
  function remember(): void {
    const since = Date.now() - 10_000;
    written = written.filter((time) => time > since);
    if (written.length < AT_ONCE) write();
    else later();
  }

  function write(): void {
    if (gone) return;
    written.push(Date.now());
    history.replaceState(history.state, "", `${location.pathname}${toQuery(state, recorded.prompt, location.search)}${location.hash}`);
    here = location.href;
  }

  async function copy(): Promise<void> {
    write();
    try {
      await navigator.clipboard.writeText(location.href);
      copied.textContent = "Link copied";
    } catch {
      // No clipboard outside secure contexts: the address bar holds the same link.
      copied.textContent = "Copy it from the address bar";
    }
    host.say(copied.textContent);
    setTimeout(() => { copied.textContent = "Copy link"; }, 2500);
  }

  const own = openOwn(session, root, () => state[state.tab === "stages" ? "chat" : state.tab].model, (model) => {
    for (const name of ["chat", "inspect", "reshape"] as const) {
      Object.assign(state[name], { model, path: [], at: 0, scale: 1 });
      replace(name);
    }
    go(state.tab === "stages" ? "chat" : state.tab);
  });
  const plain = [...root.children].filter((child) => !child.matches("script, [data-mm-json]"));
  root.append(h("div", { class: "mm-playground__head" }, bar.list, copied), session.element, ...TABS.map((name) => panels[name]), own, status);
  go(state.tab);
  for (const child of plain) child.remove();
  root.dataset.live = "1";
  void session.start().catch((error: unknown) => session.fail(error));

  /** Back and forward between two links of this page. */
  function travelled(): void {
    if (gone || !root.isConnected || location.href === here) return;
    for (const name of TABS) replace(name);
    Object.assign(state, fromQuery(location.search, recorded.prompt));
    go(state.tab);
  }
  window.addEventListener("popstate", travelled);

  return () => {
    gone = true;
    window.removeEventListener("popstate", travelled);
    for (const view of views.values()) view.stop?.();
  };
}
