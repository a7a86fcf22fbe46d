"""The quiz and the progress it keeps, by keyboard alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conftest import Visit
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
QUIZ = "/en/modules/normalization/quiz/"
QUESTIONS = yaml.safe_load((ROOT / "docs/en/modules/normalization/quiz.yaml").read_text("utf-8"))[
    "questions"
]


def tab_to(page: Page, selector: str, limit: int = 200) -> None:
    """Press Tab until the focus is on what the selector names."""
    for _ in range(limit):
        if page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reached {selector}")


def answer(page: Page, question: dict, right: bool) -> None:
    """Answer one question with keys only: Tab to it, arrows or Space to choose, Enter to check."""
    card = f"#q-{question['id']}"
    if question["type"] == "number":
        tab_to(page, f"{card} input[type=text]")
        spec = json.loads(page.locator(".mm-quiz script").first.text_content() or "")
        value = next(q["answer"] for q in spec["questions"] if q["id"] == question["id"])
        page.keyboard.type(str(value if right else value * 7 + 3))
    else:
        kind = "checkbox" if question["type"] == "multi" else "radio"
        tab_to(page, f"{card} input[type={kind}]")
        wanted = [bool(option.get("right")) == right for option in question["options"]]
        if kind == "radio":
            # Space chooses the focused radio; the arrows move the choice.
            page.keyboard.press("Space")
            for _ in range(wanted.index(True)):
                page.keyboard.press("ArrowDown")
        else:
            for index, choose in enumerate(wanted):
                tab_to(page, f"{card} .mm-q__option:nth-of-type({index + 1}) input")
                if choose:
                    page.keyboard.press("Space")
    tab_to(page, f"{card} button[type=submit]")
    page.keyboard.press("Enter")


def test_every_question_is_answered_by_keyboard_and_survives_a_reload(visit: Visit) -> None:
    page = visit.open(QUIZ)
    for question in QUESTIONS:
        answer(page, question, right=True)
        state = page.locator(f"#q-{question['id']}").get_attribute("data-state")
        assert state == "right", question["id"]
    score = page.locator(".mm-quiz__score").text_content()
    assert (
        score == f"{len(QUESTIONS)} of {len(QUESTIONS)} right, {len(QUESTIONS)} at the first try."
    )
    page.reload()
    page.wait_for_selector(".mm-quiz fieldset")
    assert page.locator(".mm-q[data-state=right]").count() == len(QUESTIONS)
    assert page.locator(".mm-quiz__score").text_content() == score
    visit.assert_clean()


def test_a_wrong_answer_explains_every_option_and_comes_back(visit: Visit) -> None:
    page = visit.open(QUIZ)
    question = next(q for q in QUESTIONS if q["type"] == "single")
    answer(page, question, right=False)
    card = page.locator(f"#q-{question['id']}")
    assert card.get_attribute("data-state") == "wrong"
    assert card.locator(".mm-q__reason:visible").count() == len(question["options"])
    assert page.evaluate("document.activeElement.textContent") == "Try again"
    assert page.locator(".mm-quiz__review").is_visible()
    page.keyboard.press("Enter")
    answer(page, question, right=True)
    assert card.get_attribute("data-state") == "right"
    assert page.locator(".mm-quiz__review").is_hidden()


def test_a_half_given_answer_survives_a_reload(visit: Visit) -> None:
    page = visit.open(QUIZ)
    question = next(q for q in QUESTIONS if q["type"] == "single")
    option = page.locator(f"#q-{question['id']} input").nth(1)
    option.check()
    page.reload()
    page.wait_for_selector(".mm-quiz fieldset")
    assert page.locator(f"#q-{question['id']} input").nth(1).is_checked()
    assert page.locator(".mm-q[data-state]").count() == 0


def test_progress_is_exported_reset_and_imported(visit: Visit, tmp_path: Path) -> None:
    page = visit.open(QUIZ)
    answer(page, QUESTIONS[0], right=True)
    page = visit.open("/en/paths/")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Export").click()
    kept = tmp_path / "progress.json"
    caught.value.save_as(kept)
    assert QUESTIONS[0]["id"] in kept.read_text("utf-8")

    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Delete all progress").click()
    assert QUESTIONS[0]["id"] not in str(page.evaluate("JSON.stringify(localStorage)"))

    page.set_input_files(".mm-progress input[type=file]", kept)
    expect(page.locator(".mm-progress [role=status]")).to_contain_text("Imported progress.json")
    page = visit.open(QUIZ)
    assert page.locator(".mm-q[data-state=right]").count() == 1


@pytest.mark.parametrize("text", ["", "not json", '{"schema": 99}', '["list"]'])
def test_a_foreign_file_is_refused_and_nothing_is_lost(
    visit: Visit, tmp_path: Path, text: str
) -> None:
    page = visit.open(QUIZ)
    answer(page, QUESTIONS[0], right=True)
    before = page.evaluate("JSON.stringify(localStorage)")
    page = visit.open("/en/paths/")
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text, "utf-8")
    page.set_input_files(".mm-progress input[type=file]", wrong)
    status = page.locator(".mm-progress [role=status]")
    expect(status).not_to_be_empty()
    expect(status).not_to_contain_text("Imported")
    assert QUESTIONS[0]["id"] in before
    assert QUESTIONS[0]["id"] in page.evaluate("JSON.stringify(localStorage)")


def test_a_guess_is_kept_and_met_again(visit: Visit) -> None:
    page = visit.open("/en/modules/normalization/")
    box = page.locator(".mm-predict")
    box.locator("input[type=radio]").nth(1).check()
    box.get_by_role("button").first.click()
    chosen = box.locator("label").nth(1).text_content() or ""
    page.reload()
    page.wait_for_selector(".mm-predict input")
    assert page.locator(".mm-predict input[type=radio]").nth(1).is_checked()
    assert chosen.strip()[:20] in (page.locator(".mm-recall").text_content() or "")
