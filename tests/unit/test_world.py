"""The little world: repeatable, consistent, parseable, grammatical, disjoint, and fast."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter

import pytest

from minimind_wiki.data.world import Document, all_derivations, make_document
from minimind_wiki.data.world.chooser import Chooser, Weighted, derivations, log_sum
from minimind_wiki.data.world.lexicon import LEXICON
from minimind_wiki.data.world.phrases import COMPILED, LEXICONS, compile_line
from minimind_wiki.data.world.state import State
from minimind_wiki.data.world.words import (
    HER_RELATIONS,
    HIS_RELATIONS,
    JOBS,
    NAMES,
    PLACES,
    SPLITS,
    THINGS,
    WORDS,
    words_of,
)
from minimind_wiki.errors import WrongCall

DOCUMENTS = [make_document(seed) for seed in range(600)]
MANY = [make_document(seed, split) for split in SPLITS for seed in range(1000)]
HELD = [make_document(seed, split) for split in SPLITS[1:] for seed in range(100)]


def test_a_seed_gives_the_same_bytes() -> None:
    text = "\0".join(make_document(seed, split).text for split in SPLITS for seed in range(20))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "58a28b0d3bc17390"
    assert make_document(1).text != make_document(2).text


def test_the_splits_share_no_person_no_place_and_no_plot() -> None:
    for kind in ("names", "places", "plots"):
        sets = [set(getattr(WORDS[split], kind)) for split in SPLITS]
        assert all(len(s) >= 20 for s in sets)
        assert len(set.union(*sets)) == sum(map(len, sets))
    others = set(NAMES) - set(WORDS["test"].names)
    for document in HELD:
        if document.split == "test":
            assert not others & set(re.findall(r"\b[A-Z]\w+", document.text)), document.text
            assert not any(
                place in document.text for place in set(PLACES) - set(WORDS["test"].places)
            )
    with pytest.raises(WrongCall, match="did you mean 'train'"):
        words_of("trian")  # codespell:ignore


@pytest.mark.parametrize("seed", range(6))
def test_a_parser_finds_every_derivation(seed: int) -> None:
    """The search is exhaustive, so the sum is the text's exact log-probability."""
    found = all_derivations(DOCUMENTS[seed].text)
    assert any(abs(p - DOCUMENTS[seed].logp) < 1e-9 for p in found)
    assert DOCUMENTS[seed].logp <= log_sum(found) + 1e-9
    assert log_sum(found) - DOCUMENTS[seed].logp < 0.01 * -DOCUMENTS[seed].logp


def test_the_parser_refuses_what_cannot_be_told() -> None:
    text = DOCUMENTS[0].text
    assert not all_derivations(text.replace(".", ";", 1))
    assert not all_derivations(text[:-1])
    assert not all_derivations(text, "test")


def test_the_probabilities_of_a_small_grammar_sum_to_one() -> None:
    """All texts of a grammar with chance, words and weights, each by the parser."""

    def program(c: Chooser) -> None:
        for _ in range(c.draw(Weighted({1: 2, 2: 1}))):
            c.tell_new(("a", "ab", "b"), set(), 3)
            c.tell(("", "b"))

    half = ["a", "ab", "abb", "b", "bb"]
    texts = {*half, *(x + y for x in half for y in half)}
    assert log_sum([p for text in texts for p in derivations(text, program)]) == pytest.approx(0)


def test_log_probability_agrees_with_frequency() -> None:
    """The rate of a register in the corpus is what its weight says (within four deviations)."""
    letters = sum(d.register == "letter" for d in DOCUMENTS)
    assert abs(letters / 600 - 0.2) < 4 * (0.2 * 0.8 / 600) ** 0.5
    assert all(d.logp_any <= d.logp < 0 for d in DOCUMENTS + HELD)


