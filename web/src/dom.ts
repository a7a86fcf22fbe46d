/** A few lines that keep the rest free of createElement noise. */

import { DATA } from "./instant";

type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

/**
 * Make an element. Props that start with "on" are listeners, `class` and `data-*`/`aria-*` are
 * attributes, the rest are properties. Strings become text nodes: never markup.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on") && typeof value === "function") {
      element.addEventListener(key.slice(2), value as EventListener);
    } else if (key === "class" || key === "for" || key === "role" || key.includes("-")) {
      element.setAttribute(key, value === true ? "" : String(value));
    } else {
      (element as unknown as Props)[key] = value;
    }
  }
  element.append(...children.filter((c): c is Node | string => Boolean(c)));
  return element;
}

/**
 * Put `html` (a field named *_html: written by our own build from our own Markdown) into `element`,
 * or `text` as plain text when there is no such field.
 */
export function fill<E extends Element>(element: E, html: unknown, text: unknown): E {
  if (typeof html === "string") element.innerHTML = html;
  else element.textContent = text === undefined || text === null ? "" : String(text);
  return element;
}

/** The JSON that `root` carries (see instant.ts for its two forms), or null. */
export function spec<T>(root: ParentNode, className = ""): T | null {
  const holder = [...root.querySelectorAll<HTMLElement>(DATA)].find((e) => !className || e.classList.contains(className));
  const text = holder?.dataset.mmJson ?? holder?.textContent;
  if (!text) return null;
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}

/** The data elements among the children: they stay when the rest is replaced. */
export function dataNodes(root: Element): Element[] {
  return [...root.children].filter((child) => child.matches(DATA));
}

/** Hand `blob` to the reader as a file. Its address lives on a little: some browsers read it late. */
export function saveFile(blob: Blob, name: string): void {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

let serial = 0;
/** An id that no other element of this visit has. */
export function uid(prefix: string): string {
  serial += 1;
  return `${prefix}-${serial}`;
}

/** A line that screen readers speak when it changes. */
export function statusLine(className = "mm-status"): HTMLParagraphElement {
  return h("p", { class: className, role: "status", "aria-live": "polite" });
}

/** Call `run` once, `wait` ms after the last call. */
export function debounce(run: () => void, wait: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, wait);
  };
}

/** The module this page belongs to, from the head; "site" for pages of no module. */
export function pageModule(): string {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="mm-module"]');
  return meta?.content || "site";
}

/** True once per element: upgrades must not run twice on the same node. */
export function claim(element: HTMLElement): boolean {
  if (element.dataset.mmReady) return false;
  element.dataset.mmReady = "1";
  return true;
}

/** Once, when the element comes within 400 px of the window. */
export function whenNear(element: HTMLElement, run: () => void): () => void {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      run();
    },
    { rootMargin: "400px 0px" },
  );
  observer.observe(element);
  return () => observer.disconnect();
}
