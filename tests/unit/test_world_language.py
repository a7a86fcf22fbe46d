"""Vosk: both directions are exact, no two meanings share a sentence, and what is new is known."""

from __future__ import annotations

from itertools import pairwise

import pytest

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.language import (
    FRAMES,
    STEMS,
    Clause,
    NotVosk,
    Noun,
    parse_vosk,
    to_vosk,
)
from minimind_wiki.data.world.rows import check_row, make_rows
from minimind_wiki.data.world.translate import clause, parse_english, to_english
from minimind_wiki.data.world.words import LOOKS, SPLITS, THINGS, split_of

CLAUSES = {
    split: [clause(c, split) for c in [Chooser(f"clauses {split}")] for _ in range(2500)]
    for split in SPLITS
}


@pytest.mark.parametrize("split", SPLITS)
def test_both_languages_lead_back_to_the_meaning(split: str) -> None:
    for meaning in CLAUSES[split]:
        assert parse_vosk(to_vosk(meaning)) == meaning
        assert parse_english(to_english(meaning)) == meaning


@pytest.mark.parametrize(("meaning", "said"), [
    (Clause("have", ("Milo",), Noun("box", "two", "old")), "Milo has two old boxes."),
    (Clause("have", ("Milo", "Tala"), Noun("axe", "a"), past=True), "Milo and Tala had an axe."),
    (Clause("go", ("Milo",), place="Fox Hill", negative=True), "Milo does not go to Fox Hill."),
    (Clause("go", ("Milo",), place="Fox Hill"), "Milo goes to Fox Hill."),
    (Clause("give", ("Milo",), Noun("scarf", "some"), whom="Tala", past=True),
     "Milo gave some scarves to Tala."),
    (Clause("be", Noun("cup", "all the"), place="Fox Hill", past=True, question=True),
     "Were all the cups at Fox Hill?"),
    (Clause("greet", ("Milo", "Tala"), who="Sara", past=True, negative=True, question=True),
     "Did Milo and Tala not greet Sara?"),
    (Clause("seem", Noun("brush", "a", "old"), look="new"),
     "An old brush seems new."),
])  # fmt: skip
def test_english_is_english(meaning: Clause, said: str) -> None:
    """Written by hand: two parsers that agree could agree on bad English."""
    assert to_english(meaning) == said


def test_no_two_meanings_share_a_sentence() -> None:
    meanings = {meaning for some in CLAUSES.values() for meaning in some}
    assert len(meanings) > 7000
    assert len({to_vosk(m) for m in meanings}) == len(meanings)
    assert len({to_english(m) for m in meanings}) == len(meanings)
    assert {m.verb for m in meanings} == set(FRAMES)


def test_training_has_no_held_out_construction_but_every_stem() -> None:
    pairs = {s: [m.constructions() for m in some] for s, some in CLAUSES.items()}
    assert {split_of(p) for some in pairs["train"] for p in some} == {"train"}
    for split in ("validation", "test"):
        new = [some for some in pairs[split] if split in map(split_of, some)]
        assert 0.45 < len(new) / 2500 < 0.55
        assert {split_of(p) for some in pairs[split] for p in some} == {"train", split}
    stems = {pair.split()[0] for some in pairs["train"] for pair in some}
    assert stems == {*FRAMES, *THINGS, *LOOKS}
    # each held-out ending is met in training, on another stem
    endings = {s: {p.split(" ", 1)[1] for some in x for p in some} for s, x in pairs.items()}
    assert endings["test"] <= endings["train"]


def test_stems_are_distinct_and_can_be_said() -> None:
    assert len(set(STEMS.values())) == len(STEMS) == len({*FRAMES, *THINGS, *LOOKS}) + 4
    for stem in STEMS.values():
        vowels = [letter in "aeiou" for letter in stem]
        assert vowels == [n % 2 == 1 for n in range(len(stem))]


def test_a_sentence_with_one_fault_is_refused() -> None:
    refused = 0
    for meaning in CLAUSES["train"][:300]:
        words = to_vosk(meaning).split()
        for wrong in (words[::-1], words[1:], [*words, "ki."], [w + "i" for w in words]):
            with pytest.raises(NotVosk):
                parse_vosk(" ".join(wrong))
            refused += 1
    assert refused == 1200
    for text in ("", ".", "Milo.", "Hello there?"):
        with pytest.raises(ValueError, match="Vosk"):
            parse_vosk(text)
        with pytest.raises(ValueError, match="no sentence"):
            parse_english(text)


def test_a_wrong_translation_is_found() -> None:
    rows = list(make_rows("translation", 60, seed=2, split="test"))
    for row, other in pairwise(rows):
        assert check_row("translation", row)
        bad = {**row, "pair": {**row["pair"], "vosk": other["pair"]["vosk"]}}
        assert not check_row("translation", bad)
        turned = {**row, "conversations": row["conversations"][::-1]}
        assert not check_row("translation", turned)
    assert {bool(row["new"]) for row in rows} == {True, False}
    text, other = list(make_rows("parallel", 2, seed=2))
    assert not check_row("parallel", {**text, "english": text["english"].replace(".", "?", 1)})
    assert text["text"].count(" ") > 8
