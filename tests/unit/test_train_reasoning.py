"""Reading a turn, forcing the length of a thought, and voting."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.errors import WrongCall
from minimind_wiki.tokenizer import ByteTokenizer, load_tokenizer
from minimind_wiki.tokenizer.chat import render
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.pretokenize import count_pieces
from minimind_wiki.train.reasoning import (
    Reply,
    before_close,
    budget_forcing,
    canonical,
    read_ids,
    read_text,
    vote,
)
from minimind_wiki.train.track import play

ROOT = Path(__file__).resolve().parents[2]
BYTES = ByteTokenizer()
END = 258


@pytest.fixture(scope="module", params=["bytes", "reserved", "letters"])
def tokenizer(request):
    """Marks as bytes, as tokens of their own, and as letters inside of larger tokens."""
    if request.param == "bytes":
        return BYTES
    if request.param == "reserved":
        return load_tokenizer(ROOT / "models" / "world-tiny")
    pieces = count_pieces(["so\n</think>\n\nyes</think>no <think>\n</think>! " * 50])
    return FastBPETokenizer(*train_fast(pieces, 300, tuple(CHATML)), CHATML)


def ids_of(text, tokenizer=BYTES, end=True):
    return [*tokenizer.encode(text, specials=True), *[tokenizer.eos_id] * end]


CALL = '<tool_call>\n{"name": "x"}\n</tool_call>'


@pytest.mark.parametrize(("text", "thinking", "thought", "answer", "calls", "faults"), [
    ("It is 4.", False, "", "It is 4.", [], []),
    ("2 + 2.\n</think>\n\nIt is 4.", True, "2 + 2.", "It is 4.", [], []),
    ("\n</think>\n\n4", True, "", "4", [], []),
    (f"Look.\n{CALL}", False, "", "Look.", ['{"name": "x"}'], []),
    (f"{CALL}\n{CALL} and", False, "", "and", ['{"name": "x"}'] * 2, []),
    (f"a {CALL}</think>{CALL}", True, f"a {CALL}", "", ['{"name": "x"}'], []),
    ("It is 4.", True, "It is 4.", "", [], ["the thought is not closed", "it says nothing"]),
    ("", False, "", "", [], ["it says nothing"]),
    ("<think>a</think>4", False, "<think>a", "4", [], ["it thinks, though thinking is off"]),
    ("a</think>4", False, "a", "4", [], ["it thinks, though thinking is off"]),
    ("a<think>b</think>4", True, "a<think>b", "4", [], ["a thought is opened inside of a thought"]),
    ("a</think>4</think>", True, "a", "4</think>", [], ["</think> stands where it cannot"]),
    ("<tool_call>{", False, "", "", ["{"], ["a call is not closed"]),
    ("</tool_call>4", False, "", "</tool_call>4", [], ["</tool_call> stands where it cannot"]),
    (f"<tool_call>a{CALL}", False, "", "", ['a<tool_call>\n{"name": "x"}'],
     ["<tool_call> stands where it cannot"]),
])  # fmt: skip
def test_a_turn_is_read_the_same_from_ids_and_from_text(
    tokenizer, text, thinking, thought, answer, calls, faults
) -> None:
    got = read_ids(ids_of(text, tokenizer), tokenizer, thinking)
    assert (got.thought, got.answer, list(got.faults)) == (thought, answer, faults)
    assert [c.body for c in got.calls] == calls and all(c.failed is None for c in got.calls)
    spelled = read_text(text, thinking)
    assert spelled == Reply(thought, answer, got.calls, tuple(faults), len(text.split()))
    assert got.tokens == len(ids_of(text, tokenizer))
    unended = read_ids(ids_of(text, tokenizer, end=False), tokenizer, thinking)
    assert unended.faults == ("the turn has no end", *faults) and unended.answer == answer


def test_reserved_tokens_inside_of_a_turn_are_a_fault_and_no_text() -> None:
    got = read_ids([*b"a", 257, *b"b", END], BYTES)
    assert got.answer == "ab"
    assert got.faults == ("reserved tokens inside of the turn: <|im_start|>",)
    assert read_ids([], BYTES).faults == ("the turn has no end", "it says nothing")
    reserved = load_tokenizer(ROOT / "models" / "world-tiny")
    quoted = [*reserved.encode("a</think>b"), reserved.eos_id]  # letters, not the token
    assert read_ids(quoted, reserved, thinking=True).faults[0] == "the thought is not closed"
    assert read_ids(quoted, reserved).answer == "a</think>b"


@settings(max_examples=150, deadline=None)
@given(st.text() | st.text("<>/thinkol_ca\n"), st.booleans(), st.lists(st.integers(0, 258)))
def test_no_text_and_no_ids_make_the_reader_fail(text, thinking, ids) -> None:
    assert len(read_text(text, thinking).answer) <= len(text)
    assert read_ids(ids, BYTES, thinking).tokens == len(ids)
    canonical(text)


def test_the_prompt_is_the_switch_and_a_trace_is_what_follows_it(tokenizer) -> None:
    """What a row with `reasoning_content` teaches is the prompt's continuation, id by id."""
    asked = [{"role": "user", "content": "2+2"}]
    told = {"role": "assistant", "content": "It is 4.", "reasoning_content": "2 and 2."}
    whole = render([*asked, told], tokenizer).ids
    opened = render(asked, tokenizer, add_generation_prompt=True, open_thinking=True).ids
    turn = whole[len(opened) : -len(tokenizer.encode("\n"))]
    assert whole[: len(opened)] == opened
    got = read_ids(turn, tokenizer, thinking=True)
    assert (got.thought, got.answer, got.faults) == ("2 and 2.", "It is 4.", ())
    closed = render(asked, tokenizer, add_generation_prompt=True).ids
    assert tokenizer.decode(closed[len(opened) :]) == "\n</think>\n\n"


