"""The world exam: an oracle passes, chance scores chance, and no length or place gives it away."""

from __future__ import annotations

import random
import time
from functools import partial

import pytest

from minimind_wiki.errors import WrongCall
from minimind_wiki.evaluate.world_exam import (
    SECTIONS,
    Item,
    by_answer,
    by_likelihood,
    exam,
    exam_items,
    wilson,
)

ITEMS = {section: list(exam_items(section, 60)) for section in SECTIONS}


def test_chance_scores_chance_in_seconds() -> None:
    rng = random.Random(0)
    start = time.perf_counter()
    scores = exam(partial(by_likelihood, lambda prompt, option: rng.random()), items=100)
    assert time.perf_counter() - start < 10
    assert [s.section for s in scores] == list(SECTIONS)
    inside = sum(s.interval[0] <= s.chance <= s.interval[1] for s in scores)
    assert inside >= len(SECTIONS) - 2
    assert "chance" in str(scores[0]) and all(0.2 <= s.chance <= 0.5 for s in scores)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_oracle_passes_and_its_opposite_fails(section: str) -> None:
    gold = {item.prompt: item.options for item in ITEMS[section]}
    for item in ITEMS[section]:
        assert by_likelihood(lambda p, o: float(o == gold[p][0]), item)
        assert not by_likelihood(lambda p, o: -float(o == gold[p][0]), item)
        assert not by_likelihood(lambda p, o: 0.0, item), "a constant model must not pass"
        assert by_answer(lambda p: gold[p][0], item) or section == "tools", item
        if section != "grammar":
            assert not any(by_answer(lambda p, i=i: gold[p][i], item)
                           for i in range(1, len(item.options)))  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_items_are_sound(section: str) -> None:
    items = ITEMS[section]
    assert items == list(exam_items(section, 60))
    assert items[:20] != list(exam_items(section, 20, seed=1))
    for item in items:
        assert len(set(item.options)) == len(item.options) >= 2, item
        assert item.prompt.strip()
    shorter = sum(len(i.options[0]) < len(i.options[1]) for i in items)
    longer = sum(len(i.options[0]) > len(i.options[1]) for i in items)
    assert abs(shorter - longer) <= 36, (shorter, longer)


def test_no_one_is_said_to_believe_what_was_just_seen_to_be_false() -> None:
    for item in ITEMS["belief"]:
        text, asked = item.prompt.rsplit("\n\n", 1)
        assert item.decisive[0] in text
        tail = text[text.rindex(item.decisive[0]) :]
        assert "nowhere" not in tail.split(".")[0], (tail, asked)


def test_refusing_always_or_never_is_no_better_than_chance() -> None:
    items = ITEMS["refusal"]
    refused = sum(by_answer(lambda p: "The text does not say.", item) for item in items)
    assert refused == len(items) // 2


def test_an_answer_must_not_name_two_options() -> None:
    item = Item("x", "Where?", ("At Fox Hill.", "At Owl Inn."), ("Fox Hill", "Owl Inn"))
    assert by_answer(lambda p: "It is at Fox Hill.", item)
    assert not by_answer(lambda p: "Fox Hill or Owl Inn", item)
    assert not by_answer(lambda p: "Fox Hills", item)


def test_wilson_and_wrong_calls() -> None:
    assert wilson(0, 10)[0] == 0 and wilson(10, 10)[1] == 1
    for right, items in ((1, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="no proportion"):
            wilson(right, items)
    with pytest.raises(WrongCall, match="did you mean 'tools'"):
        exam_items("tool")
    with pytest.raises(WrongCall, match="at least 1"):
        exam_items("tools", 0)
