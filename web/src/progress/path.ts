/** Learning paths and the module header, with what this reader has done. */

import { claim, h, pageModule } from "../dom";
import { summarize } from "./model";
import type { Summary } from "./model";
import { store } from "./store";

const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** In words, for eyes and ears alike. */
export function describe(s: Summary): string {
  const parts = [
    s.read ? "read" : s.guessed ? "begun" : "",
    s.total ? `quiz ${s.right} of ${s.total}` : "",
    s.labs ? "lab run" : "",
    s.passed ? "exercise passed" : "",
    s.review ? `${s.review} to review` : "",
  ].filter(Boolean);
  return parts.length ? parts.join(" · ") : "not started";
}

export function upgradePath(root: HTMLElement): () => void {
  if (!claim(root)) return () => undefined;
  const items = [...root.querySelectorAll<HTMLElement>("li[data-module]")];
  // A planned module has no page yet: it counts for nothing.
  const ready = items.filter((item) => item.querySelector("a[href]"));
  const bar = h("div", { class: "mm-path__bar", "aria-hidden": "true" }, h("i"));
  const line = h("p", { class: "mm-path__line" });
  root.prepend(h("div", { class: "mm-path__head" }, line, bar));
  const notes = new Map(ready.map((item) => {
    const note = h("span", { class: "mm-path__state" });
    item.append(note);
    return [item, note] as const;
  }));

  if (!document.querySelector(".mm-progress")) root.after(h("div", { class: "mm-progress" }));

  const draw = (): void => {
    let sum = 0;
    let next: HTMLAnchorElement | null = null;
    for (const item of ready) {
      const s = summarize(store().module(item.dataset.module ?? ""));
      sum += s.share;
      (notes.get(item) as HTMLElement).textContent = describe(s);
      item.dataset.state = s.share >= 0.99 ? "done" : s.share > 0 || s.review ? "begun" : "new";
      if (!next && s.share < 0.99) next = item.querySelector("a[href]");
    }
    const share = ready.length ? sum / ready.length : 0;
    (bar.firstElementChild as HTMLElement).style.width = `${share * 100}%`;
    const go = next ? h("a", { href: next.href }, `${share > 0 ? "Continue" : "Begin"} with ${next.textContent?.trim() ?? "the next module"}`) : null;
    line.replaceChildren(h("span", {}, `${percent(share)} of this path done. `), go ?? "Everything here is done.");
  };
  draw();
  return store().subscribe(draw);
}

/** `.mm-module-head` gets one line of what is done here. */
export function upgradeModuleHead(root: HTMLElement): () => void {
  if (!claim(root)) return () => undefined;
  const line = h("p", { class: "mm-module-head__progress" });
  const slug = root.dataset.module ?? pageModule();
  const draw = (): void => {
    const s = summarize(store().module(slug));
    line.replaceChildren(h("span", { class: "mm-ring", "aria-hidden": "true" }), describe(s));
    line.style.setProperty("--mm-share", String(s.share));
    line.hidden = s.share === 0 && !s.review;
  };
  root.append(line);
  draw();
  return store().subscribe(draw);
}

/** Where a page without a module keeps that it was read: "guides/serving", "playground". */
export function pageKey(pathname: string): string | null {
  const found = /\/((?:guides|data|playground)(?:\/[\w-]+)?)\/?(?:index\.html)?$/.exec(pathname);
  return found?.[1] ?? null;
}

/** The page counts as read when its end has been in sight and the reader has stayed a little. */
export function watchReading(article: HTMLElement): () => void {
  const module = pageModule();
  const slug = module === "site" ? pageKey(location.pathname) : module;
  const end = article.lastElementChild;
  if (!claim(article)) return () => undefined;
  if (!slug || !end || store().module(slug).read) return () => undefined;
  const opened = performance.now();
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || performance.now() - opened < 5000) return;
    observer.disconnect();
    store().update(slug, (entry) => {
      entry.read = new Date().toISOString();
    });
  });
  observer.observe(end);
  return () => observer.disconnect();
}