def test_the_end_of_a_thought_is_found_among_the_ids(tokenizer) -> None:
    for text in ("so\n</think>\n\nyes", "é🙂</think>no", "</think>", " yes</think>no</think>"):
        ids = ids_of(text, tokenizer)
        at = before_close(ids, tokenizer)
        before = text.split("</think>")[0]
        assert before.startswith(tokenizer.decode(ids[:at]))
        assert len(tokenizer.decode(ids[: at + 1], specials=True)) > len(before)  # in the mark
    assert before_close(ids_of("so</thin", tokenizer), tokenizer) is None
    assert before_close([], tokenizer) is None


# ---- budget forcing

PROMPT = [257, *b"q\n"]


def forced(*turns, prompt=PROMPT, **more):
    """The game with a model that says these pieces (bytes and ids), cut at its budget."""
    script = iter(turns)
    asked = []

    def sample(ids, budget):
        asked.append((len(ids), budget))
        new = next(script)[:budget]
        return new, [-1.0] * len(new)

    return play(sample, budget_forcing(prompt, BYTES, **more)), asked


def test_a_thought_within_its_budget_is_left_alone() -> None:
    got, asked = forced([*b"a.\n</think>\n\n4", END], think_tokens=40, answer_tokens=9)
    assert got.track.ids == [*PROMPT, *b"a.\n</think>\n\n4", END]
    assert got.track.mask == [0] * 3 + [1] * 15 and asked == [(3, 40)]
    assert (got.waited, got.cut, got.reply.answer) == (0, False, "4")


def test_a_thought_that_is_too_long_is_closed() -> None:
    got, asked = forced([*b"on and on and on"], [*b"4", END], think_tokens=6, answer_tokens=9)
    assert got.track.ids == [*PROMPT, *b"on and", *b"\n</think>\n\n", *b"4", END]
    assert got.track.mask == [0] * 3 + [1] * 6 + [0] * 11 + [1] * 2
    assert got.track.logps == [0.0] * 3 + [-1.0] * 6 + [0.0] * 11 + [-1.0] * 2
    assert got.cut and asked == [(3, 6), (20, 9)]
    assert (got.reply.thought, got.reply.answer, got.reply.faults) == ("on and", "4", ())


