"""Whether an answer to an RL prompt is right: the reward, as a program.

A verifier that only looks for the gold words pays for naming every option. So an answer counts only
if it commits: of all things that could answer the question (the people of the world, its places,
jobs, days, numbers) it may name the gold one alone, and must not deny it. What stands before "the
answer is" is thinking and is not judged; what stands after it is.
That reward hacking follows from a lenient check is old news (Amodei et al. 2016, arXiv:1606.06565).
"""

from __future__ import annotations

import json
import re
from itertools import pairwise

from minimind_wiki.data.world.shape import Row
from minimind_wiki.data.world.tools import DAYS, call
from minimind_wiki.data.world.words import JOBS, NAMES, PLACES, THINGS

MOST_WORDS = 40  # of what commits to an answer; a copy of the whole text is no answer
_MARKER = re.compile(r"\banswer(?:\s+is|\s*[:=])\s*:?", re.IGNORECASE)
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:[.:/]\d+)*")
_NOT = re.compile(r"\b(?:not|never|cannot|neither|nor|false|wrong)\b|n['’]t\b")
_UNKNOWN = re.compile(
    r"\b(?:does not|doesn['’]t) (?:say|tell|mention)\b|\bnot (?:said|told|mentioned)\b"
)
_SETS = {
    "person": frozenset(n.casefold() for n in NAMES) | {"nobody"},
    "place": frozenset(p.casefold() for p in PLACES),
    "job": frozenset(JOBS),
    "day": frozenset(d.casefold() for d in DAYS),
    "thing": frozenset(THINGS),
}


def named(text: str, kind: str) -> set[str]:
    """All candidates of a kind that a text names: person, place, job, day, thing or number.

    >>> sorted(named("Loena went to Fox Hill, 1,200 steps.", "place")), named("at 9:35!", "number")
    (['fox hill'], {'9:35'})
    """
    low = text.casefold()
    if kind == "number":
        plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", low)
        return {re.sub(r"\.0+$", "", number) for number in _NUMBER.findall(plain)}
    words = re.findall(r"[a-z]+", low)
    found = set(words)
    found |= {f"{first} {second}" for first, second in pairwise(words)}
    if kind == "thing":
        found |= {word[:-1] for word in words if word.endswith("s")}
    return found & _SETS[kind]


def kind_of(gold: str) -> str:
    """The kind of candidate that a gold answer is; empty for a list or another text."""
    low = gold.casefold()
    if _NUMBER.fullmatch(low):
        return "number"
    return next((kind for kind, known in _SETS.items() if low in known), "")


def verify(row: Row, text: str) -> bool:
    """Whether `text`, an answer to the RL prompt `row`, is right and commits to one answer.

    Understands case, punctuation, thousands' commas, "The answer is X." after any thinking, and for
    a prompt with tools also a `<tool_call>`, which is run. Numbers must be written as digits.

    >>> asked = [{"role": "user", "content": "Where is Loena?"}]
    >>> row = {"conversations": asked, "gt": ["Fox Hill"]}
    >>> verify(row, "loena is at fox hill!"), verify(row, "Fox Hill or Owl Farm.")
    (True, False)
    """
    gold = row["gt"][0]
    asked = row["conversations"][-1]["content"].rsplit("\n\n", 1)[-1]
    closed = text[: text.rfind("</tool_call>") + 12]  # else each open call is searched to the end
    calls = _CALL.findall(closed)
    if calls and "stock" in row:
        return len(calls) == 1 and _call_gives(calls[0], row, gold)
    marker = _MARKER.search(text)
    said = text[marker.end() :] if marker else text
    if gold == "does not say":
        rest = said.casefold()
        others = {k: named(rest, k) - named(asked, k) for k in (*_SETS, "number")}
        return bool(_UNKNOWN.search(rest)) and not any(others.values())
    kind = kind_of(gold)
    if not kind:
        return _same_list(said, gold)
    right, known = gold.casefold(), named(asked, kind)
    if kind == "number" and not marker:  # "12 + 3 = 15" at the end commits to 15
        said = re.split(r"=|\bis\b", _last_sentence(said))[-1]
    elif kind == "person" and right in known and not marker:
        # the options stand in the question and are thought about: the last sentence decides
        said = _last_sentence(said)
    given = named(said, kind)
    if kind != "number" and right not in known and not _MARKER.search(said):  # "answer is" twice
        given -= known  # "Loena is with Tamus" answers "Who is with Loena?"
    if given != {right} or len(said.split()) > MOST_WORDS or text.rstrip().endswith("?"):
        return False  # several answers, none, a copy of the text, or a question in return
    sentence = next((s for s in _sentences(said) if right in s.casefold()), said)
    return not _NOT.search(sentence.casefold())


def _sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if s.strip(" .!?")]


def _last_sentence(text: str) -> str:
    sentences = _sentences(text)
    return sentences[-1] if sentences else ""


def _same_list(said: str, gold: str) -> bool:
    """Whether a list or a repeated word is there, in order, with nothing of it said before."""
    head, colon, tail = said.rpartition(":")
    told = tail if colon else said
    if named(head, "thing") & named(gold, "thing"):
        return False
    if gold.isupper() and not told.isupper():
        return False
    listed = re.findall(r"[a-z0-9]+", told.casefold())
    return listed == re.findall(r"[a-z0-9]+", gold.casefold())


def _call_gives(made: str, row: Row, gold: str) -> bool:
    """Whether running the call gives the gold value."""
    try:
        asked = json.loads(made)
        answer = json.loads(call(asked["name"], asked["arguments"], row["stock"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False  # 1e999 days, 200,000 brackets: whatever a model writes is only a wrong answer
    return [str(value) for value in answer.values()] == [gold]
