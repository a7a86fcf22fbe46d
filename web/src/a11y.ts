/** What the theme leaves undone for keyboards and screen readers. Safe to run again on the same page. */

import { debounce, h } from "./dom";

const SCROLLS = ".md-typeset pre > code, .mm-notebook__print, .md-typeset__scrollwrap, .mm-math--display, .md-typeset .arithmatex, .mm-table-scroll";

let watching = false;

export function patchTheme(): void {
  // The theme adds a bar of tools to each code block when it comes into sight.
  if (!watching) {
    watching = true;
    const later = debounce(landmarks, 100);
    new MutationObserver((changes) => {
      if (changes.some((c) => [...c.addedNodes].some((n) => n instanceof Element && n.matches("nav")))) later();
    }).observe(document.body, { childList: true, subtree: true });
  }
  reachable();
  void document.fonts?.ready.then(reachable);
  toggles();
  landmarks();
  document.querySelector('.md-search[role="dialog"]')?.setAttribute("aria-label", "Search");
  // A picture inside a labelled picture is said once.
  for (const svg of document.querySelectorAll('[role="img"] svg[role="img"]')) {
    svg.removeAttribute("role");
    svg.setAttribute("aria-hidden", "true");
  }
}

/** What scrolls sideways must be reachable without a mouse. */
function reachable(): void {
  for (const box of document.querySelectorAll<HTMLElement>(SCROLLS)) {
    if (box.scrollWidth > box.clientWidth + 1 && !box.hasAttribute("tabindex")) box.tabIndex = 0;
  }
}

/** The menu and the search open by labels of hidden checkboxes: give the keyboard real buttons. */
function toggles(): void {
  for (const input of document.querySelectorAll<HTMLInputElement>("input.md-toggle")) {
    input.setAttribute("aria-hidden", "true");
    input.tabIndex = -1;
  }
  for (const label of document.querySelectorAll<HTMLLabelElement>(".md-header label.md-header__button:not([for^='__palette'])")) {
    if (label.querySelector("button")) continue;
    const name = label.htmlFor === "__search" ? "Search" : "Menu";
    const button = h("button", { type: "button", class: "mm-toggle", "aria-label": name, onclick: (event: Event) => {
      event.preventDefault();
      document.getElementById(label.htmlFor)?.click();
    } }, ...label.childNodes);
    label.append(button);
  }
  for (const overlay of document.querySelectorAll(".md-overlay, .md-search__overlay")) overlay.setAttribute("aria-hidden", "true");
}

/** Landmarks of one name are told apart. */
function landmarks(): void {
  const seen = new Map<string, number>();
  for (const nav of document.querySelectorAll<HTMLElement>('nav, [role="region"]')) {
    const by = nav.getAttribute("aria-labelledby");
    const said = (by && document.getElementById(by)?.textContent?.trim()) || nav.getAttribute("aria-label");
    // A section with a page of its own is labelled by an icon: its title is inside.
    const name = (said || nav.querySelector(".md-nav__title")?.textContent || (nav.matches(".md-code__nav") ? "Code tools" : "")).trim().replace(/\s+/g, " ");
    const count = seen.get(name.toLowerCase()) ?? 0;
    seen.set(name.toLowerCase(), count + 1);
    if (!name || (said && count === 0)) continue;
    nav.removeAttribute("aria-labelledby");
    nav.setAttribute("aria-label", count === 0 ? name : `${name} (${count + 1})`);
  }
}
