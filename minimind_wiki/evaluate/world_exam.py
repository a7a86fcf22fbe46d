"""The world exam: what a model can do in worlds that it has never met.

Each item is a prompt with options of which one is right. A model is either a log-likelihood
(prompt, continuation) -> nats, and then the likeliest option is its choice, or an answerer
(prompt) -> text, and then the text must hold the right option's deciding words and no other's.
The options are words of the same text, and the items are balanced against shallow tricks.
Sections are reported apart, with chance and a Wilson interval (Wilson 1927, JASA 22:209): the plain
normal interval is wrong near 0 and 1, where small models live.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.questions import NOT_SAID, Question, questions
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.data.world.story import Document, make_document
from minimind_wiki.data.world.tasks import arithmetic, instruction
from minimind_wiki.data.world.words import JOBS
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.evaluate.grammar import grammar_items
from minimind_wiki.evaluate.tricks import Item, balanced

LogLikelihood = Callable[[str, str], float]
Answerer = Callable[[str], str]
FAR = 8  # sentences since the answer's last event; from here on tracking counts as far


@dataclass(frozen=True, slots=True)
class Score:
    """How many of a section's items were right. `chance` is that of a blind choice of an option."""

    section: str
    right: int
    items: int
    chance: float

    @property
    def accuracy(self) -> float:
        """Share of right items."""
        return self.right / self.items

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.items)

    def __str__(self) -> str:
        low, high = self.interval
        return (f"{self.section:12s} {self.accuracy:6.1%}  [{low:.1%}, {high:.1%}]  chance "
                f"{self.chance:.1%}  n={self.items}")  # fmt: skip


