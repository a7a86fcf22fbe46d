"""Thinking before answering: reading a turn, forcing its length, and voting over several.

The chat template opens an assistant's turn with `<think>`. The switch is how the prompt ends: open
(`render(..., add_generation_prompt=True, open_thinking=True)`), so that the model goes on thinking
until it writes `</think>`, or closed, so that it answers at once.

A mark is a token where the vocabulary reserves one, and there only the token counts: a model that
writes the letters `</think>` in other tokens (because it quotes them) closes nothing. Where no such
token exists, as with bytes, the letters are the mark.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from minimind_wiki.errors import WrongCall
from minimind_wiki.tokenizer.chat import control_ids
from minimind_wiki.tokenizer.protocol import Tokenizer
from minimind_wiki.train.track import Game, Track, check_drawn

OPEN, CLOSE, CALL, CALLED = MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
END = "<|im_end|>"
CLOSING = "\n</think>\n\n"  # as the template closes a thought
Piece = tuple[str, bool]  # a text, and whether it is a mark


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as it was written, and what came of it; `failed` is None while it was not run."""

    body: str
    closed: bool = True
    result: str = ""
    failed: bool | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said in a turn. `faults` are sentences that say where it breaks the template."""

    thought: str
    answer: str
    calls: tuple[Call, ...] = ()
    faults: tuple[str, ...] = ()
    tokens: int = 0


def read_ids(ids: Sequence[int], tokenizer: Tokenizer, thinking: bool = False) -> Reply:
    """A turn as it was drawn, with its end token. `thinking`: the prompt left a thought open."""
    control = control_ids(tokenizer)
    ended = bool(ids) and ids[-1] == control[END]
    inside = ids[:-1] if ended else ids
    faults = [] if ended else ["the turn has no end"]
    other = {token: name for name, token in control.items() if name not in MARKS}
    if strange := sorted({other[token] for token in inside if token in other}):
        faults.append(f"reserved tokens inside of the turn: {', '.join(strange)}")
    return _reply(list(_pieces(inside, tokenizer, control)), thinking, faults, len(ids))


def read_text(text: str, thinking: bool = False) -> Reply:
    """The same for a text, in which each mark that is spelled counts. `tokens` are its words.

    >>> read_text("2 and 2 are 4.\\n</think>\\n\\nThe answer is 4.", thinking=True).answer
    'The answer is 4.'
    """
    return _reply(list(_spelled(text, MARKS)), thinking, [], len(text.split()))


def _pieces(ids: Sequence[int], tokenizer: Tokenizer, control: dict[str, int]) -> Iterator[Piece]:
    """Text and marks, in order; other reserved tokens are left out."""
    marks = {control[mark]: mark for mark in MARKS if mark in control}
    reserved = set(control.values())
    letters = [mark for mark in MARKS if mark not in control]
    for known, run in groupby(ids, key=lambda token: token in reserved):
        if known:
            yield from ((marks[token], True) for token in run if token in marks)
        else:
            yield from _spelled(tokenizer.decode(list(run)), letters)


def _spelled(text: str, marks: Sequence[str]) -> Iterator[Piece]:
    found = re.split("(" + "|".join(map(re.escape, marks)) + ")", text) if marks else [text]
    yield from ((part, number % 2 == 1) for number, part in enumerate(found) if part)


def _reply(pieces: list[Piece], thinking: bool, faults: list[str], tokens: int) -> Reply:
    closed = next((i for i, piece in enumerate(pieces) if piece == (CLOSE, True)), None)
    if not thinking and closed is None and (OPEN, True) not in pieces:
        thought, rest = [], pieces
    else:
        if not thinking:
            faults.append("it thinks, though thinking is off")
        if closed is None:  # all of it is thought, and there is no answer
            faults.append("the thought is not closed")
            closed = len(pieces)
        thought, rest = pieces[:closed], pieces[closed + 1 :]
        if thinking and (OPEN, True) in thought:
            faults.append("a thought is opened inside of a thought")
    answer, calls = _answer(rest, faults)
    if not answer and not calls:
        faults.append("it says nothing")
    return Reply("".join(text for text, _ in thought).strip(), answer, calls, tuple(faults), tokens)


def _answer(pieces: list[Piece], faults: list[str]) -> tuple[str, tuple[Call, ...]]:
    """What is said, and the calls between their marks."""
    said: list[str] = []
    calls: list[Call] = []
    body: list[str] | None = None  # of the call that is open
    for text, mark in pieces:
        if mark and text == CALLED and body is not None:
            calls.append(Call("".join(body).strip()))
            body = None
        elif mark and text == CALL and body is None:
            body = []
        else:
            if mark:
                faults.append(f"{text} stands where it cannot")
            (said if body is None else body).append(text)
    if body is not None:
        faults.append("a call is not closed")
        calls.append(Call("".join(body).strip(), closed=False))
    return "".join(said).strip(), tuple(calls)


# ---- the length of a thought


def before_close(ids: Sequence[int], tokenizer: Tokenizer) -> int | None:
    """How many ids stand wholly before the first `</think>`; None where the thought goes on."""
    control = control_ids(tokenizer)
    if CLOSE in control:
        return next((at for at, token in enumerate(ids) if token == control[CLOSE]), None)

    def text(count: int) -> str:
        return tokenizer.decode(list(ids[:count]), specials=True)

    counts = range(len(ids) + 1)  # the mark may begin and end inside of tokens
    whole = text(len(ids)).find(CLOSE)
    if whole < 0:
        return None
    return bisect_left(counts, whole + 1, key=lambda count: len(text(count))) - 1


@dataclass(frozen=True, slots=True)
class Forced:
    """A turn whose thought was kept within bounds; what was forced has mask 0 in the track."""

    track: Track
    reply: Reply
    waited: int  # times that the thought had to go on
    cut: bool  # whether its end had to be forced


def budget_forcing(
    prompt: Sequence[int],
    tokenizer: Tokenizer,
    think_tokens: int,
    answer_tokens: int,
    waits: int = 0,
    wait: str = "\nWait",
) -> Game[Forced]:
    """A game (`track.play`) that holds a thought between two lengths (s1, arXiv:2501.19393).

    `prompt` ends with an open thought. The first `waits` times that the model closes its thought,
    or ends its turn within it, `wait` is written in that place instead; at `think_tokens`, the
    waits included, the end of the thought is written for it. What it drew behind a `</think>` that
    is taken back is dropped: an engine that stops at that mark by itself saves those tokens.
    """
    if think_tokens < 1 or answer_tokens < 1 or waits < 0:
        raise WrongCall("give at least 1 token to think and to answer, and waits of 0 or more.")
    end, word = control_ids(tokenizer)[END], tokenizer.encode(wait)
    track, waited, begin = Track(), 0, len(prompt)
    track.give(prompt)
    while True:
        room = think_tokens - (len(track.ids) - begin)
        if room <= 0:
            cut = True
            break
        drawn = yield list(track.ids), room
        check_drawn(drawn, room, end)
        ids, logps = drawn
        close = before_close(ids, tokenizer)
        ended = ids[-1] == end
        if close is not None and waited == waits:
            track.draw(ids, logps)
            cut = False
            break
        keep = close if close is not None else len(ids) - ended
        track.draw(ids[:keep], logps[:keep])
        if (close is not None or ended) and waited == waits:
            cut = True  # it ended its turn within the thought
            break
        if close is not None or ended:
            if len(track.ids) - begin + len(word) >= think_tokens:
                cut = True  # there is no room to go on thinking
                break
            track.give(word)
            waited += 1
    if cut:
        track.give(tokenizer.encode(CLOSING, specials=True))
    last = len(track.ids) + answer_tokens
    while track.ids[-1] != end and len(track.ids) < last:
        budget = last - len(track.ids)
        drawn = yield list(track.ids), budget
        check_drawn(drawn, budget, end)
        track.draw(*drawn)
    return Forced(track, read_ids(track.ids[begin:], tokenizer, True), waited, cut)


# ---- several answers to one question


@dataclass(frozen=True, slots=True)
class Vote:
    """The answer that most gave (in the words of the first of them), and its share of all."""

    answer: str
    share: float
    counts: dict[str, int]
    silent: int  # how many gave none


def canonical(answer: str) -> str:
    """What two answers must have in common to be the same; empty if it says nothing.

    What follows the last "answer is", or all; of a text with numbers the last number, otherwise
    its words.

    >>> canonical("5 + 7 = 12. The answer is 12."), canonical("12.0"), canonical("Fox hill!")
    ('12', '12', 'fox hill')
    """
    said = re.split(r"\banswer(?:\s+is|\s*[:=])", answer, flags=re.IGNORECASE)[-1].casefold()
    numbers = re.findall(r"-?\d+(?:[.:/]\d+)*", re.sub(r"(?<=\d),(?=\d{3}\b)", "", said))
    if numbers:
        return re.sub(r"\.0+$", "", str(numbers[-1]))
    return " ".join(re.findall(r"\w+", said))


def vote(answers: Sequence[str], key: Callable[[str], str] = canonical) -> Vote:
    """Self-consistency: the most frequent answer (Wang et al. 2022, arXiv:2203.11171).

    Of equally frequent ones that which came first; an answer whose `key` is empty has no vote.

    >>> vote(["The answer is 4.", "5", "2 + 2 = 4", ""]).answer
    'The answer is 4.'
    """
    first: dict[str, str] = {}
    for answer in answers:
        first.setdefault(key(answer), answer)
    counts = Counter(key(answer) for answer in answers)
    silent = counts.pop("", 0)
    if not counts:
        return Vote("", 0.0, {}, silent)
    best, votes = counts.most_common(1)[0]  # of ties the first that was counted
    return Vote(first[best], votes / len(answers), dict(counts), silent)