def test_every_history_can_happen_and_the_state_follows_each_sentence() -> None:
    for document in DOCUMENTS:
        sentences = list(document.states())
        assert sentences[-1][1] == document.state()
        assert {*document.state().job, *document.state().trait} <= {*document.state().at}
        assert " ".join(" ".join(s for s, _ in sentences).split()) == " ".join(
            document.text.split()
        )
    state = State()
    state.apply(("person", "Mila", "Fox Hill"))
    for event in (("go", "Mila", "Fox Hill"), ("take", "Mila", "lamp"), ("fly", "Mila")):
        with pytest.raises(ValueError, match="cannot happen"):
            state.apply(event)


def test_a_belief_can_become_false() -> None:
    """Who is away does not see that a thing is moved."""
    state = State()
    for event in (
        ("person", "A", "x"), ("person", "B", "x"), ("lies", "lamp", "x"), ("go", "A", "y"),
        ("take", "B", "lamp"), ("go", "B", "z"), ("drop", "B", "lamp"),
    ):  # fmt: skip
        state.apply(event)
    assert state.belief["A"]["lamp"] == "x" and state.belief["B"]["lamp"] == "z"
    assert state.place_of("lamp") == "z"
    for event in (("go", "B", "y"), ("tell", "B", "lamp", "A")):
        state.apply(event)
    assert state.belief["A"]["lamp"] == "z"


def test_who_comes_back_sees_that_a_thing_is_gone() -> None:
    state = State()
    for event in (
        ("person", "A", "x"), ("person", "B", "x"), ("lies", "lamp", "x"), ("go", "A", "y"),
        ("take", "B", "lamp"), ("go", "B", "z"), ("go", "A", "x"),
    ):  # fmt: skip
        state.apply(event)
    assert "lamp" not in state.belief["A"]


def test_the_english_has_no_marks_of_the_machine() -> None:
    for document in DOCUMENTS + HELD:
        text = document.text
        assert not re.search(r"[\[\]{}\\|?]{2}|[\[\]{}\\|]|  |\.\.| [.,]|\n\n\n", text), text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiouh]", text), text
        for paragraph in text.split("\n\n"):
            assert paragraph[0].isupper() or paragraph[0] in '"', paragraph
            for sentence in re.split(r'(?<=[.?!])"? ', paragraph):
                assert sentence.lstrip('"')[0].isupper() or '"' in paragraph, sentence


