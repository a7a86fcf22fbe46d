"""The learning paths, walked: the quick one by keyboard alone, the systematic one by its checks.

What each step takes is printed (`pytest -s`); nothing is judged by the clock.
"""

from __future__ import annotations

import json
import time

import pytest
import yaml
from conftest import ROOT, SITE, Visit
from playwright.sync_api import Page, expect

PATHS = yaml.safe_load((ROOT / "docs/timetables.yaml").read_text("utf-8"))
COLD = 120_000  # the first Python of a page, on a busy machine
MOST_TABS = 400
python = pytest.mark.skipif(
    not list((SITE / "en/assets/build/py").glob("numpy-*.whl")),
    reason="the bundle was built without numpy (none could be found), so labs show recorded output",
)


class Clock:
    """Prints how long each step of a walk took."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()

    def step(self, name: str) -> None:
        now = time.perf_counter()
        print(f"  {now - self.began:6.1f} s  (+{now - self.last:.1f})  {name}", flush=True)
        self.last = now


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is on an element of the selector, as a reader without a mouse."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(
            """(selector) => {
                const at = document.activeElement;
                if (at?.closest('.cm-content') && !at.matches(selector)) return null;
                return at?.matches(selector) ?? false;
            }""",
            selector,
        ):
            return
        if page.evaluate("document.activeElement?.matches('.cm-content') ?? false"):
            page.keyboard.press("Escape")  # an editor keeps Tab; Escape lets it go
    raise AssertionError(f"{MOST_TABS} times Tab did not reach {selector}")


def follow(page: Page, selector: str, to: str) -> None:
    """Tab to a link, press Enter, and wait until the page has changed and its scripts are there."""
    tab_to(page, selector)
    page.keyboard.press("Enter")
    page.wait_for_url(to)
    page.wait_for_selector("html.mm-js", state="attached")


def passed(name: str) -> str:
    return (ROOT / "snippets" / name / "solution.py").read_text("utf-8")


@python
@pytest.mark.long
def test_the_quick_path_is_walked_by_keyboard(visit: Visit) -> None:
    """From the front page: a guess, five labs, the exercise, the certificate. No mouse."""
    clock = Clock()
    page = visit.open("/en/")
    follow(page, "a.md-button--primary", "**/paths/quick/")
    clock.step("the path is open")
    guessed = set()
    for name in PATHS["quick"]["labs"]:
        slug = name.split("/")[0]
        step = f'article a[href*="modules/{slug}/"]'
        follow(page, step, f"**/modules/{slug}/**")
        if slug not in guessed:
            guessed.add(slug)
            tab_to(page, ".mm-predict input[type=radio]")
            page.keyboard.press("Space")
            tab_to(page, ".mm-predict button[type=submit]")
            page.keyboard.press("Enter")
            expect(page.locator(".mm-predict .mm-q__status").first).to_contain_text("guess is kept")
        lab = f'.mm-lab[data-lab="{name}"]'
        tab_to(page, f"{lab} .mm-lab__run")
        page.keyboard.press("Enter")
        expect(page.locator(f"{lab} .mm-lab__status")).to_contain_text("Computed", timeout=COLD)
        clock.step(f"lab {name}")
        page.go_back()  # the browser's own key
        page.wait_for_url("**/paths/quick/**")
        page.wait_for_selector(".mm-certificate[data-state]")
    assert "5 of 6 done" in (page.locator(".mm-certificate").text_content() or "")
    tab_to(page, ".mm-exercise .cm-content")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(passed("quick/talking"))
    page.keyboard.press("ControlOrMeta+Enter")
    expect(page.locator(".mm-exercise__status")).to_contain_text("checks pass", timeout=COLD)
    clock.step("three functions written, and the model talks")
    expect(page.locator('.mm-certificate[data-state="done"]')).to_be_visible()
    page.keyboard.press("Escape")
    tab_to(page, ".mm-certificate input[type=text]")
    page.keyboard.insert_text("Ada")
    expect(page.locator(".mm-certificate__who")).to_contain_text("Ada can say what a norm")
    clock.step("the certificate has a name")
    visit.assert_clean()


def rooms(path: str) -> list[tuple[str, list[str], list[str]]]:
    """Each page of a path that has something to do, with its labs and exercises."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for which, kind in enumerate(("labs", "exercises")):
        for name in PATHS[path][kind]:
            slug = name.split("/")[0]
            page = "/en/paths/quick/" if slug == "quick" else f"/en/modules/{slug}/"
            found.setdefault(page, ([], []))[which].append(name)
    return [(page, *things) for page, things in found.items()]


