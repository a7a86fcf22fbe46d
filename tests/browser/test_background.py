"""A tab in the background: what runs goes on, and nothing that it shows afterwards is wrong.

A headless browser hides no tab. So the page is told what a hidden one is told: it is not visible,
and no frame is drawn for it until it is.
"""

from __future__ import annotations

import re
import time

import pytest
from conftest import SITE, Visit
from playwright.sync_api import Page, expect
from test_train_page import reaches, settles, step

SOON, COLD = 60_000, 180_000
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


def seconds(page: Page) -> int:
    """The seconds of computing that the page shows."""
    shown = re.search(r"· (\d+) s\b", page.locator(".mm-train__counter").text_content() or "")
    return int(shown[1]) if shown else 0


@pytest.mark.skipif(
    not list((SITE / "en/assets/build/py").glob("numpy-*.whl")),
    reason="the bundle was built without numpy (none could be found), so nothing trains",
)
def test_training_goes_on_in_the_background_and_counts_its_own_time(visit: Visit) -> None:
    visit.page.add_init_script(HIDING)
    page = visit.open("/en/playground/train/")
    main = page.locator(".mm-train .mm-train__main")
    status = page.locator(".mm-train__status")
    began = time.monotonic()
    main.click()
    expect(page.locator(".mm-train")).to_have_attribute("data-state", "running", timeout=COLD)
    reaches(page, 2, SOON)
    background(page, True)
    before, held = step(page), 0
    deadline = time.monotonic() + SOON / 1000
    while held <= before + 1 and time.monotonic() < deadline:  # steps are told when it is paused
        main.click()
        expect(status).to_contain_text("Paused at step")
        held = int(re.findall(r"step (\d+)", status.text_content() or "")[0])
        if held <= before + 1:
            main.click()
            expect(status).to_contain_text("goes on")
            page.wait_for_timeout(500)
    assert held > before + 1, "it does not train in the background"
    assert step(page) <= before + 1, "no frame was drawn, so this test hid nothing"
    background(page, False)
    reaches(page, held, SOON)
    held = settles(page)
    paused = seconds(page)
    assert paused <= time.monotonic() - began, "more seconds of computing than have passed"
    page.wait_for_timeout(2500)
    assert seconds(page) == paused, "a pause is no computing, however long"
    main.click()
    reaches(page, held + 1, SOON)
    page.locator(".mm-train").get_by_role("button", name="Stop", exact=True).click()
    visit.assert_clean()
