"""Every page, as four readers see it: light and dark, desk and phone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, SITE, Visit
from playwright.sync_api import Page, expect

AXE = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
PAGES = sorted(
    "/" + str(p.relative_to(SITE).parent) + "/"
    for p in SITE.glob("en/**/index.html")
    if "assets" not in p.parts
)
SHARES = 10
"""The pages are dealt out to so many tests a reader, so that workers have something to share."""
READERS = [
    pytest.param({"phone": phone, "dark": dark}, id="phone-dark" if dark else "desk-light")
    for phone, dark in ((False, False), (True, True))
]
# What colours can break; axe's other rules read the tree and what of it is shown.
COLOURS = "{type: 'rule', values: ['color-contrast', 'link-in-text-block']}"
ONE_PALETTE = re.compile(r"<img[^>]*#(?:gh-)?(?:only-)?(?:dark|light)\b")
PALETTE_RULE = re.compile(r"([^{}]*data-md-color-scheme[^{}]*)\{([^{}]*)\}")


def test_there_are_pages() -> None:
    assert len(PAGES) > 15
    assert "/en/modules/normalization/" in PAGES


def violations(page: Page, rules: str = "") -> list[str]:
    """What axe finds on a page that it was given to."""
    options = "resultTypes: ['violations']" + (f", runOnly: {rules}" if rules else "")
    found = page.evaluate(f"axe.run(document, {{{options}}})")["violations"]
    return [
        f"{v['id']}: {v['help']} ({len(v['nodes'])}x, {v['nodes'][0]['html'][:120]})" for v in found
    ]


def other_palette(page: Page, dark: bool) -> None:
    """What a reader's system does in the evening, or in the morning."""
    page.emulate_media(color_scheme="dark" if dark else "light")
    scheme = "slate" if dark else "default"
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", scheme)


def test_a_palette_changes_colours_and_nothing_else() -> None:
    """So what axe says of a page's tree in one palette holds in the other. The theme can also show
    a picture in one of them only, which no page asks for."""
    (sheet,) = (SITE / "en/assets/build").glob("site.*.css")
    rules = PALETTE_RULE.findall(sheet.read_text("utf-8"))
    assert len(rules) > 10
    for page in SITE.glob("en/**/*.html"):
        assert not ONE_PALETTE.search(page.read_text("utf-8")), page
    for selector, body in rules:
        if 'img[src$="#' in selector:
            continue
        for declared in filter(None, (part.strip() for part in body.split(";"))):
            name = declared.partition(":")[0].strip()
            assert name.startswith("--") or name == "color-scheme", f"{selector}: {declared}"


@pytest.mark.long
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("visit", READERS, indirect=True)
def test_every_page_loads_clean_and_accessible(
    visit: Visit, share: int, request: pytest.FixtureRequest
) -> None:
    """No console error, nothing from another origin, no sideways scroll, no axe violation.

    Each page is opened on a light desk and on a dark phone, then seen in the other palette, which
    changes colours only. The reference is half of the book's bytes, of one template: there the
    palette that it was opened in is enough.
    """
    faults: list[str] = []
    dark = request.node.callspec.params["visit"]["dark"]
    for path in PAGES[share::SHARES]:
        page = visit.open(path)
        scheme = "slate" if dark else "default"
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", scheme)
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if wide > 0:
            faults.append(f"{path}: scrolls sideways by {wide} px")
        page.evaluate(AXE)  # through the debugger, which the page's own policy does not stop
        faults += [f"{path}: {found}" for found in violations(page)]
        if "/reference/" not in path:
            other_palette(page, not dark)
            faults += [f"{path}, other palette: {found}" for found in violations(page, COLOURS)]
            page.emulate_media(color_scheme="dark" if dark else "light")
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
    """DESIGN allows HTML + CSS + JS of 350 KB over the wire before any click; we need half."""
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
    assert total <= 190_000, f"{total} bytes in {sorted(code)}"
    assert not [p for p in paths if "pyodide" in p or p.endswith(".whl")], "Python before a click"


def test_search_finds_pages_and_functions(visit: Visit) -> None:
    for wish, found in (("initialisation", "Why normalize"), ("fused_rms_norm", "fused_rms_norm")):
        page = visit.open("/en/")
        page.locator(".md-search__input").press_sequentially(wish)
        expect(page.locator(".md-search-result__list")).to_contain_text(found, timeout=15_000)
    visit.assert_clean()