def wilson(right: int, items: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a proportion.

    >>> tuple(round(x, 4) for x in wilson(8, 10))
    (0.4902, 0.9433)
    """
    if not 0 <= right <= items or items < 1:
        raise ValueError(f"{right} of {items} is no proportion")
    share, z2 = right / items, z * z
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    half = z * math.sqrt(share * (1 - share) / items + z2 / (4 * items**2)) / (1 + z2 / items)
    return (max(0.0, middle - half) if right else 0.0), (middle + half if right < items else 1.0)


# ---- the sections


def _documents(section: str, split: str, seed: int) -> Iterator[tuple[Chooser, Document]]:
    number = 0
    while True:
        key = f"exam/{section}/{seed}.{number}"
        yield Chooser(key), make_document(key, split)
        number += 1


def _others(document: Document, question: Question, c: Chooser) -> list[str]:
    """Up to three wrong answers of the same sort, from the same text, in chance order."""
    state = document.state()
    places = {*state.at.values(), *state.lies.values()}
    places |= {e[2] for e in document.events if e[0] in ("person", "go", "lies")}
    jobs = set(state.job.values())  # another person's job: one that is not in the text is no lure
    groups: list[set[str]] = [places, {*state.at, "Nobody"}, jobs]
    group = next((sorted(g - {question.short}) for g in groups if question.short in g), [])
    group = [word for word in group if word not in question.text]
    others: list[str] = []
    while group and len(others) < 3:
        others.append(group.pop(c.pick(range(len(group)))))
    return others


def _reading(section: str, split: str, seed: int) -> Iterator[Item]:
    """One question a document, of the kinds of the section, with options from the same text."""
    kinds = {
        "facts": ("job",), "near": ("person", "thing", "holder"),
        "far": ("person", "thing", "holder"), "hops": ("kin_place", "kin_job", "before"),
    }[section]  # fmt: skip
    for c, document in _documents(section, split, seed):
        fits = [
            q for q in questions(document)
            if q.kind in kinds and (section != "near" or q.distance < FAR)
            and (section != "far" or q.distance >= FAR)
        ]  # fmt: skip
        if not fits:
            continue
        question = c.pick(fits)
        wrong = _others(document, question, c)
        if not wrong:
            continue
        shorts = (question.short, *wrong)
        answers = tuple(_with(question, short) for short in shorts)
        yield Item(section, f"{document.text}\n\n{question.text}", answers, shorts)


def _with(question: Question, short: str) -> str:
    """The gold answer with its deciding words (the last of them) replaced."""
    head, _, tail = question.answer.rpartition(question.short)
    if question.kind == "holder":  # these words stand first: "Mila has the lamp."
        return short + question.answer[len(question.short) :]
    return head + short + tail


def _belief(split: str, seed: int) -> Iterator[Item]:
    """Pairs about one moved thing (Wimmer & Perner 1983, Cognition 13:103), with the same options.

    One question is about who did not see it, one about who moved it. Without the second, the place
    that is named most would always be right.
    """
    for c, document in _documents("belief", split, seed):
        state = document.state()
        false = [q for q in questions(document) if q.kind == "belief"]
        pairs = [
            (question, person)
            for question in false
            for person in state.at
            for thing, place in state.lies.items()
            if f" the {thing} is" in question.text and state.belief[person].get(thing) == place
        ]
        if not pairs:
            continue
        question, person = c.pick(pairs)
        believer = question.answer.split(" ")[0]
        thing = question.text.removesuffix(" is?").split(" ")[-1]
        shorts = (question.short, state.lies[thing])
        answers = tuple(_with(question, short) for short in shorts)
        yield Item("belief", f"{document.text}\n\n{question.text}", answers, shorts)
        asked = question.text.replace(believer, person)
        answers = tuple(answer.replace(believer, person) for answer in answers[::-1])
        yield Item("belief", f"{document.text}\n\n{asked}", answers, shorts[::-1])


def _refusal(split: str, seed: int) -> Iterator[Item]:
    """Half unanswerable, half answerable, so that neither "always refuse" nor "never" does well."""
    for number, (c, document) in enumerate(_documents("refusal", split, seed)):
        asked = questions(document)
        kinds = ("person", "thing", "holder", "job")
        answerable = c.pick([q for q in asked if q.kind in kinds])
        not_said = c.pick([q for q in asked if q.kind == "unanswerable"])
        question = not_said if number % 2 else answerable
        guess, mark = _guess(document, not_said, c) if number % 2 else (NOT_SAID, "does not say")
        options = (question.answer, guess)
        marks = (question.short, mark)
        yield Item("refusal", f"{document.text}\n\n{question.text}", options, marks)


def _guess(document: Document, question: Question, c: Chooser) -> tuple[str, str]:
    """An answer that is made up, in the form of a true one, and its deciding words."""
    about = re.search(r"(the \w+|[A-Z]\w+)(?:'s job| at the end|\?)", question.text)
    subject = about[1] if about else "It"
    state = document.state()
    if "job" in question.text:
        word = c.pick(JOBS)
        return f"{subject} is a {word}.", word
    if "Who has" in question.text:
        word = c.pick(list(state.at))
        return f"{word} has {subject}.", word
    if "old" in question.text:
        word = c.pick(("nine", "twelve", "thirty", "forty"))
        return f"{subject} is {word} years old.", word
    word = c.pick(sorted({*state.at.values(), *state.lies.values()}))
    return f"{subject[0].upper()}{subject[1:]} is at {word}.", word


def _grammar(split: str, seed: int) -> Iterator[Item]:
    documents = (make_document(f"exam/grammar/{seed}.{number}", split) for number in count())
    return grammar_items(documents)


def _arithmetic(split: str, seed: int) -> Iterator[Item]:
    number = 0
    while True:
        c = Chooser(f"exam/arithmetic/{split}/{seed}.{number}")
        number += 1
        task = arithmetic(c, split)
        if task.kind in ("shopping", "sharing"):
            value = int(task.short)
            shorts = (task.short, *(str(value + d) for d in (1, 10, -1)))
            yield Item(
                "arithmetic", task.prompt, tuple(f"The answer is {s}." for s in shorts), shorts
            )


def _instructions(split: str, seed: int) -> Iterator[Item]:
    number = 0
    while True:
        c = Chooser(f"exam/instructions/{split}/{seed}.{number}")
        number += 1
        task = instruction(c, split)
        if task.kind in ("sort", "reverse", "capitals"):
            words = task.short.split(", ")
            options = [task.short]
            for i, j in ((0, 1), (2, 3), (1, 2)):
                moved = list(words)
                moved[i], moved[j] = moved[j], moved[i]
                options.append(", ".join(moved))
            yield Item("instructions", task.prompt, tuple(options), tuple(options))


def _tools(split: str, seed: int) -> Iterator[Item]:
    """Which call fits the user's question: the right one, or those of three other questions."""
    rows = make_rows("tools", 1_000_000, seed=seed + 1000, split=split)
    while True:
        some: dict[str, str] = {}
        while len(some) < 4:
            messages = next(rows)["conversations"]
            some[messages[2]["tool_calls"]] = messages[1]["content"]
        calls = tuple(some)
        yield Item("tools", some[calls[0]], calls, calls)


_SECTIONS: dict[str, Callable[[str, int], Iterator[Item]]] = {
    "grammar": _grammar,
    "facts": lambda split, seed: _reading("facts", split, seed),
    "near": lambda split, seed: _reading("near", split, seed),
    "far": lambda split, seed: _reading("far", split, seed),
    "hops": lambda split, seed: _reading("hops", split, seed),
    "belief": _belief, "arithmetic": _arithmetic,
    "instructions": _instructions, "tools": _tools, "refusal": _refusal,
}  # fmt: skip
_GROUPS = {
    "grammar": 4,
    "belief": 2,
    "refusal": 2,
}  # items that only together are fair to a constant taste
SECTIONS = tuple(_SECTIONS)


def exam_items(
    section: str, items: int = 100, split: str = "test", seed: int = 0
) -> Iterator[Item]:
    """The first items of a section, chosen so that no trick of `tricks` does better than chance.

    No prompt comes twice: an item counted again would make the interval too narrow.

    WrongCall for an unknown section or no items.
    """
    if section not in _SECTIONS:
        raise unknown("section", section, SECTIONS)
    if items < 1:
        raise WrongCall(f"{items} items were asked for; give at least 1.")
    stream = _SECTIONS[section](split, seed)
    size = _GROUPS.get(section, 1)
    groups = iter(lambda: tuple(islice(stream, size)), ())
    return islice(balanced(_new(groups)), items)


def _new(groups: Iterator[tuple[Item, ...]]) -> Iterator[tuple[Item, ...]]:
    """The groups none of whose prompts stood in an earlier group."""
    seen: set[str] = set()
    for group in groups:
        prompts = {item.prompt for item in group}
        if not prompts & seen:
            yield group
        seen |= prompts


def by_likelihood(model: LogLikelihood, item: Item) -> bool:
    """Whether the right option is strictly the likeliest."""
    right, *wrong = (model(item.prompt, item.lead + option) for option in item.options)
    return right > max(wrong)


def by_answer(model: Answerer, item: Item) -> bool:
    """Whether the answer holds the right option's deciding words, and no wrong option's."""
    answer = model(item.prompt)

    def holds(words: str) -> bool:
        return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", answer) is not None

    return holds(item.decisive[0]) and not any(map(holds, item.decisive[1:]))


def exam(
    judge: Callable[[Item], bool],
    items: int = 100,
    split: str = "test",
    seed: int = 0,
    sections: tuple[str, ...] = SECTIONS,
) -> list[Score]:
    """Score a judge of items: `partial(by_likelihood, model)` or `partial(by_answer, model)`."""
    scores = []
    for section in sections:
        asked = list(exam_items(section, items, split, seed))
        right = sum(map(judge, asked))
        chance = sum(1 / len(item.options) for item in asked) / items
        scores.append(Score(section, right, items, chance))
    return scores