def test_a_thought_that_is_too_short_has_to_wait() -> None:
    """Each time that it closes, the word stands in the place of the mark and of what follows it."""
    got, asked = forced(
        [*b"5.\n</think>\n\n5", END], [*b" no, 4.</think>\n\n", *b"4", END],
        think_tokens=60, answer_tokens=9, waits=1,
    )  # fmt: skip
    assert got.track.ids == [*PROMPT, *b"5.\n", *b"\nWait", *b" no, 4.</think>\n\n4", END]
    assert got.track.mask == [0] * 3 + [1] * 3 + [0] * 5 + [1] * 19
    assert asked == [(3, 60), (11, 52)]  # the three ids that stay and the word are counted
    assert (got.waited, got.cut, got.reply.answer) == (1, False, "4")
    assert got.reply.thought == "5.\n\nWait no, 4."


def test_a_turn_that_ends_within_its_thought_is_led_back() -> None:
    got, _ = forced([*b"5", END], [*b"6", END], [*b"4", END], think_tokens=60, answer_tokens=9,
                    waits=1)  # fmt: skip
    assert got.track.ids == [*PROMPT, *b"5\nWait6\n</think>\n\n4", END]
    assert got.waited == 1 and got.cut and got.reply.faults == ()
    assert END not in got.track.ids[:-1]


def test_waits_do_not_outlast_the_budget_and_answers_have_their_own() -> None:
    got, asked = forced(
        *[[*b"x</think>"]] * 9, [*b"no end of it"], think_tokens=12, answer_tokens=5, waits=9
    )
    assert got.track.ids == [*PROMPT, *b"x\nWait", *b"x</think>"[:6], *b"\n</think>\n\n", *b"x</th"]
    assert [budget for _, budget in asked] == [12, 6, 5] and got.cut and got.waited == 1
    assert got.reply.faults[0] == "the turn has no end"
    got, _ = forced([*b"123456789012</think>"], [*b"4", END], think_tokens=20, answer_tokens=5,
                    waits=1, wait="\nWait, wait")  # fmt: skip
    assert got.track.ids == [*PROMPT, *b"123456789012\n</think>\n\n4", END] and got.waited == 0
    got, asked = forced([*b"a</think>b"], [*b"cdefg"], think_tokens=10, answer_tokens=3)
    assert got.track.ids == [*PROMPT, *b"a</think>bcde"] and asked[1] == (13, 3)
    with pytest.raises(WrongCall, match="at least 1 token"):
        forced([1], think_tokens=0, answer_tokens=1)
    with pytest.raises(WrongCall, match="drew 0 ids"):
        forced([], think_tokens=5, answer_tokens=1)


# ---- self-consistency


def test_the_most_frequent_answer_wins_in_the_words_of_the_first_who_gave_it() -> None:
    answers = ["It is 5.", "2 + 2 = 4", "The answer is 4.", "", "4.0", "5", "?!"]
    got = vote(answers)
    assert got.answer == "2 + 2 = 4" and got.share == 3 / 7
    assert got.counts == {"5": 2, "4": 3} and got.silent == 2
    assert vote(["b", "a", "a", "b"]).answer == "b"  # a tie: the first
    assert vote(["", "!"]).answer == "" and vote([]).share == 0.0
    assert vote(["x", "X", "y"], key=lambda text: text).counts == {"x": 1, "X": 1, "y": 1}


@pytest.mark.parametrize(("text", "same"), [
    ("The answer is 1,234.", "1234"), ("answer: 9:05", "9:05"), ("-3", "-3"),
    ("3 + 4 = 7", "7"), ("7.50", "7.50"), ("Cup, key, lamp.", "cup key lamp"), ("...", ""),
    ("The answer is 3. No, the answer is Mila.", "mila"),
])  # fmt: skip
def test_answers_are_compared_in_a_common_form(text, same) -> None:
    assert canonical(text) == same
