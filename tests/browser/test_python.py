"""Python in the page: the lab recomputes, the exercise judges, figures come alive."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import SITE, Visit
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
MODULE = "/en/modules/normalization/"
EXERCISE = ROOT / "snippets/normalization/rms_norm"
COLD, WARM = 60_000, 20_000  # generous: these are correctness tests; bench/ measures the times

pytestmark = pytest.mark.skipif(
    not list((SITE / "en/assets/build/py").glob("numpy-*.whl")),
    reason="the bundle was built without numpy (none could be found), so labs show recorded output",
)


def run_lab(page: Page, timeout: int = COLD) -> str:
    """Press Run, wait for the computed text, return it."""
    page.locator(".mm-lab .mm-lab__run").click()
    return computed(page, timeout)


def computed(page: Page, timeout: int = WARM) -> str:
    """Wait until the lab says that it has computed, and return its text."""
    expect(page.locator(".mm-lab .mm-lab__status")).to_contain_text("Computed in", timeout=timeout)
    return page.locator(".mm-lab .mm-lab__text").text_content() or ""


def test_the_lab_runs_changes_and_is_linked(visit: Visit) -> None:
    page = visit.open(MODULE)
    assert page.locator(".mm-lab svg").first.is_visible(), "the recorded picture stands first"
    first = run_lab(page)
    assert "20 layers" in first
    expect(page.locator(".mm-lab .js-plotly-plot")).to_be_visible(timeout=WARM)

    page.locator(".mm-lab input[type=range]").fill("40")
    expect(page.locator(".mm-lab .mm-lab__text")).to_contain_text("40 layers", timeout=WARM)
    assert "stack.depth=40" in page.url
    deep = computed(page)

    page.locator(".mm-lab label", has_text="RMSNorm").click()
    expect(page.locator(".mm-lab .mm-lab__text")).not_to_have_text(deep, timeout=WARM)
    linked = page.url
    page.locator(".mm-lab__actions").get_by_role("button", name="Reset").click()
    expect(page.locator(".mm-lab .mm-lab__text")).to_have_text(first, timeout=WARM)

    page.goto(linked)
    page.wait_for_selector(".mm-lab input[type=range]")
    assert page.locator(".mm-lab input[type=range]").input_value() == "40"
    assert page.get_by_label("RMSNorm", exact=True).is_checked()
    visit.assert_clean()


def near(page: Page, box: str) -> None:
    """Scroll to a box and wait for its editor, which is loaded only for a reader who comes near."""
    page.locator(box).scroll_into_view_if_needed()
    page.wait_for_selector(f"{box} .cm-content")


def type_code(page: Page, box: str, code: str) -> None:
    """Replace what stands in an editor."""
    area = page.locator(f"{box} .cm-content, {box} textarea").first
    area.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(code)


def test_the_reader_edits_the_labs_python(visit: Visit) -> None:
    page = visit.open(MODULE)
    page.locator(".mm-lab").get_by_role("button", name="Show the code").click()
    page.wait_for_selector(".mm-lab .cm-content")
    type_code(
        page, ".mm-lab", "def run(**knobs):\n    print('hello')\n    return {'text': str(6 * 7)}\n"
    )
    assert run_lab(page) == "42"
    assert "hello" in (page.locator(".mm-lab__extra").text_content() or "")

    type_code(page, ".mm-lab", "def run(**knobs):\n    return 1 / 0\n")
    page.locator(".mm-lab__run").click()
    expect(page.locator(".mm-lab__extra")).to_contain_text("ZeroDivisionError", timeout=WARM)

    type_code(
        page, ".mm-lab", "def run(**knobs):\n    return {'text': '<img src=x onerror=alert(1)>'}\n"
    )
    page.locator(".mm-lab__run").click()
    expect(page.locator(".mm-lab__text")).to_have_text("<img src=x onerror=alert(1)>", timeout=WARM)
    assert page.locator(".mm-lab__text img").count() == 0


def test_an_endless_loop_is_stopped(visit: Visit) -> None:
    page = visit.open(MODULE)
    page.locator(".mm-lab").get_by_role("button", name="Show the code").click()
    page.wait_for_selector(".mm-lab .cm-content")
    type_code(page, ".mm-lab", "def run(**knobs):\n    while True:\n        pass\n")
    page.locator(".mm-lab__run").click()
    page.wait_for_timeout(4000)
    page.locator(".mm-lab").get_by_role("button", name="Stop").click()
    expect(page.locator(".mm-lab__status")).to_contain_text("Stopped")
    type_code(page, ".mm-lab", "def run(**knobs):\n    return {'text': 'alive'}\n")
    assert run_lab(page) == "alive"


def test_the_exercise_accepts_the_right_and_names_the_wrong(visit: Visit) -> None:
    page = visit.open(MODULE)
    wrong = {
        "eps_outside.py": "outside the root",
        "layer_norm.py": "LayerNorm",
        "no_gain.py": "gain is missing",
    }
    box = page.locator(".mm-exercise")
    near(page, ".mm-exercise")
    for name, message in wrong.items():
        type_code(page, ".mm-exercise", (EXERCISE / "mutants" / name).read_text("utf-8"))
        box.get_by_role("button", name="Check").click()
        expect(box.locator(".mm-checks")).to_contain_text(message, timeout=COLD)
        assert box.locator(".mm-badge--good").count() == 0
    type_code(page, ".mm-exercise", (EXERCISE / "solution.py").read_text("utf-8"))
    box.get_by_role("button", name="Check").click()
    expect(box.locator(".mm-exercise__status")).to_contain_text("checks pass", timeout=WARM)
    expect(box.locator(".mm-badge--good")).to_have_text("passed")
    page.reload()
    expect(page.locator(".mm-exercise .mm-badge--good")).to_have_text("passed")
    visit.assert_clean()


def test_the_editor_does_not_trap_the_keyboard(visit: Visit) -> None:
    page = visit.open(MODULE)
    near(page, ".mm-exercise")
    page.locator(".mm-exercise .cm-content").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.cm-content')"), "Tab indents"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.matches('.cm-content')")


def test_a_figure_comes_alive_when_it_is_near_and_follows_the_palette(visit: Visit) -> None:
    page = visit.open(MODULE)
    figure = page.locator("figure.mm-figure").first
    assert page.evaluate("typeof window.Plotly") == "undefined", "no Plotly before it is needed"
    figure.scroll_into_view_if_needed()
    expect(figure.locator(".js-plotly-plot")).to_be_visible(timeout=WARM)
    ink = "() => getComputedStyle(document.querySelector('.js-plotly-plot text')).fill"
    light = page.evaluate(ink)
    page.evaluate("document.body.setAttribute('data-md-color-scheme', 'slate')")
    for _ in range(50):
        if page.evaluate(ink) != light:
            break
        page.wait_for_timeout(100)
    assert page.evaluate(ink) != light
    visit.assert_clean()


@pytest.mark.parametrize("visit", [{"phone": True}], indirect=True)
def test_on_a_touch_screen_a_figure_asks_first(visit: Visit) -> None:
    page = visit.open(MODULE)
    figure = page.locator("figure.mm-figure").first
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    assert figure.locator(".js-plotly-plot").count() == 0
    figure.get_by_role("button", name="Explore").click()
    expect(figure.locator(".js-plotly-plot")).to_be_visible(timeout=WARM)


def test_without_javascript_everything_is_readable(visit: Visit) -> None:
    context = visit.page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr]
    page = context.new_page()
    page.goto(visit.origin + MODULE)
    assert page.locator("figure.mm-figure svg").first.is_visible()
    assert page.locator(".mm-lab svg").first.is_visible()
    assert "def rms_norm" in (page.locator(".mm-exercise").text_content() or "")
    assert page.locator("math").count() > 3
    context.close()


def test_the_second_result_needs_no_second_start(visit: Visit) -> None:
    """Python stays warm; the times are printed, and judged in the benchmark, not here."""
    page = visit.open(MODULE)
    start = time.perf_counter()
    run_lab(page)
    cold = time.perf_counter() - start
    start = time.perf_counter()
    page.locator(".mm-lab input[type=range]").fill("19")
    expect(page.locator(".mm-lab .mm-lab__text")).to_contain_text("19 layers", timeout=WARM)
    warm = time.perf_counter() - start
    print(f"first lab result: cold {cold:.1f} s, warm {warm:.2f} s")
    assert cold < COLD / 1000
    assert warm < cold
