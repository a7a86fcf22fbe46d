"""Checks of rows, a kind each, that do not trust the row; `rows.check_row` says what they see.

Each takes a row, its key ("<seed>.<n>", or empty where it is not known) and its split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from minimind_wiki.data.world import facts, medical, programs, scenes, translate
from minimind_wiki.data.world.questions import Question, questions
from minimind_wiki.data.world.shape import Row
from minimind_wiki.data.world.solve import solve
from minimind_wiki.data.world.story import make_document
from minimind_wiki.data.world.tasks import steps_are_right
from minimind_wiki.data.world.tools import call

RUBRIC = ("true", "complete", "brief", "polite")
PADS = (" I hope that this helps you with your reading.", " That is what I found in the text.",
         " I have read the whole text twice to be sure.")  # fmt: skip
RUDE = ("You could have read that yourself.", "What a silly question.", "I am tired of you.")
WORDY = (
    "Well, let me think about this for a while, because it is not easy to say, and one should "
    "never hurry such things. ",
    "Many things happen in this text, and I could tell you about all of them, one after the other, "
    "from the beginning to the end. ",
)


def rubric(answer: str, question: Question) -> dict[str, bool]:
    """Which points of the rubric an answer meets.

    True: it says nothing else than the gold answer does. Complete: it says it in a sentence. Brief:
    at most 12 words more than the gold answer. Polite: no rude remark.
    """
    said = answer
    for phrase in (*PADS, *WORDY, *RUDE):
        said = said.replace(phrase, "")
    said = said.strip()
    return {
        "true": said in (question.answer, question.short, f"{question.short}."),
        "complete": said.endswith(".") and len(said.split()) >= len(question.answer.split()),
        "brief": len(answer.split()) <= len(question.answer.split()) + 12,
        "polite": not any(remark in answer for remark in RUDE),
    }


_Answers = Callable[[str], str]  # question -> gold


def _document_of(first: str, key: str, split: str) -> tuple[str, _Answers]:
    """The question in a prompt, and what answers it: the document of the row made again, or the
    prompt alone. A text that is not that of the document has no answers."""
    text, cut, asked = first.rpartition("\n\n")
    if not cut:
        return asked, solve
    document = make_document(key, split)
    golds = {q.text: q for q in questions(document)} if document.text == text else {}
    return asked, lambda question: golds[question].answer


def _answered(turns: list[str], key: str, split: str) -> bool:
    """Whether every second turn is the right answer to the turn before it."""
    asked, answer = _document_of(turns[0], key, split)
    if answer is solve and "The answer is" in turns[1]:
        return len(turns) == 2 and steps_are_right(turns[1], solve(asked))
    pairs = zip([asked, *turns[2::2]], turns[1::2], strict=True)
    return all(answer(question) == said for question, said in pairs)


def _chat_right(row: Row, key: str, split: str) -> bool:
    turns = [message["content"] for message in row["conversations"]]
    return ("\n\n" in turns[0] and not key) or _answered(turns, key, split)


def _lesson_right(row: Row, key: str, split: str) -> bool:
    text, cut, rest = row["text"].rpartition("\n\n")
    turns = rest.split("\n")
    if cut:
        return not key or _answered([f"{text}\n\n{turns[0]}", *turns[1:]], key, split)
    if len(turns) != 4:
        return _answered(turns, key, split)
    made, told = json.loads(turns[1])[0], str(next(iter(json.loads(turns[2]).values())))
    if made["name"] == "inventory":  # a lesson does not show the stock
        return all(word in turns[0] for word in made["arguments"].values()) and told in turns[3]
    right = json.loads(call(made["name"], made["arguments"], {}))
    return [solve(turns[0])] == [told] == [str(v) for v in right.values()] and (
        turns[3].endswith(f" {told}.")
    )


def _tools_right(row: Row, key: str, split: str) -> bool:
    messages = row["conversations"]
    (made,) = json.loads(messages[2]["tool_calls"])
    answer = call(made["name"], made["arguments"], row["stock"])
    told = str(next(iter(json.loads(answer).values())))
    return (
        answer == messages[3]["content"]
        and [told] == row["gt"] == [solve(messages[1]["content"], row["stock"])]
        and told in re.findall(r"\w+", messages[4]["content"])
    )


def _rl_right(row: Row, key: str, split: str) -> bool:
    prompt = row["conversations"][-1]["content"]
    if row["sort"] != "question":
        return row["gt"] == [solve(prompt, row.get("stock"))]
    text, _, asked = prompt.rpartition("\n\n")
    document = make_document(key, split) if key else None
    return document is None or (
        document.text == text
        and row["gt"] == [q.short for q in questions(document) if q.text == asked]
    )


def _preference_right(row: Row, key: str, split: str) -> bool:
    if not key:
        return True
    text, _, asked = row["chosen"][0]["content"].rpartition("\n\n")
    document = make_document(key, split)
    found = [q for q in questions(document) if q.text == asked]
    good, bad = row["chosen"], row["rejected"]
    if row["flipped"]:
        good, bad = bad, good
    if document.text != text or len(found) != 1 or good[0] != bad[0]:
        return False
    failed = rubric(bad[1]["content"], found[0])
    return all(rubric(good[1]["content"], found[0]).values()) and not failed[row["fails"]]


def _alone(check: Callable[[Row], bool]) -> Callable[[Row, str, str], bool]:
    return lambda row, key, split: check(row)


CHECKS: dict[str, Callable[[Row, str, str], bool]] = {
    "pretrain": lambda row, key, split: not key or row["text"] == make_document(key, split).text,
    "sft": _chat_right, "questions": _chat_right, "dialogue": _chat_right,
    "arithmetic": _chat_right, "arithmetic_answers": _chat_right, "instructions": _chat_right,
    "preference": _preference_right,
    "rl": _rl_right, "tools": _tools_right, "lessons": _lesson_right,
    "facts": _alone(facts.check), "retrieval": _alone(facts.check),
    "scenes": _alone(scenes.check), "medical": _alone(medical.check),
    "medical_questions": _alone(medical.check), "code": _alone(programs.check),
    "code_questions": _alone(programs.check), "translation": _alone(translate.check),
    "parallel": _alone(translate.check),
}  # fmt: skip
