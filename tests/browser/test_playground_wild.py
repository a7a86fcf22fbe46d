"""The playground in the wild: cut downloads, denied and full storage, no network, hostile text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import FLAGS, executable
from conftest import ROOT, SITE, Visit
from playwright.sync_api import Browser, Page, Route, expect
from rough import HANG, Rough, rough_site

PLAYGROUND = "/en/playground/"
INSPECT = PLAYGROUND + "?tab=inspect&model=world-tiny"
SOON = 60_000
AXE = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(
    not (SITE / "en/assets/build/lm/models.json").exists(),
    reason="the site was built without trained models, so the playground has none",
)


@pytest.fixture
def rough() -> Iterator[Rough]:
    """The site below /project/, on a server that can be told to misbehave."""
    with rough_site(SITE, "/project") as server:
        yield server


@pytest.fixture
def guest(browser: Browser, rough: Rough) -> Iterator[Visit]:
    """A visitor of the rough server."""
    context = browser.new_context(reduced_motion="reduce")
    yield Visit(context, rough.address)
    context.close()


def answer(page: Page) -> str:
    """Press the button of the view that is open, wait for the answer, return it."""
    page.locator("[data-action=run]:visible").click()
    fact = page.locator("[data-pane=inspect] [data-part=fact]")
    expect(fact).to_contain_text("tokens/s", timeout=SOON)
    return page.locator("[data-pane=inspect] [data-part=answer]").text_content() or ""


def until(page: Page, true: Callable[[], bool]) -> None:
    """Wait for something outside the page, and let the page go on meanwhile."""
    for _ in range(SOON // 50):
        if true():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come about")


def engines(page: Page) -> int:
    """How many workers hold models."""
    return sum("lmworker" in worker.url for worker in page.workers)


def told(page: Page) -> None:
    """Keep every line that the playground says while it loads, as later ones replace it."""
    page.evaluate(
        """() => { window.told = new Set();
        const at = document.querySelector('.mm-load');
        new MutationObserver(() => window.told.add(at.textContent)).observe(
          at, {childList: true, subtree: true, characterData: true}); }"""
    )


def test_below_a_sub_path_a_cut_download_goes_on_and_is_kept(guest: Visit, rough: Rough) -> None:
    rough.cuts = [1_000_000, 200_000]
    page = guest.open(INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    told(page)
    first = answer(page)
    whole, *parts = rough.asked
    first_start, second_start = (int(re.fullmatch(r"bytes=(\d+)-", part)[1]) for part in parts)
    # a browser may lose what arrived together with the cut, so not every byte sent is kept
    assert not whole and 0 < first_start <= 1_000_000
    assert first_start <= second_start <= first_start + 200_000
    assert any("connection was cut" in line for line in page.evaluate("[...window.told]"))
    rough.asked.clear()
    page.reload()
    page.wait_for_selector(".mm-playground[data-live]")
    assert answer(page) == first
    assert rough.asked == [], "the second visit fetches no weights"
    # a copy that went bad in storage is seen by its hash, and replaced
    page.evaluate(
        """async () => { const cache = await caches.open('minimind-models-1');
        for (const key of await cache.keys()) {
          const bytes = new Uint8Array(await (await cache.match(key)).arrayBuffer());
          bytes[bytes.length >> 1] ^= 1;
          await cache.put(key, new Response(bytes)); } }"""
    )
    page.reload()
    page.wait_for_selector(".mm-playground[data-live]")
    told(page)
    assert answer(page) == first
    assert rough.asked == [""]
    assert any("was damaged" in line for line in page.evaluate("[...window.told]"))
    assert not guest.foreign


def test_loading_is_stopped_and_goes_on(guest: Visit, rough: Rough) -> None:
    rough.cuts = [500_000, HANG]
    page = guest.open(INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    page.locator("[data-action=run]:visible").click()
    expect(page.locator(".mm-load")).to_contain_text("was cut", timeout=SOON)
    # what is asked for once more hangs: only then is nothing on its way that could come later
    until(page, lambda: len(rough.asked) == 2)
    page.locator("[data-action=cancel]").click()
    expect(page.locator(".mm-load[data-state=loading]")).to_have_count(0)
    rough.cuts.clear()
    rough.asked.clear()
    assert answer(page)
    start = int(re.fullmatch(r"bytes=(\d+)-", rough.asked[0])[1])
    assert 0 < start <= 500_000  # a browser may lose what arrived together with the cut


def test_full_storage_is_told_and_the_model_answers(guest: Visit, rough: Rough) -> None:
    page = guest.open(INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    debug = page.context.new_cdp_session(page)
    origin = rough.address.removesuffix("/project")
    debug.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 100_000})
    told(page)
    assert answer(page)
    assert any("storage is full" in line for line in page.evaluate("[...window.told]"))
    guest.assert_clean()


def test_denied_storage_is_told_and_the_model_answers(
    browser: Browser, rough: Rough, tmp_path: Path
) -> None:
    """A browser that blocks site data: localStorage and caches both throw."""
    block = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default").mkdir()
    (tmp_path / "Default/Preferences").write_text(json.dumps(block), encoding="utf-8")
    context = browser.browser_type.launch_persistent_context(
        str(tmp_path), executable_path=executable(), args=FLAGS, reduced_motion="reduce"
    )
    visit = Visit(context, rough.address)
    page = visit.open(INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    assert page.evaluate("caches.keys().then(() => 'open', error => error.name)") != "open"
    told(page)
    assert answer(page)
    assert any("no storage" in line for line in page.evaluate("[...window.told]"))
    expect(page.locator(".mm-load")).to_contain_text("no storage")
    context.close()
    # the theme asks for its palette in localStorage and is told no; that is all
    assert not [error for error in visit.errors if "localStorage" not in error]
    assert not visit.foreign


def test_the_site_is_read_offline_after_it_was_asked_for(guest: Visit, rough: Rough) -> None:
    page = guest.open(PLAYGROUND)
    panel = page.locator(".mm-offline")
    expect(panel).to_contain_text("MB of this browser's storage", timeout=SOON)
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then(all => all.length)") == 0
    panel.get_by_role("button", name="Keep this site").click()
    expect(panel).to_contain_text("works without a connection", timeout=3 * SOON)
    rough.leave()
    page.goto(rough.address + "/en/guides/serving/?q=1#top")
    # ?q= also opens the search, whose results have headings of their own
    assert page.locator(".md-content").get_by_role("heading", level=1).text_content()
    page.goto(rough.address + INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    assert answer(page), "the model is there too"
    page.goto(rough.address + "/en/no-such-page/")
    expect(page.locator("body")).to_contain_text("not among those that were kept")
    page.goto(rough.address + PLAYGROUND)
    page.get_by_role("button", name="Remove the kept site").click()
    expect(page.locator(".mm-offline")).to_contain_text("Removed")
    assert (
        page.evaluate("caches.keys().then(all => all.filter(n => n.includes('site')).length)") == 0
    )
    assert not guest.foreign


def test_an_old_browser_is_told_before_it_downloads(guest: Visit, rough: Rough) -> None:
    """Without SIMD the recorded run stays, and no weights are fetched."""

    def without_simd(route: Route) -> None:
        found = route.fetch()
        route.fulfill(response=found, body="WebAssembly.validate = () => false;\n" + found.text())

    guest.page.context.route("**/lmworker.js", without_simd)
    page = guest.open(PLAYGROUND)
    page.wait_for_selector(".mm-playground[data-live]")
    recorded = page.locator(".mm-stage[data-stage=rl] [data-part=answer]").text_content()
    page.locator("[data-action=run]:visible").click()
    expect(page.locator(".mm-load [role=alert]")).to_contain_text("no WebAssembly SIMD")
    assert page.locator(".mm-stage[data-stage=rl] [data-part=answer]").text_content() == recorded
    assert not rough.asked


def test_text_that_is_html_stays_text(visit: Visit) -> None:
    hostile = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>'
    page = visit.open(PLAYGROUND + "?tab=chat&model=world-tiny-chat")
    page.wait_for_selector(".mm-playground[data-live]")
    done = {"chat": "[data-role=assistant] [data-action=inspect]", "inspect": "[data-part=fact]"}
    for tab, end in done.items():
        page.locator(f"[data-tab={tab}]").click()
        field = page.locator("textarea:visible").first
        field.fill(hostile)
        field.press("Enter")
        # what is written last of a turn, so that all of it has reached the page
        expect(page.locator(f"[data-pane={tab}] {end}")).not_to_be_empty(timeout=SOON)
    assert page.evaluate("window.hit") is None
    assert page.locator(".mm-playground img, .mm-playground script[src]").count() == 0
    visit.assert_clean()


def test_two_labs_at_once_both_get_answers(visit: Visit) -> None:
    """One worker, two tabs of the playground: each run ends with its own answer."""
    page = visit.open(PLAYGROUND)
    page.wait_for_selector(".mm-playground[data-live]")
    page.locator("[data-action=run]:visible").click()
    page.locator("[data-tab=inspect]").click()
    assert answer(page)
    page.locator("[data-tab=stages]").click()
    expect(page.locator(".mm-stage[data-stage=rl] .mm-stage__fact")).to_contain_text(
        "tokens/s", timeout=SOON
    )
    assert engines(page) == 1
    visit.assert_clean()


def test_leaving_while_it_computes_and_coming_back(visit: Visit) -> None:
    page = visit.open(PLAYGROUND)
    page.wait_for_selector(".mm-playground[data-live]")
    page.evaluate("window.__same = true")
    page.locator("[data-action=run]:visible").click()
    page.get_by_role("link", name="Glossary").first.click()
    page.wait_for_url("**/glossary/")
    page.go_back()
    page.wait_for_selector(".mm-playground[data-live]")
    assert page.evaluate("window.__same"), "instant navigation"
    page.locator("[data-tab=inspect]").click()
    page.locator("[data-action=run]:visible").click()
    expect(page.locator("[data-pane=inspect] [data-part=fact]")).to_contain_text(
        "tokens/s", timeout=SOON
    )
    assert engines(page) == 1, "the worker stays"
    visit.assert_clean()


@pytest.mark.parametrize(
    "visit", [{"dark": True}, {"phone": True}, {}, {"phone": True, "dark": True}], indirect=True,
    ids=["desk-dark", "phone-light", "desk-light", "phone-dark"],
)  # fmt: skip
def test_every_view_at_work_is_accessible(visit: Visit) -> None:
    """axe finds nothing in any tab once it has answered, and nothing scrolls sideways."""
    page = visit.open(INSPECT)
    page.wait_for_selector(".mm-playground[data-live]")
    answer(page)
    page.evaluate(AXE)
    for tab in ("inspect", "stages", "chat", "reshape"):
        page.locator(f"[data-tab={tab}]").click()
        found = page.evaluate("axe.run('main', {resultTypes: ['violations']})")["violations"]
        assert not [(v["id"], v["nodes"][0]["html"][:150]) for v in found], tab
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), tab
    visit.assert_clean()
