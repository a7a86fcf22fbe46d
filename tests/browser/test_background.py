"""A tab in the background: what runs goes on, and nothing that it shows afterwards is wrong.

A headless browser hides no tab. So the page is told what a hidden one is told: it is not visible,
and no frame is drawn for it until it is.
"""

from __future__ import annotations

import re

import pytest
from conftest import SITE, Visit
from playwright.sync_api import Page, expect

SOON = 60_000
HIDING = """(() => {
  const real = window.requestAnimationFrame.bind(window), waiting = [];
  let hidden = false;
  window.requestAnimationFrame = (draw) => hidden ? -waiting.push(draw) : real(draw);
  Object.defineProperty(document, "hidden", {get: () => hidden});
  Object.defineProperty(document, "visibilityState", {get: () => hidden ? "hidden" : "visible"});
  window.inBackground = (now) => {
    hidden = now;
    document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
    if (!hidden) waiting.splice(0).forEach(real);
  };
})();"""


def background(page: Page, hidden: bool) -> None:
    """Put the tab into the background, or bring it to the front."""
    page.evaluate("hidden => window.inBackground(hidden)", hidden)


@pytest.mark.skipif(
    not (SITE / "en/assets/build/lm/models.json").exists(),
    reason="the site was built without trained models, so the playground has none",
)
def test_an_answer_is_written_in_the_background(visit: Visit) -> None:
    visit.page.add_init_script(HIDING)
    page = visit.open("/en/playground/?tab=inspect&model=world-tiny&len=60")
    page.wait_for_selector(".mm-playground[data-live]")
    fact = page.locator("[data-pane=inspect] [data-part=fact]")
    text = page.locator("[data-pane=inspect] [data-part=answer]")
    page.locator("[data-action=run]:visible").click()
    expect(fact).to_contain_text("tokens/s", timeout=SOON)
    seen = text.text_content() or ""
    background(page, True)
    page.locator("[data-pane=inspect] textarea").fill("Another text, so that the first goes away")
    page.locator("[data-pane=inspect] textarea").press("Enter")
    expect(text).not_to_have_text(seen, timeout=SOON)
    expect(fact).to_contain_text("tokens/s", timeout=SOON)
    hidden = text.text_content()
    background(page, False)
    assert text.text_content() == hidden
    said = re.match(r"(\d+) tokens, (\d+) tokens/s", fact.text_content() or "")
    assert said and int(said[1]) == text.locator(".mm-token").count() and int(said[2]) > 0
    visit.assert_clean()
