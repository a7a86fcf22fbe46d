"""Rows of the little world in MiniMind's shapes, one function a kind.

Row n depends on the seed and n alone. `check_row` does not trust the row: it solves tasks from
their prompts, runs the tools and asks the documents again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from minimind_wiki.data.world import facts, medical, programs, scenes, translate
from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.lessons import plain
from minimind_wiki.data.world.pages import page
from minimind_wiki.data.world.questions import Question, questions
from minimind_wiki.data.world.row_checks import CHECKS, PADS, RUBRIC, RUDE, WORDY
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.shape import say as _say
from minimind_wiki.data.world.story import Document, make_document
from minimind_wiki.data.world.tasks import GOODS, Task, arithmetic, instruction
from minimind_wiki.data.world.tools import DAYS, SPECS, call
from minimind_wiki.data.world.words import JOBS, split_of, words_of
from minimind_wiki.errors import WrongCall, unknown


def _ask(document: Document, question: Question) -> str:
    return f"{document.text}\n\n{question.text}"


def _question(c: Chooser, seed: str, split: str) -> tuple[Document, list[Question]]:
    """A document and its questions, in an order that gives each kind the same chance."""
    document = make_document(seed, split)
    kinds: dict[str, list[Question]] = {}
    for question in questions(document):
        kinds.setdefault(question.kind, []).append(question)
    asked = []
    while kinds:
        asked.append(c.pick(kinds.pop(c.pick(list(kinds)))))
    return document, asked


def pretrain(c: Chooser, seed: str, split: str) -> Row:
    """A document as plain text."""
    return {"text": make_document(seed, split).text}


def ask(c: Chooser, seed: str, split: str) -> Row:
    """One question about a document."""
    document, asked = _question(c, seed, split)
    return chat(_ask(document, asked[0]), asked[0].answer)


def dialogue(c: Chooser, seed: str, split: str) -> Row:
    """Three questions about one document, one after the other."""
    document, asked = _question(c, seed, split)
    turns = [_say("user", _ask(document, asked[0])), _say("assistant", asked[0].answer)]
    for question in asked[1:3]:
        turns += [_say("user", question.text), _say("assistant", question.answer)]
    return {"conversations": turns}


def _task(task: Task) -> Row:
    return chat(task.prompt, task.solution)


def sums(c: Chooser, seed: str, split: str) -> Row:
    """A word problem with worked steps."""
    return _task(arithmetic(c, split))


def sums_answers(c: Chooser, seed: str, split: str) -> Row:
    """A word problem whose answer stands alone, with no step that leads to it."""
    task = arithmetic(c, split)
    return chat(task.prompt, f"The answer is {task.short}.")


def follow(c: Chooser, seed: str, split: str) -> Row:
    """An instruction whose result a program can check."""
    return _task(instruction(c, split))


def sft(c: Chooser, seed: str, split: str) -> Row:
    """A mix: questions, dialogues, word problems, instructions."""
    return c.pick((ask, dialogue, sums, follow))(c, seed, split)


def _false(c: Chooser, document: Document, question: Question) -> str:
    """A false answer in the form of a true one, which names another place, person or job of the
    text; so neither its form nor a word that the text lacks gives it away. Empty if there is none.
    """
    text, asked = document.text, question.text
    if asked.startswith("How old"):
        return ""  # no age is in the text
    state = document.state()
    if asked.startswith("Who"):
        words = [*state.at, *(("Nobody",) if question.kind == "holder" else ())]
    elif "job" in asked:
        words = [job for job in JOBS if re.search(rf"\b{job}\b", text)]
    else:
        words = [place for place in words_of(document.split).places if place in text]
    # who is asked about is no answer; whole words, because Mila is not Milas
    words = [w for w in words if w != question.short and not re.search(rf"\b{w}\b", asked)]
    if not words:
        return ""
    wrong = c.pick(words)
    if question.kind == "unanswerable":
        about = asked.removeprefix("Where is ").removeprefix("Who has ").removeprefix("What is ")
        about = about.removesuffix(" at the end?").removesuffix("'s job?")
        if asked.startswith("Who"):
            return f"{wrong} has {about}."
        value = f"a {wrong}" if "job" in asked else f"at {wrong}"
        return f"{about[0].upper()}{about[1:]} is {value}."
    if question.kind == "holder":
        return wrong + question.answer.removeprefix(question.short)
    head, _, tail = question.answer.rpartition(question.short)
    return head + wrong + tail


def preference(
    c: Chooser, seed: str, split: str, noise: float = 0.0, length_bias: float = 0.0
) -> Row:
    """A good answer and one that fails one point of the rubric.

    With probability `noise` the two are swapped (`flipped` says so); with probability
    `length_bias` the good answer is padded, so that length predicts the label.
    """
    document, asked = _question(c, seed, split)
    question = asked[0]
    fails = c.pick(RUBRIC)
    good = question.answer
    false = _false(c, document, question) if fails == "true" else ""
    if fails == "true" and not false:  # the text names no other word of the sort
        fails = c.pick(RUBRIC[1:])
    if question.short == "does not say" and fails == "complete":
        fails = "polite"
    bad = {
        "true": false,
        "complete": question.short,
        "brief": c.pick(WORDY) + good,
        "polite": f"{good} {c.pick(RUDE)}",
    }[fails]
    if c._random() < length_bias:
        good += c.pick(PADS)
    flipped = c._random() < noise
    first = _say("user", _ask(document, question))
    if flipped:
        good, bad = bad, good
    chosen, rejected = [first, _say("assistant", good)], [first, _say("assistant", bad)]
    return {"chosen": chosen, "rejected": rejected, "fails": fails, "flipped": flipped}


def replies(c: Chooser, seed: str, split: str) -> Row:
    """A reply as people write them: every second one fails one point of the rubric."""
    pair = preference(c, seed, split)
    return {"conversations": pair[c.pick(("chosen", "rejected"))]}


def rl(c: Chooser, seed: str, split: str) -> Row:
    """A prompt without its answer, and in `gt` what `verify.verify` looks for.

    `sort` says what it is: a question, a sum, an instruction, or a task for a tool.
    """
    sort = c.pick(("question", "sum", "instruction", "tool"))
    if sort == "question":
        document, asked = _question(c, seed, split)
        prompt, gold = _ask(document, asked[0]), asked[0].short
    elif sort == "tool":
        row = tools(c, seed, split)
        return {**row, "conversations": row["conversations"][:2], "sort": sort}
    else:
        task = arithmetic(c, split) if sort == "sum" else instruction(c, split)
        prompt, gold = task.prompt, task.short
    return {"conversations": [_say("user", prompt)], "gt": [gold], "sort": sort}


def tools(c: Chooser, seed: str, split: str) -> Row:
    """A dialogue in which a tool must be called; `stock` is what the inventory looks up."""
    while True:
        row = _tools(c, split)
        if split_of(row["conversations"][1]["content"]) == split:
            return row


def _tools(c: Chooser, split: str) -> Row:
    shop = c.pick(words_of(split).places)
    stock = {shop: {item: c.pick(range(1, 60)) for item in GOODS}}
    name = c.pick(tuple(SPECS))
    if name == "calculator":
        a, b, d = (c.pick(range(2, 99)) for _ in range(3))
        arguments: dict[str, Any] = {"expression": f"{a} * {b} + {d}"}
        prompt = f"What is {a} times {b} plus {d}?"
    elif name == "inventory":
        item = c.pick(GOODS)
        arguments = {"shop": shop, "item": item}
        prompt = c.pick((
            f"How many {item} are there at {shop}?", f"How many {item} does {shop} have?",
            f"Please count the {item} at {shop}.",
        ))  # fmt: skip
    else:
        day, days = c.pick(DAYS), c.pick(range(8, 100))
        arguments = {"day": day, "days": days}
        prompt = c.pick((
            f"Today is {day}. Which day is it in {days} days?",
            f"Which day comes {days} days after {day}?",
            f"It is {day}. Which day of the week will it be {days} days from now?",
        ))  # fmt: skip
    answer = call(name, arguments, stock)
    value = str(next(iter(json.loads(answer).values())))
    what = arguments.get("item")
    final = {"calculator": f"The result is {value}.", "calendar": f"It is a {value}.",
             "inventory": f"There are {value} {what} at {shop}."}[name]  # fmt: skip
    if name == "inventory" and value == "1":
        final = f"There is only one of the {arguments['item']} left at {shop}, so the count is 1."
    calls = json.dumps([{"name": name, "arguments": arguments}])
    return {
        "conversations": [
            _say("system", "You may call tools.", tools=json.dumps(list(SPECS.values()))),
            _say("user", prompt), _say("assistant", "", tool_calls=calls), _say("tool", answer),
            _say("assistant", final),
        ],
        "gt": [value],
        "stock": stock,
    }  # fmt: skip


def lessons(c: Chooser, seed: str, split: str) -> Row:
    """A question, dialogue, task or tool call as running text, for a model that only reads."""
    row = c.pick((ask, dialogue, sums, follow, tools))(c, seed, split)
    return {"text": plain(row["conversations"])}


KINDS: dict[str, tuple[Callable[..., Row], str]] = {
    "pretrain": (pretrain, "pretrain"), "sft": (sft, "sft"), "questions": (ask, "sft"),
    "dialogue": (dialogue, "sft"), "arithmetic": (sums, "sft"), "instructions": (follow, "sft"),
    "arithmetic_answers": (sums_answers, "sft"), "replies": (replies, "sft"),
    "preference": (preference, "preference"), "rl": (rl, "agent"), "tools": (tools, "agent"),
    "facts": (facts.facts, "pretrain"), "retrieval": (facts.retrieval, "agent"),
    "translation": (translate.translation, "sft"), "parallel": (translate.parallel, "pretrain"),
    "scenes": (scenes.scenes, "sft"), "medical": (medical.medical, "pretrain"),
    "medical_questions": (medical.medical_questions, "agent"),
    "lessons": (lessons, "pretrain"), "pages": (page, "pretrain"),
    "code": (programs.code, "pretrain"), "code_questions": (programs.code_questions, "agent"),
}  # fmt: skip


# what `make_rows` takes beside the usual, by kind
OPTIONS: dict[str, tuple[str, ...]] = {"preference": ("noise", "length_bias")}


def make_rows(
    kind: str, rows: int | None, seed: int = 0, split: str = "train", **options: float
) -> Iterator[Row]:
    """`rows` rows of a kind, one at a time; the same for the same seed.

    A row is made when it is asked for, so `rows=None`, which never ends, is a stream for training
    that needs no disk. `options` are those that `OPTIONS` names for the kind: shares from 0 to 1.
    WrongCall, before the first row, for bad names and values.

    >>> next(make_rows("instructions", None, seed=2))["conversations"][0]["role"]
    'user'
    """
    if kind not in KINDS:
        raise unknown("kind of row", kind, KINDS)
    words_of(split)
    if rows is not None and rows < 1:
        raise WrongCall(f"{rows} rows were asked for; give at least 1.")
    for name, value in options.items():
        if name not in OPTIONS.get(kind, ()):
            takers = [k for k, names in OPTIONS.items() if name in names]
            if not takers:
                raise unknown("option", name, {n for names in OPTIONS.values() for n in names})
            raise WrongCall(f"rows of kind {kind!r} have no {name}; {', '.join(takers)} has.")
        if not 0 <= value <= 1:
            raise WrongCall(f"{name} is {value}; give a share from 0 to 1.")
    return _stream(kind, rows, seed, split, options)


def _stream(
    kind: str, rows: int | None, seed: int, split: str, options: dict[str, float]
) -> Iterator[Row]:
    make = KINDS[kind][0]
    for number in count() if rows is None else range(rows):
        key = f"{seed}.{number}"
        yield make(Chooser(f"{kind}/{split}/{key}"), key, split, **options)


def check_row(kind: str, row: Row, key: str = "", split: str = "train") -> bool:
    """Whether the gold of a row is right; what cannot be told counts as right.

    Sums, instructions and tasks for a tool are solved again from their prompts, by `solve`, which
    trusts neither the answer nor the steps to it. Questions about a document need the document's
    truth, which the row does not hold: row n of `make_rows` has the `key` "<seed>.<n>", with which
    the document is made again. Without it they are not checked (kinds questions, dialogue,
    preference, pretrain, and those parts of sft, rl and lessons). `pages` and `replies` are
    never checked, nor is the count of an inventory in a lesson, which shows no stock.
    """
    if kind not in KINDS:
        raise unknown("kind of row", kind, KINDS)
    if kind not in CHECKS:
        return True
    try:
        return CHECKS[kind](row, key, split)
    except (KeyError, IndexError, ValueError):
        return False  # no such question, no such task, or turns without an answer
