"""The world exam: an oracle passes, chance scores chance, and no length or place gives it away."""

from __future__ import annotations

import random
from functools import partial

import pytest

from minimind_wiki.data.world import make_document
from minimind_wiki.errors import WrongCall
from minimind_wiki.evaluate.baselines import TRICKS, baselines, bigram
from minimind_wiki.evaluate.grammar import other_gender, other_tense
from minimind_wiki.evaluate.tricks import balanced, by_trick, longest
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


def test_chance_scores_chance() -> None:
    rng = random.Random(0)
    scores = exam(partial(by_likelihood, lambda prompt, option: rng.random()), items=100)
    assert [s.section for s in scores] == list(SECTIONS)
    inside = sum(s.interval[0] <= s.chance <= s.interval[1] for s in scores)
    assert inside >= len(SECTIONS) - 2
    assert "chance" in str(scores[0]) and all(0.2 <= s.chance <= 0.5 for s in scores)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_oracle_passes_and_its_opposite_fails(section: str) -> None:
    gold = {item.prompt: item.options for item in ITEMS[section]}
    for item in ITEMS[section]:
        assert by_likelihood(lambda p, o: float(o.strip() == gold[p][0]), item)
        assert not by_likelihood(lambda p, o: -float(o.strip() == gold[p][0]), item)
        assert item.lead and not item.lead.strip()
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


JUDGES = baselines(make_document(seed).text for seed in range(300))
MANY = {section: list(exam_items(section, 150)) for section in SECTIONS}


@pytest.mark.parametrize("section", SECTIONS)
def test_no_shallow_trick_beats_chance(section: str) -> None:
    """The tricks are held to one item in a group ahead; the bigram model to its interval."""
    items = MANY[section]
    chance = sum(1 / len(item.options) for item in items) / len(items)
    for name, judge in JUDGES.items():
        right = sum(map(judge, items))
        if name in TRICKS:
            assert right <= chance * len(items) + 2.5, name  # a last group may be cut off
        assert wilson(right, len(items))[0] <= chance + 0.02, (name, right)


def test_plain_samples_would_reward_a_trick() -> None:
    """What the balance is for: unfiltered, looking at the end solves most questions."""
    from minimind_wiki.evaluate.world_exam import _reading

    stream = _reading("near", "test", 0)
    items = [next(stream) for _ in range(150)]
    hits = sum(map(JUDGES["last mentioned"], items))
    chance = sum(1 / len(item.options) for item in items) / len(items)
    assert wilson(hits, len(items))[0] > chance + 0.2


@pytest.mark.parametrize("section", SECTIONS)
def test_no_prompt_comes_twice(section: str) -> None:
    prompts = [item.prompt for item in MANY[section]]
    assert len(prompts) == len(set(prompts)) == 150


def test_the_tools_of_the_exam_stay_mixed() -> None:
    """The calculator has the most prompts; the others must not run dry beside it."""
    for name in ("calculator", "calendar", "inventory"):
        assert sum(f'"{name}"' in item.options[0] for item in MANY["tools"]) > 20


def test_a_shorter_exam_is_the_beginning_of_a_longer_one() -> None:
    for section in SECTIONS:
        assert MANY[section][:60] == ITEMS[section]


def test_the_balance_lets_no_trick_get_ahead_and_keeps_groups_whole() -> None:
    long = Item("x", "Which?", ("yes, of course", "no"), ("yes", "no"))
    short = Item("x", "Which?", ("no", "yes, of course"), ("no", "yes"))
    assert by_trick(longest, long) and not by_trick(longest, short)
    passed = list(balanced([(long,)] * 50, most=2))
    assert len(passed) == 4  # each is half an item ahead
    assert set(balanced([(long, short)] * 50)) == {long, short}


def test_equals_are_a_coin_toss_whatever_their_place() -> None:
    """Within four deviations of a third."""
    options = ("red", "tan", "sky")
    items = [Item("x", f"Number {n}?", options, options) for n in range(5000)]
    hits = sum(by_trick(longest, item) for item in items)
    assert abs(hits / 5000 - 1 / 3) < 4 * (1 / 3 * 2 / 3 / 5000) ** 0.5


def test_a_bigram_model_knows_neighbours_only() -> None:
    score = bigram(["Mila was glad. Tano was sad."])
    assert score("Then Mila", "was glad") > score("Then Mila", "glad was")
    assert score("Mila", "was glad") == score("Tano was sad. Mila", "was glad")
    with pytest.raises(WrongCall, match="at least one text"):
        bigram([])


def test_belief_pairs_ask_for_both_places_of_one_thing() -> None:
    for unseen, seen in zip(MANY["belief"][::2], MANY["belief"][1::2], strict=True):
        assert unseen.decisive == seen.decisive[::-1]
        assert unseen.prompt.rsplit("\n\n", 1)[0] == seen.prompt.rsplit("\n\n", 1)[0]
        assert unseen.prompt != seen.prompt


def test_grammar_faults_are_in_narration_and_need_the_context() -> None:
    assert other_tense('"It was here," Mila said.', present=False) == '"It was here," Mila says.'
    assert other_tense("Mila runs to Fox Hill.", present=True) == "Mila ran to Fox Hill."
    assert other_tense("I ran to Fox Hill.", present=False) == ""
    assert other_gender('"She is here," he said.', {"Tano"})[0] == '"She is here," she said.'
    assert other_gender("Then she ran.", {"Mila", "Tano"})[0] == ""
    kinds = [next(k for k in range(4) if k == n % 4) for n in range(len(MANY["grammar"]))]
    for kind, item in zip(kinds, MANY["grammar"], strict=True):
        good, bad = item.options
        assert good != bad
        if kind >= 2:
            changed = [w for w, v in zip(good.split(), bad.split(), strict=True) if w != v]
            female = changed[0].strip('"').lower() in ("she", "her")
            assert len(changed) == 1 and female == (kind == 3), item.options


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
