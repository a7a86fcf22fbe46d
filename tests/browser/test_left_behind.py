"""What is left behind: a view that was replaced is freed, a page that was left listens no more."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import SITE, Visit
from playwright.sync_api import CDPSession, Page, expect

pytestmark = pytest.mark.skipif(
    not (SITE / "en/assets/build/lm/models.json").exists(),
    reason="the site was built without trained models, so the playground has none",
)
KINDS = ("HTMLSelectElement", "HTMLTextAreaElement", "HTMLInputElement")


def alive(session: CDPSession) -> dict[str, int]:
    """How many elements of each kind the page's memory holds, shown or not, after collecting."""
    found = {}
    for kind in KINDS:
        prototype = session.send("Runtime.evaluate", {"expression": f"{kind}.prototype"})
        made = session.send(
            "Runtime.queryObjects", {"prototypeObjectId": prototype["result"]["objectId"]}
        )
        count = session.send(
            "Runtime.callFunctionOn",
            {"objectId": made["objects"]["objectId"], "returnByValue": True,
             "functionDeclaration": "function () { return this.length; }"},
        )  # fmt: skip
        session.send("Runtime.releaseObject", {"objectId": made["objects"]["objectId"]})
        found[kind] = count["result"]["value"]
    return found


def tour(page: Page) -> None:
    """Open every view of the playground once."""
    for tab in ("chat", "inspect", "reshape", "stages"):
        page.locator(f"[data-tab={tab}]").click()
        expect(page.locator(f"[data-pane={tab}]")).to_be_visible()


def playground(page: Page) -> None:
    """The playground, live, with its models in the pickers."""
    # not wait_for_selector: the handle that it returns would keep what this test wants to go
    expect(page.locator(".mm-playground[data-live]")).to_be_attached()
    tour(page)
    expect(page.locator("[data-pane=chat] select option").first).to_be_attached()


def test_views_that_are_replaced_are_freed(visit: Visit) -> None:
    page = visit.open("/en/playground/")
    session = page.context.new_cdp_session(page)

    def anew(turn: int) -> None:
        """Follow a link of this page, as by Back or Forward: all views are made anew."""
        page.evaluate(
            "query => { history.replaceState(history.state, '', query);"
            " dispatchEvent(new PopStateEvent('popstate', {state: history.state})); }",
            f"?tab=chat&t=0.{turn}",
        )
        expect(page.locator("[data-tab=chat]")).to_have_attribute("aria-selected", "true")
        tour(page)

    playground(page)
    anew(1)  # Chromium keeps the last element that had the focus
    before = alive(session)
    for turn in range(2, 5):
        anew(turn)
    assert alive(session) == before
    visit.assert_clean()


def listening(session: CDPSession, ours: set[str]) -> Counter[str]:
    """Listeners of our scripts on what outlives a page, by kind."""
    found: Counter[str] = Counter()
    for target in ("window", "document", "document.documentElement", "navigator.serviceWorker"):
        held = session.send("Runtime.evaluate", {"expression": target})["result"]["objectId"]
        answer = session.send("DOMDebugger.getEventListeners", {"objectId": held})
        session.send("Runtime.releaseObject", {"objectId": held})
        found.update(
            f"{target} {one['type']}" for one in answer["listeners"] if one["scriptId"] in ours
        )
    return found


def test_a_page_that_was_left_listens_no_more(visit: Visit) -> None:
    """The theme keeps pages that were left in memory: so this counts listeners, not elements."""
    session = visit.page.context.new_cdp_session(visit.page)
    ours: set[str] = set()
    session.on(
        "Debugger.scriptParsed",
        lambda script: ours.add(script["scriptId"]) if "/assets/build/" in script["url"] else None,
    )
    session.send("Debugger.enable")
    page = visit.open("/en/playground/")
    playground(page)
    page.evaluate("window.stays = true")
    here = listening(session, ours)
    assert here["window popstate"] and here["navigator.serviceWorker message"]
    for _ in range(2):
        page.locator("a.md-logo").first.click()
        expect(page.locator(".mm-home")).to_be_visible()
        expect(page.locator(".mm-playground")).to_have_count(0)
        away = listening(session, ours)
        assert not away["window popstate"] and not away["navigator.serviceWorker message"], away
        page.go_back()
        playground(page)
        assert page.evaluate("window.stays"), "the page was loaded anew, so this test left nothing"
        assert listening(session, ours) == here
    visit.assert_clean()
