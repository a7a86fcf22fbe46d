"""The views into a model: recorded first, then live, by keyboard, and as links."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Visit
from playwright.sync_api import Browser, Locator, Page, expect

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "/en/playground/inside/"
AXE = (ROOT / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
LOOKS = [json.loads(f.read_text("utf-8")) for f in ROOT.glob("snippets/views/world*.json")]
LOOK = next(look for look in LOOKS if look["other"])


def live(page: Page, name: str) -> Locator:
    """Open the live model of a view and wait until it shows something."""
    view = page.locator(f"#view-{name}")
    view.locator("[data-action=open-live]").click()
    page.wait_for_selector(f"#view-{name}[data-live]", timeout=60_000)
    return view


def percent(view: Locator, selector: str) -> float:
    """The last percentage in the text of an element."""
    text = view.locator(selector).first.inner_text()
    return float(re.findall(r"([\d.]+) %", text)[-1])


def test_everything_is_there_without_scripts(browser: Browser, origin: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(origin + INSIDE)
    views = page.locator(".mm-view")
    assert views.count() == 7
    for number in range(views.count()):
        static = views.nth(number).locator(".mm-view__static")
        expect(static).to_be_visible()
        assert "world-tiny" in views.nth(number).inner_text()
        assert len(static.inner_text()) > 60
    assert page.locator("[data-action=open-live]").count() == 0
    context.close()


def test_heads_are_chosen_by_arrows_and_switched_off(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "attention")
    grid = view.locator(".mm-heads")
    expect(grid.locator("[aria-checked=true]")).to_have_attribute("data-head", "0.1")
    assert percent(view, ".mm-bars tbody tr") == pytest.approx(100 * LOOK["answer"][2], abs=1)
    grid.locator("[aria-checked=true]").focus()
    for key in ("ArrowDown", "ArrowDown", "End", "ArrowRight"):
        page.keyboard.press(key)
    chosen = grid.locator("[aria-checked=true]")
    expect(chosen).to_have_attribute("data-head", "2.5")
    expect(chosen).to_be_focused()
    expect(page).to_have_url(re.compile(r"attention\.head=5"))
    grid.locator("[data-head='0.1']").click()
    view.locator("[data-action=off]").click()
    expect(view.locator(".mm-view__off")).to_contain_text("layer 0, head 1")
    rows = view.locator(".mm-bars tbody tr", has_text="Meadow")
    expect(rows.locator("td").last).to_contain_text("%")
    left = float(rows.locator("td").last.inner_text().split()[0])
    assert left == pytest.approx(100 * LOOK["without_head"][0][1], abs=0.5)
    view.locator("[data-action=all-on]").click()
    expect(view.locator(".mm-view__off")).to_be_hidden()
    visit.assert_clean()


def test_the_text_is_walked_token_by_token(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "attention")
    strip = view.locator(".mm-strip")
    strip.locator("[aria-checked=true]").focus()
    page.keyboard.press("Home")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(strip.locator("[aria-checked=true]")).to_contain_text("Meadow")
    expect(view.locator(".mm-pattern__at")).to_contain_text("Meadow")
    assert strip.locator("[data-step]").count() == 7, "a token sees itself and what came before"
    visit.assert_clean()


def test_a_link_opens_the_view_as_it_was(visit: Visit) -> None:
    query = "?attention.layer=3&attention.head=4&attention.off=0.1_0.5&attention.ask=Ada+was+here"
    page = visit.open(INSIDE + query)
    expect(page.locator("#view-attention .mm-status")).to_contain_text("link")
    view = live(page, "attention")
    expect(view.locator("textarea")).to_have_value("Ada was here")
    expect(view.locator("[aria-checked=true][data-head]")).to_have_attribute("data-head", "3.4")
    expect(view.locator(".mm-head--off")).to_have_count(2)
    visit.assert_clean()


def test_a_part_of_a_layer_is_cut_and_the_top_ten_shown(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "lens")
    last = view.locator("[data-cell='4.12']")
    expect(last).to_contain_text("Meadow")
    last.focus()
    page.keyboard.press("ArrowUp")
    expect(view.locator("[data-cell='3.12']")).to_be_focused()
    expect(view.locator(".mm-view__detail tbody tr")).to_have_count(10)
    view.locator("[data-off='0.m']").click()
    expect(view.locator(".mm-view__off")).to_contain_text("MLP of layer 0")
    expect(view.locator("[data-off='0.m']")).to_be_focused()
    visit.assert_clean()


def test_a_model_that_chats_reads_text_or_chat(visit: Visit) -> None:
    page = visit.open(INSIDE + "?next.model=world-tiny-chat&next.ask=Hello")
    view = live(page, "next")
    expect(view.locator(".mm-view__count")).to_contain_text("plain text")
    view.locator("[data-action=form]").click()
    expect(view.locator(".mm-view__count")).to_contain_text("read as a chat")
    expect(page).to_have_url(re.compile(r"next\.form=chat"))
    visit.assert_clean()


@pytest.mark.parametrize(
    "visit", [{}, {"dark": True}, {"phone": True}, {"phone": True, "dark": True}], indirect=True,
    ids=["desk-light", "desk-dark", "phone-light", "phone-dark"],
)  # fmt: skip
def test_live_views_are_accessible(visit: Visit) -> None:
    """axe finds nothing while all views are at work: run, cut, patched, with every table open."""
    page = visit.open(INSIDE)
    for name in ("attention", "no-repeat", "lens", "patch", "tokens", "next"):
        live(page, name)
    page.locator("#view-attention [data-action=off]").click()
    expect(page.locator("#view-attention .mm-view__off")).to_be_visible()
    page.locator("#view-lens [data-cell='3.12']").click()
    expect(page.locator("#view-lens .mm-view__detail tbody tr")).to_have_count(10)
    page.locator("#view-lens [data-off='0.m']").click()
    expect(page.locator("#view-lens .mm-view__off")).to_contain_text("MLP of layer 0")
    expect(page.locator("#view-patch [data-cell='4.12']")).to_have_text(re.compile(r"\d"))
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true })")
    tables = page.locator(".mm-view details[open] table")
    expect(tables.first).to_be_visible()
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert not [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in found]
    visit.assert_clean()


def test_patches_say_live_what_was_recorded(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "patch")
    for row, cells in enumerate(LOOK["patch"]["map"]):
        for position, share in enumerate(cells):
            shown = float(view.locator(f"[data-cell='{row}.{position}']").inner_text())
            assert shown == pytest.approx(100 * share, abs=1), (row, position)
    visit.assert_clean()


def test_neurons_are_ranked_kept_and_looked_up(visit: Visit) -> None:
    page = visit.open("/en/modules/feedforward/")
    view = live(page, "neurons")
    prompt = LOOK["prompt"]
    look = next(look for look in LOOKS if look["prompt"] == prompt and not look["other"])
    recorded = look["neurons"][0]["rows"]
    shown = view.locator("[data-neuron]")
    assert shown.all_inner_texts() == [str(neuron) for neuron, _, _ in recorded]
    for number, (_, values, _) in enumerate(recorded):
        cells = view.locator(".mm-neurons tbody tr").nth(number).locator("td").all_inner_texts()
        assert [float(cell.replace("−", "-")) for cell in cells] == pytest.approx(values, abs=0.11)
    expect(view).to_contain_text(recorded[0][2][0].strip())
    fourth = recorded[3][0]
    view.locator(f"[data-neuron='{fourth}']").focus()
    page.keyboard.press("Enter")
    expect(shown.first).to_have_text(str(fourth))
    expect(shown.first).to_be_focused()
    expect(page).to_have_url(re.compile(rf"neurons\.neuron={fourth}"))
    view.locator("textarea").fill("Ada was here")
    expect(view.locator(".mm-neurons thead")).to_contain_text("here")
    expect(shown.first).to_have_text(str(fourth))
    view.locator(".mm-strip [aria-checked=true]").focus()
    page.keyboard.press("Home")
    expect(view.locator(".mm-neurons__at")).to_have_text(
        view.locator(".mm-strip__text").first.inner_text()
    )
    for wrong in ("512", "x", "-3"):
        view.locator("[data-field=neuron]").fill(wrong)
        expect(view).to_contain_text(f"“{wrong}” is no neuron of this layer; they go from 0 to 511")
    view.locator("[data-field=neuron]").fill("7")
    expect(shown.first).to_have_text("7")
    view.locator("[data-pick=layer]").select_option("3")
    expect(page).to_have_url(re.compile(r"neurons\.layer=3"))
    view.locator("[data-action=reset]").click()
    expect(shown.first).to_have_text(str(recorded[0][0]))
    view.locator("summary").click()
    page.evaluate(AXE)
    found = page.evaluate("axe.run('#view-neurons', {resultTypes: ['violations']})")["violations"]
    assert not [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.assert_clean()


def test_what_a_reader_writes_is_text(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "tokens")
    view.locator("textarea").fill("<img src=x onerror=document.title='x'> é🙂")
    expect(view.locator(".mm-view__count")).not_to_have_text("13 tokens")
    expect(view.locator(".mm-token__text").first).to_contain_text("<")
    assert view.locator("img").count() == 0
    shown = view.locator(".mm-token__bytes").all_inner_texts()
    assert bytes.fromhex("".join(shown)).decode() == view.locator("textarea").input_value()
    view.locator("textarea").fill("")
    expect(view.locator("[role=alert]")).to_contain_text("write some")
    visit.assert_clean()


@pytest.mark.parametrize("visit", [{"phone": True}, {"phone": True, "dark": True}], indirect=True)
def test_a_phone_shows_all_without_scrolling_sideways(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = live(page, "attention")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = view.locator(".mm-pattern").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360
    slider = page.locator("#view-cache input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#view-cache output")).to_have_text("32,768 tokens")
    visit.assert_clean()
