"""Every page, as four readers see it: light and dark, desk and phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, SITE, Visit
from playwright.sync_api import expect

AXE = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
PAGES = sorted(
    "/" + str(p.relative_to(SITE).parent) + "/"
    for p in SITE.glob("en/**/index.html")
    if "assets" not in p.parts
)
READERS = [
    pytest.param({"phone": phone, "dark": dark}, id=f"{'phone' if phone else 'desk'}-{tone}")
    for phone in (False, True)
    for dark, tone in ((False, "light"), (True, "dark"))
]


def test_there_are_pages() -> None:
    assert len(PAGES) > 15
    assert "/en/modules/normalization/" in PAGES


@pytest.mark.parametrize("visit", READERS, indirect=True)
def test_every_page_loads_clean_and_accessible(
    visit: Visit, request: pytest.FixtureRequest
) -> None:
    """No console error, nothing from another origin, no sideways scroll, no axe violation.

    The reference is two thirds of the book's bytes, of one template: axe reads it for two of them.
    """
    faults: list[str] = []
    reader = request.node.callspec.params["visit"]
    whole = reader["phone"] == reader["dark"]  # desk and light, phone and dark
    for path in PAGES:
        page = visit.open(path)
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if wide > 0:
            faults.append(f"{path}: scrolls sideways by {wide} px")
        if whole or "/reference/" not in path:
            page.evaluate(AXE)  # through the debugger, which the page's own policy does not stop
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            faults += [
                f"{path}: {v['id']}: {v['help']} ({len(v['nodes'])}x, "
                f"{v['nodes'][0]['html'][:120]})"
                for v in found
            ]
        faults += [f"{path}: console: {e}" for e in visit.errors]
        visit.errors.clear()
    assert not faults, "\n".join(faults)
    assert not visit.foreign, visit.foreign


@pytest.mark.parametrize("visit", [{"dark": True}], indirect=True)
def test_the_dark_reader_gets_a_dark_page(visit: Visit) -> None:
    page = visit.open("/en/modules/normalization/")
    light = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, part) => sum + Number(part), 0)"
    )
    assert light < 3 * 80


def test_an_unknown_page_says_so(visit: Visit) -> None:
    answer = visit.page.goto(visit.origin + "/en/no-such-page/")
    assert answer is not None
    assert answer.status == 404
    visit.page.locator(".md-content").get_by_role("link", name="Modules").click()
    visit.page.wait_for_url("**/en/modules/")


def test_the_root_leads_to_the_english_book(visit: Visit) -> None:
    visit.page.goto(visit.origin + "/")
    visit.page.wait_for_url("**/en/")
    assert visit.page.get_by_role("heading", level=1).count() == 1


def test_moving_between_pages_keeps_them_working(visit: Visit) -> None:
    """Instant navigation replaces the page in place: components must come alive again."""
    page = visit.open("/en/modules/normalization/")
    page.evaluate("window.__same = true")
    page.get_by_role("link", name="Quiz").first.click()
    page.wait_for_url("**/quiz/")
    page.wait_for_selector(".mm-quiz fieldset")
    page.go_back()
    page.wait_for_selector(".mm-lab button")
    visit.assert_clean()


def weight(folder: Path, names: list[str]) -> int:
    """Bytes over the wire (gzip) of the given files."""
    import gzip

    return sum(len(gzip.compress((folder / n).read_bytes(), 9)) for n in names)


def test_a_page_is_light_before_any_click(visit: Visit) -> None:
    """DESIGN: HTML + CSS + JS before any click at most 350 KB over the wire."""
    seen: list[str] = []
    visit.page.on("request", lambda r: seen.append(r.url))
    visit.open("/en/modules/normalization/")
    visit.page.wait_for_timeout(500)
    paths = {u.split("?")[0].removeprefix(visit.origin + "/") for u in seen if "http" in u[:4]}
    paths = {p + "index.html" if p.endswith("/") else p for p in paths}
    code = [p for p in paths if p.endswith((".html", ".css", ".js", ".mjs", ".json"))]
    total = weight(SITE, sorted(set(code)))
    assert len(code) > 3
    assert not [p for p in code if "search_index" in p], "the search index before the search"
    assert total <= 350_000, f"{total} bytes in {sorted(code)}"
    assert not [p for p in paths if "pyodide" in p or p.endswith(".whl")], "Python before a click"


def test_search_finds_pages_and_functions(visit: Visit) -> None:
    for wish, found in (("initialisation", "Why normalize"), ("fused_rms_norm", "fused_rms_norm")):
        page = visit.open("/en/")
        page.locator(".md-search__input").press_sequentially(wish)
        expect(page.locator(".md-search-result__list")).to_contain_text(found, timeout=15_000)
    visit.assert_clean()
