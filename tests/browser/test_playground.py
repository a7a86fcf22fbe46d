"""The playground: stages answer, tokens are inspected by keyboard, a link restores the view."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, SITE, Visit
from playwright.sync_api import Locator, Page, expect

PLAYGROUND, INSIDE = "/en/playground/", "/en/playground/inside/"
SOON = 60_000
STAGES = ("random", "pretrained", "sft", "dpo", "rl")

pytestmark = pytest.mark.skipif(
    not (SITE / "en/assets/build/lm/models.json").exists(),
    reason="the site was built without trained models, so the playground has none",
)


def live(visit: Visit, query: str = "") -> Page:
    """The playground, once its scripts have taken over from the recorded run."""
    page = visit.open(PLAYGROUND + query)
    page.wait_for_selector(".mm-playground[data-live]")
    return page


def tokens(page: Page) -> Locator:
    """The tokens of the answer that is inspected."""
    return page.locator("[data-pane=inspect] [data-part=answer] .mm-token")


def answered(page: Page) -> None:
    """Wait until the inspected answer is complete."""
    expect(page.locator("[data-pane=inspect] [data-part=fact]")).to_contain_text(
        "tokens/s", timeout=SOON
    )


def test_five_stages_answer_one_prompt_and_stream(visit: Visit) -> None:
    page = live(visit)
    first = page.locator(".mm-stage[data-stage=rl] [data-part=answer]").text_content()
    assert first, "the recorded run stands before any click"
    fetched = page.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
    assert not [url for url in fetched if url.endswith(".bin")], "no model before it is asked for"
    page.evaluate(
        """() => { window.steps = new Set();
        const column = document.querySelector('.mm-stage[data-stage=rl] [data-part=answer]');
        new MutationObserver(() => window.steps.add(column.children.length))
          .observe(column, {childList: true}); }"""
    )
    page.locator("[data-pane=stages] [data-action=run]").click()
    for stage in STAGES:
        column = page.locator(f".mm-stage[data-stage={stage}]")
        expect(column.locator(".mm-stage__fact")).to_contain_text("tokens/s", timeout=SOON)
        assert column.locator("[data-part=answer] .mm-token").count() > 3
    assert page.evaluate("window.steps.size") > 3, "the tokens come one after the other"
    assert page.locator(".mm-stage[data-stage=rl] [data-part=answer]").text_content() == first
    visit.assert_clean()


def test_the_inspector_by_keyboard_alone(visit: Visit) -> None:
    """An answer, a walk along its tokens, another token chosen: no pointer is needed."""
    page = live(visit, "?tab=inspect&model=world-tiny-chat")
    page.locator("[data-pane=inspect] textarea").focus()
    page.keyboard.press("Enter")
    answered(page)
    before = [token.text_content() for token in tokens(page).all()]
    tokens(page).first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens(page).nth(1)).to_be_focused()
    expect(page).to_have_url(re.compile(r"\bat=1"))  # written a moment later
    page.keyboard.press("Home")
    page.keyboard.press("Enter")  # into the alternatives
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(tokens(page).first).to_have_text(focused, timeout=SOON)
    expect(tokens(page).first).to_be_focused()
    answered(page)
    expect(page).to_have_url(re.compile(r"\bpath="))
    assert [token.text_content() for token in tokens(page).all()] != before
    expect(page.locator(".mm-branch")).to_have_count(1)
    visit.assert_clean()


def test_a_link_restores_the_way_that_was_chosen(visit: Visit) -> None:
    page = live(visit, "?tab=inspect&model=world-tiny-chat")
    page.locator("[data-pane=inspect] [data-action=run]").click()
    answered(page)
    page.locator(".mm-odds button").nth(1).click()
    expect(page.locator(".mm-branch")).to_have_count(1)
    answered(page)
    expect(page).to_have_url(re.compile(r"\bpath="))
    chosen, linked = [t.text_content() for t in tokens(page).all()], page.url
    page.goto("about:blank")
    page.goto(linked)
    page.wait_for_selector(".mm-playground[data-live]")
    expect(page.get_by_role("tab", name="Inspect")).to_have_attribute("aria-selected", "true")
    expect(page.locator("[data-pick=model]:visible")).to_have_value("world-tiny-chat")
    page.locator("[data-pane=inspect] [data-action=run]").click()
    answered(page)
    assert [t.text_content() for t in tokens(page).all()] == chosen
    expect(page).to_have_url(linked)


def test_the_odds_are_reshaped_while_a_knob_moves(visit: Visit) -> None:
    page = live(visit, "?tab=reshape&model=world-tiny-chat&ask=Who%20are%20you%3F")
    page.locator("[data-pane=reshape] [data-action=run]").click()
    panel = page.locator(".mm-panel[data-panel=reshape]")
    expect(panel).to_contain_text("bits before", timeout=SOON)
    before = panel.text_content()
    knob = panel.get_by_label("top-k").first
    knob.focus()
    knob.press("ArrowRight")
    expect(panel).not_to_have_text(before or "", timeout=SOON)
    expect(panel).to_contain_text("1 of 2,048 tokens")
    expect(page).to_have_url(re.compile(r"\bk=1"))
    visit.assert_clean()


def test_a_model_folder_from_disk_is_opened_and_talks(visit: Visit) -> None:
    sent: list[str] = []
    page = live(visit, "?tab=inspect")
    offered = page.locator("[data-pick=model]:visible option")
    expect(offered).not_to_have_count(0)  # the list of models is here
    page.on("request", lambda request: sent.append(request.url))
    page.locator(".mm-own summary").click()
    page.locator("input[data-own=folder]").set_input_files(ROOT / "models/world-nano")
    expect(page.locator("[data-pick=model]:visible")).to_have_value("own:world-nano", timeout=SOON)
    page.locator("[data-action=run]:visible").click()
    answered(page)
    assert tokens(page).count() > 3
    assert not [url for url in sent if "/lm/" in url], "nothing is fetched, nothing leaves the page"
    visit.assert_clean()


def test_a_lora_folder_from_disk_goes_onto_its_model_by_any_strength(visit: Visit) -> None:
    page = live(visit, "?tab=inspect&model=world-tiny-chat")
    page.locator("[data-action=run]:visible").click()
    answered(page)
    plain = [t.text_content() for t in tokens(page).all()]
    knob = page.locator("[data-pane=inspect] [data-knob=lora]")
    expect(knob).to_be_hidden()
    page.locator(".mm-own summary").click()
    page.locator("input[data-own=folder]").set_input_files(ROOT / "models/world-tiny-grpo")
    expect(page.locator("[data-pick=model]:visible")).to_have_value(
        "own:world-tiny-grpo", timeout=SOON
    )
    expect(page.locator(".mm-load")).to_contain_text("changes the model “Fine-tuned on chats")
    answered(page)
    whole = [t.text_content() for t in tokens(page).all()]
    assert whole != plain
    expect(knob).to_be_visible()
    knob.focus()
    knob.press("Home")
    expect(page).to_have_url(re.compile(r"\blora=0\b"))
    for place, text in enumerate(plain):  # at 0 it is its base
        expect(tokens(page).nth(place)).to_have_text(text or "", timeout=SOON)
    answered(page)
    expect(tokens(page)).to_have_count(len(plain))
    visit.assert_clean()


def test_any_turn_of_a_talk_is_inspected(visit: Visit) -> None:
    page = live(
        visit,
        "?tab=chat&model=world-tiny-chat&t=0.8&seed=3&say=Who+are+you%3F&say=And+what+is+12+%2B+7%3F",
    )
    page.locator("[data-action=replay]").click()
    turns = page.locator("[data-pane=chat] [data-role=assistant]")
    expect(turns.nth(1).locator("[data-action=inspect]")).to_be_visible(timeout=SOON)
    said = [turns.nth(n).locator(".mm-chat__text").text_content() for n in range(2)]

    def inspected() -> str:
        answered(page)
        shown = page.locator(
            "[data-pane=inspect] [data-part=answer] .mm-token:not(.mm-token--control)"
        )
        return "".join(token.text_content() or "" for token in shown.all())

    turns.nth(1).locator("[data-action=inspect]").click()
    assert inspected() == said[1], "the same talk and the same dice give the same answer"
    talk = page.locator("[data-pane=inspect] [data-part=talk]")
    expect(talk).to_contain_text("Turn 2 of a talk")
    expect(page).to_have_url(re.compile(r"say=Who"))
    page.reload()
    page.wait_for_selector(".mm-playground[data-live]")
    page.locator("[data-action=run]:visible").click()
    assert inspected() == said[1], "the link keeps the talk"
    talk.locator("[data-action=turn]").click()
    assert inspected() == said[0]
    expect(talk).to_be_hidden()
    visit.assert_clean()


def test_files_that_are_no_model_are_refused_in_words(visit: Visit, tmp_path: Path) -> None:
    page = live(visit)
    page.locator(".mm-own summary").click()
    for name, content, said in (
        ("model.gguf", b"GGUF", "gguf"),
        ("model.bin", b"MMB1\xff\xff\xff\xff", "damaged or cut short"),
        ("config.json", b"{}", "model.safetensors is missing"),
        ("pytorch_model.bin", b"", "a pickle"),
    ):
        (tmp_path / name).write_bytes(content)
        page.locator("input[data-own=files]").set_input_files(tmp_path / name)
        expect(page.locator(".mm-load [role=alert]")).to_contain_text(said, timeout=SOON)
    visit.assert_clean()


def test_attention_is_shown_live_on_the_readers_text(visit: Visit) -> None:
    page = visit.open(INSIDE)
    view = page.locator(".mm-view").first
    view.scroll_into_view_if_needed()
    assert view.locator("svg, canvas").first.is_visible(), "the recorded picture stands first"
    view.get_by_role("button", name="live").first.click()
    field = view.locator("textarea, input[type=text]").first
    field.fill("Ada has a red lamp. Ada has a")
    field.press("Enter")
    expect(view).to_contain_text("lamp", timeout=SOON)
    visit.assert_clean()
