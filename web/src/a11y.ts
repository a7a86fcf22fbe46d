/** What the theme leaves undone for keyboards and screen readers. */

import { uid } from "./dom";

export function patchTheme(): void {
  // Scrollable code and tables must be reachable by keyboard.
  for (const box of document.querySelectorAll<HTMLElement>(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset .arithmatex")) {
    if (box.scrollWidth > box.clientWidth + 1 && !box.hasAttribute("tabindex")) box.tabIndex = 0;
  }
  // The palette's inputs and the drawer's toggles are driven by labels: name what carries no name.
  for (const label of document.querySelectorAll<HTMLLabelElement>("label.md-header__button, label.md-overlay")) {
    if (!label.textContent?.trim() && !label.getAttribute("aria-label")) {
      label.setAttribute("aria-label", label.title || (label.htmlFor === "__search" ? "Search" : "Navigation"));
    }
  }
  for (const input of document.querySelectorAll<HTMLInputElement>("input.md-toggle")) {
    input.setAttribute("aria-hidden", "true");
    input.tabIndex = -1;
  }
  // Two navigation landmarks of one name are told apart by their place.
  const seen = new Set<string>();
  for (const nav of document.querySelectorAll<HTMLElement>("nav[aria-label]")) {
    const name = nav.getAttribute("aria-label") ?? "";
    if (seen.has(name)) nav.setAttribute("aria-label", `${name} (${uid("part").replace("-", " ")})`);
    seen.add(nav.getAttribute("aria-label") ?? "");
  }
}