FAULTS = {
    "a double space": r"  ",
    "a before a vowel": r"\b[Aa] [aeiou]",
    "an before a consonant": r"\b[Aa]n (?![aeiou]|honest)",
    "I with a verb of he": r"\bI (is|are|were|has|does|says|goes|takes|gives|needs|wants)\b",
    "an object as subject": r"(?<!With )\b(me|him|them) (was|is|had|has)\b",
    "two verbs": r"\b(was|is|were|are|had|has) (was|is|were|are|had|has)\b",
    "the same word twice": r"\b(\w+) \1\b",
    "a slot or tense left": r"[{}\[\]|^]",
    "a space before a sign": r" [.,;:!?]",
    "two signs": r"[.,;:][.,;:]",
    "a small letter after a full stop": r"\. \"?[a-z]",
    "a small letter at the start of a quotation": r'(?:^|[.?!]" )"[a-z]',
    "an answer of one who is addressed": r"Thank you, (I|me)\b",
    "of it": r"\bthe (it|me|him|her)\b",
    "a sentence without an end": r'[^.?!"]$',
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_sentence_has_a_known_fault(fault: str) -> None:
    pattern = re.compile(FAULTS[fault])
    for document in MANY:
        for sentence, _ in list(document.states())[:-1]:
            assert not pattern.search(sentence), (document.split, sentence)
            assert sentence.lstrip('"')[0].isupper(), sentence


def test_the_lexicon_has_no_option_twice_and_no_word_that_carries_a_plot() -> None:
    taken = {*THINGS, *JOBS, *HIS_RELATIONS, *HER_RELATIONS}
    for slot, options in LEXICON.items():
        assert len(set(options)) == len(options) < 4096, slot  # an option twice is told twice
        assert not taken & {word for option in options for word in re.findall(r"[\w-]+", option)}


def test_every_form_of_a_line_says_what_its_siblings_say() -> None:
    """A person or place that one form introduces must be introduced by all."""
    new = {"go": "SP", "tell": "P", "errand": "NP", "lies": "TP", "other_away": "OP",
           "other_here": "O", "back": "P", "drop": "T", "give": "TO", "take": "T", "spies": "T",
           "holds": "T", "wants": "T", "gift_plan": "T", "loan_plan": "T", "intro_tale": "SP",
           "intro_report": "SP", "intro_letter": "SP"}  # fmt: skip
    for lines in COMPILED:
        for name, slots in new.items():
            for line in lines[name]:
                told = [part[0] for part in line.parts if isinstance(part, tuple)]
                assert all(slot in told for slot in slots), (name, line.parts)
        for options in lines.values():
            for line in options:
                for part in line.parts:
                    assert isinstance(part, str) or part[0] in LEXICONS[0] or part[0] in (
                        "S", "O", "N", "P", "Q", "T", "U", "trait", "job", "relation"
                    )  # fmt: skip


def test_a_pattern_lets_pass_what_a_line_can_say() -> None:
    line = compile_line("{S} [went|goes] to {P} {how}.", present=False)
    for said in ("Mila went to Fox Hill slowly.", "At 7:40, she went to Fox Hill with a smile."):
        assert line.fits(said, 0), said
    assert not line.fits("Mila goes to Fox Hill slowly.", 0)
    assert not line.fits("Mila sang. She went to Fox Hill slowly.", 0)


def test_a_pronoun_never_has_two_readings() -> None:
    """In a third-person sentence with 'she', one woman was named here or in the sentence before."""
    her = {name: name[-1] in "ae" for name in NAMES}
    checked = 0
    for document in DOCUMENTS:
        if document.register == "letter":
            continue
        before: set[str] = set()
        for sentence, _ in document.states():
            plain = re.sub(r'"[^"]*"', "", sentence)
            named = {n for n in re.findall(r"\b[A-Z][a-z]+\b", plain) if n in her}
            for word, gender in (("she", True), ("he", False)):
                if re.search(rf"\b{word}\b", plain, re.I) and len(named) == 0 and len(before) > 1:
                    checked += 1
                    assert sum(her[n] == gender for n in before) == 1, (before, sentence)
            before = named or before
    assert checked > 20


def _word_types(documents: list[Document]) -> Counter[str]:
    """How often each lower-case word occurs, names of people left out."""
    names = {name.lower() for name in NAMES}
    text = " ".join(document.text for document in documents).lower()
    return Counter(word for word in re.findall(r"[a-z]+", text) if word not in names)


def test_there_is_variety_and_the_floor_is_where_it_was() -> None:
    """The bound on the words is for 2.7 MB of text; in 10 MB the rarest occur some 20 times."""
    types = _word_types(MANY)
    assert len(types) >= 2000
    assert sum(count <= 2 for count in types.values()) < 0.03 * len(types)
    held = [document for document in MANY if document.split == "validation"]
    size = sum(len(d.text.encode()) for d in held)
    floor = -sum(d.logp_any for d in held) / size / math.log(2)
    assert 0.33 < floor < 0.36
    assert 850 < size / len(held) < 1000
    assert sum(len(d.text) <= 1000 for d in held) > 0.5 * len(held)
    assert {d.register for d in DOCUMENTS} == {"tale", "report", "letter", "live"}
    assert len({d.text for d in DOCUMENTS}) == len(DOCUMENTS)


def test_the_world_takes_nothing_from_the_global_generator() -> None:
    random.seed(0)
    before = random.getstate()
    make_document(5)
    assert random.getstate() == before
