"""Critique, revision and preferences without people, on the world's rubric."""

from __future__ import annotations

import itertools

import pytest

from minimind_wiki.data.schemas import check_row
from minimind_wiki.data.world.row_checks import PADS, RUBRIC, RUDE, WORDY, rubric
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.feedback import (
    CONSTITUTION,
    FeedbackReport,
    improve,
    label,
    noisy,
    preference,
    question_in,
    revision_rows,
    rubric_critic,
    rubric_judge,
    rubric_reviser,
)


def world(rows, **options):
    """(prompt, chosen, rejected, question, row) of preference rows."""
    for n, row in enumerate(make_rows("preference", rows, seed=8, **options)):
        prompt = row["chosen"][0]["content"]
        good, bad = row["chosen"][1]["content"], row["rejected"][1]["content"]
        yield prompt, good, bad, question_in(prompt, f"8.{n}"), row


CASES = list(world(80))


def test_the_constitution_has_a_rule_for_each_point_of_the_rubric() -> None:
    assert set(CONSTITUTION) == set(RUBRIC)
    assert {row["fails"] for *_, row in CASES} == set(RUBRIC)


def test_each_bad_answer_is_criticised_for_what_it_fails_and_revised_until_it_is_good() -> None:
    for prompt, good, bad, question, row in CASES:
        critic, reviser = rubric_critic(question), rubric_reviser(question)
        assert critic(prompt, good) == []
        assert improve(prompt, good, critic, reviser).rules == ()
        assert CONSTITUTION[row["fails"]] in critic(prompt, bad)
        got = improve(prompt, bad, critic, reviser)
        assert got.settled and all(rubric(got.answer, question).values())
        assert got.answer == question.answer
        rows = revision_rows(prompt, bad, got)
        assert rows["preference"]["chosen"][1]["content"] == got.answer
        assert rows["preference"]["rejected"] == row["rejected"]
        assert not check_row(rows["preference"], "preference") and not check_row(rows["sft"], "sft")
        assert revision_rows(prompt, good, improve(prompt, good, critic, reviser)) == {}


def test_an_answer_with_several_faults_is_revised_rule_by_rule_and_keeps_what_is_good() -> None:
    for prompt, good, bad, question, row in CASES:
        critic, reviser = rubric_critic(question), rubric_reviser(question)
        worst = f"{WORDY[0]}{good} {RUDE[0]}"
        got = improve(prompt, worst, critic, reviser)
        assert got.rules == (CONSTITUTION["polite"], CONSTITUTION["brief"])
        assert got.answer == good and got.settled
        if row["fails"] == "true":
            got = improve(prompt, f"{bad} {RUDE[1]}", critic, reviser)
            assert got.rules == (CONSTITUTION["polite"], CONSTITUTION["true"])
        rambling = good + " And" * 20  # idle words that no list has
        assert improve(prompt, rambling, critic, reviser).answer == question.answer
        padded = good + PADS[0]  # at most 12 words too many: the rubric lets it pass
        assert improve(prompt, padded, critic, reviser).rules == ()


def test_a_reviser_that_does_not_help_is_stopped() -> None:
    critic = lambda prompt, answer: ["Be kind."]  # noqa: E731
    got = improve("p", "a", critic, lambda prompt, answer, rule: answer)
    assert (got.answer, got.rules, got.settled) == ("a", (), False)
    ring = {"a": "b", "b": "c", "c": "a"}
    got = improve("p", "a", critic, lambda prompt, answer, rule: ring[answer])
    assert (got.answer, got.rules, got.settled) == ("c", ("Be kind.",) * 2, False)
    got = improve("p", "a", critic, lambda prompt, answer, rule: answer + "a", rounds=3)
    assert (got.answer, got.settled) == ("aaaa", False)
    assert revision_rows("p", "a", got) == {}
    with pytest.raises(WrongCall, match=r"'Be kind\.' is no rule"):
        rubric_reviser(CASES[0][3])("p", "a", "Be kind.")


def test_the_judge_prefers_truth_to_manners() -> None:
    for prompt, good, bad, question, row in CASES:
        judge = rubric_judge(question)
        assert judge(prompt, good, bad) == 1.0 and judge(prompt, bad, good) == 0.0
        assert judge(prompt, good, good) == 0.5
        if row["fails"] == "true":
            rude = f"{WORDY[0]}{question.short}. {RUDE[0]}"  # true, but nothing else
            assert judge(prompt, rude, bad) == 1.0


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_noise_is_what_was_stated(noise) -> None:
    """Within 4.5 standard deviations of the binomial, and the same in both orders."""
    wrong = []
    for prompt, good, bad, question, _ in CASES:
        for seed in range(10):
            judge = noisy(rubric_judge(question), noise, seed)
            p, swayed = preference(prompt, good, bad, judge)
            assert p in (0.0, 1.0) and not swayed
            assert preference(prompt, bad, good, judge) == (1 - p, False)
            wrong.append(p == 0.0)
    n = len(wrong)
    assert abs(sum(wrong) - n * noise) <= 4.5 * (n * noise * (1 - noise)) ** 0.5
    with pytest.raises(WrongCall, match=r"noise is 1\.5"):
        noisy(lambda prompt, first, second: 1.0, 1.5)


def test_labels_are_rows_that_a_preference_method_can_read() -> None:
    report = FeedbackReport()
    rows = []
    for prompt, good, bad, question, _ in CASES[:20]:
        pairs = [(prompt, bad, good), (prompt, good, good)]
        rows += label(pairs, rubric_judge(question), report)
    assert len(rows) == 20 and (report.pairs, report.ties, report.swayed) == (40, 20, 0)
    for row, (prompt, good, bad, *_) in zip(rows, CASES, strict=False):
        assert not check_row(row, "preference") and row["probability"] == 1.0
        assert [m["content"] for m in row["chosen"]] == [prompt, good]
        assert [m["content"] for m in row["rejected"]] == [prompt, bad]
    assert report.line().startswith("40 pairs; 20 tied")


def test_a_judge_who_favours_a_place_gives_no_preference() -> None:
    first = lambda prompt, a, b: 0.9  # noqa: E731
    assert preference("p", "a", "b", first) == (0.5, True)
    report = FeedbackReport()
    assert list(label([("p", "a", "b")], first, report)) == []
    assert report == FeedbackReport(pairs=1, ties=1, swayed=1)
    mild = lambda prompt, a, b: 0.7 if a == "good" else 0.6  # noqa: E731
    p, swayed = preference("p", "good", "bad", mild)
    assert p == pytest.approx(0.55) and swayed
    (row,) = label([("p", "bad", "good")], mild)
    assert row["chosen"][1]["content"] == "good" and row["probability"] == pytest.approx(0.55)
    for odd in (float("nan"), 1.5, -0.1):
        with pytest.raises(WrongCall, match="no probability"):
            preference("p", "a", "b", lambda prompt, x, y, odd=odd: odd)


def test_a_prompt_is_not_taken_for_that_of_another_row() -> None:
    prompts = [prompt for prompt, *_ in itertools.islice(world(3), 3)]
    with pytest.raises(MinimindError, match=r"not that of row '8\.1'"):
        question_in(prompts[0], "8.1")
    with pytest.raises(MinimindError, match="its truth is unknown"):
        question_in("Where is Loena?", "8.0")