@python
@pytest.mark.long
def test_the_systematic_path_can_be_done(visit: Visit) -> None:
    """Every lab runs, every exercise passes with its solution, the certificate is whole."""
    clock = Clock()
    for address, labs, exercises in rooms("systematic"):
        page = visit.open(address)
        for name in labs:
            lab = page.locator(f'.mm-lab[data-lab="{name}"]')
            lab.locator(".mm-lab__run").click()
            expect(lab.locator(".mm-lab__status")).to_contain_text("Computed", timeout=COLD)
            clock.step(f"lab {name}")
        for name in exercises:
            box = page.locator(f'.mm-exercise[data-exercise="{name}"]')
            box.scroll_into_view_if_needed()
            box.locator(".cm-content").click()
            page.keyboard.press("ControlOrMeta+a")
            page.keyboard.insert_text(passed(name))
            box.get_by_role("button", name="Check").click()
            status = box.locator(".mm-exercise__status")
            expect(status).to_contain_text("checks pass", timeout=COLD)
            assert "All" in (status.text_content() or ""), f"{name}: {status.text_content()}"
            clock.step(f"exercise {name}")
    page = visit.open("/en/paths/systematic/")
    expect(page.locator('.mm-certificate[data-state="done"]')).to_be_visible()
    assert page.locator(".mm-certificate__list [data-mark=open]").count() == 0
    visit.assert_clean()


# ---- the mastery path


def result(*passed: str) -> bytes:
    """What `minimind path mastery --out` writes, with these parts passed."""
    from minimind_wiki.book import asked

    findings = [
        asked.Finding(part.name, part.name in passed, f"seen: {part.name} <b>&")
        for part in asked.PARTS
    ]
    return json.dumps(asked.result(findings, {"parameters": 1})).encode()


def show(page: Page, data: bytes) -> None:
    tab_to(page, ".mm-certificate input[type=file]")
    file = {"name": "mastery.json", "mimeType": "application/json", "buffer": data}
    page.set_input_files(".mm-certificate input[type=file]", files=[file])  # type: ignore[list-item]


@pytest.mark.parametrize("visit", [{}, {"phone": True}], ids=["desk", "phone"], indirect=True)
def test_the_mastery_path_opens_ones_result_and_keeps_it_here(visit: Visit) -> None:
    page = visit.open("/en/paths/mastery/")
    line = page.locator(".mm-walk .mm-path__line")
    expect(line).to_contain_text("0 % of what is written is done. Begin with")
    certificate = page.locator(".mm-certificate")
    show(page, b'{"version": 1, "modules": {}}')
    expect(certificate.locator(".mm-status")).to_contain_text("no result of a check")
    show(page, result("text", "small"))
    expect(certificate.locator(".mm-status")).to_contain_text("2 of 5 parts are there")
    expect(certificate.locator("[data-mark=right]")).to_have_count(2)
    assert certificate.get_attribute("data-state") == "open"
    expect(certificate.locator(".mm-certificate__found").first).to_have_text("seen: text <b>&")
    show(page, result("taught", "exam", "served"))
    expect(certificate.locator(".mm-certificate__line")).to_have_text("All of it done.")
    page.reload()
    expect(page.locator('.mm-certificate[data-state="done"]')).to_be_visible()
    own = page.locator('.mm-steps tr[data-step="paths/mastery"]')
    assert own.count() >= 3
    assert all(row.get_attribute("data-state") == "done" for row in own.all())
    expect(line).not_to_contain_text("0 % of")
    visit.assert_clean()


def test_a_guide_that_was_read_is_marked_on_the_path(visit: Visit) -> None:
    page = visit.open("/en/guides/cluster/")
    page.wait_for_timeout(5500)  # a page counts as read when the reader has stayed a little
    page.keyboard.press("End")
    kept = "localStorage.getItem('minimind:progress:v1')?.includes('guides/cluster') ?? false"
    for _ in range(50):
        if page.evaluate(kept):
            break
        page.wait_for_timeout(200)
    page = visit.open("/en/paths/mastery/")
    row = page.locator('.mm-steps tr[data-step="guides/cluster"]')
    expect(row).to_have_attribute("data-state", "done")
    expect(row).to_contain_text("read")
    visit.assert_clean()
