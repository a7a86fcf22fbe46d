"""Small tasks that need no story: word problems with worked steps, and instructions to follow.

Each task carries its prompt, its solution and what a checker needs. Numbers stay below 200, so that
a small model can learn the steps rather than a table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.tools import DAYS, calculate
from minimind_wiki.data.world.words import THINGS, split_of, words_of

GOODS = ("eggs", "apples", "candles", "nuts", "buttons", "pears", "coins", "carrots", "ribbons")
PACKS = ("boxes", "baskets", "bags", "jars", "bundles")
_EQUATION = re.compile(r"([\d][\d +*-]*[+*-][\d +*-]*\d) = (\d+)")


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, its worked solution and the short answer that decides."""

    kind: str
    prompt: str
    solution: str
    short: str


def _number(c: Chooser, low: int, high: int) -> int:
    return c.pick(range(low, high + 1))


def _people(c: Chooser, split: str, count: int) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        name = c.pick(words_of(split).names)
        if name not in names:
            names.append(name)
    return names


def arithmetic(c: Chooser, split: str) -> Task:
    """A word problem of two or three steps, or a puzzle of order or time."""
    return c.pick((_shopping, _sharing, _walking, _order))(c, split)


def _shopping(c: Chooser, split: str) -> Task:
    who, other = _people(c, split, 2)
    goods, packs = c.pick(GOODS), c.pick(PACKS)
    have, n, each = _number(c, 2, 40), _number(c, 2, 9), _number(c, 2, 9)
    away = _number(c, 1, have + n * each - 2)  # two are left at least, for the plural
    prompt = (f"{who} has {have} {goods}. {who} buys {n} {packs} with {each} {goods} each and "
              f"gives {away} to {other}. How many {goods} does {who} have now?")  # fmt: skip
    total = have + n * each
    steps = (f"{n} {packs} with {each} {goods} each are {n} * {each} = {n * each} {goods}. "
             f"Together that is {have} + {n * each} = {total}. After the gift, {total} - {away} = "
             f"{total - away} are left. The answer is {total - away}.")  # fmt: skip
    return Task("shopping", prompt, steps, str(total - away))


def _sharing(c: Chooser, split: str) -> Task:
    a, b = _people(c, split, 2)
    goods = c.pick(GOODS)
    x, more = _number(c, 2, 50), _number(c, 2, 30)
    prompt = (f"{a} has {x} {goods}. {b} has {more} {goods} more than {a}. How many {goods} do "
              "they have together?")  # fmt: skip
    total = x + x + more
    steps = (f"{b} has {x} + {more} = {x + more} {goods}. Together they have {x} + {x + more} = "
             f"{total}. The answer is {total}.")  # fmt: skip
    return Task("sharing", prompt, steps, str(total))


def _walking(c: Chooser, split: str) -> Task:
    (who,) = _people(c, split, 1)
    place = c.pick(words_of(split).places)
    hour, minute, way = _number(c, 6, 17), 5 * _number(c, 0, 11), 5 * _number(c, 2, 20)
    late = minute + way
    at = f"{hour + late // 60}:{late % 60:02d}"
    prompt = (f"{who} leaves for {place} at {hour}:{minute:02d} and walks for {way} minutes. When "
              f"does {who} arrive?")  # fmt: skip
    steps = f"The minutes are {minute} + {way} = {late}. "
    if late >= 60:
        steps += f"That is {late // 60} hour{'s' * (late >= 120)} and {late % 60} minutes. "
    return Task("walking", prompt, f"{steps}The answer is {at}.", at)


def _order(c: Chooser, split: str) -> Task:
    a, b, d = _people(c, split, 3)
    facts = [f"{a} is older than {b}.", f"{b} is older than {d}."]
    if c.pick((True, False)):
        facts.reverse()
    oldest = c.pick((True, False))
    prompt = f"{' '.join(facts)} Who is the {'oldest' if oldest else 'youngest'} of the three?"
    steps = f"{a} is older than {b}, and {b} is older than {d}. So {a} is the oldest and {d} the "
    return Task("order", prompt, f"{steps}youngest. The answer is {a if oldest else d}.",
                a if oldest else d)  # fmt: skip


def steps_are_right(solution: str, short: str) -> bool:
    """Whether every equation of a solution holds and it ends with the answer."""
    equations = _EQUATION.findall(solution)
    return solution.endswith(f"The answer is {short}.") and all(
        calculate(left) == int(right) for left, right in equations
    )


def instruction(c: Chooser, split: str) -> Task:
    """A task whose result a program can check: order, count, repeat, rewrite.

    The prompt's checksum decides its split, so that no held-out prompt is met in training.
    """
    while True:
        task = _instruction(c)
        if split_of(task.prompt) == split:
            return task


def _instruction(c: Chooser) -> Task:
    kind = c.pick(("sort", "capitals", "repeat", "count", "reverse", "last", "day"))
    words: list[str] = []
    while len(words) < 4:
        word = c.pick(THINGS)
        if word not in words:
            words.append(word)
    listed = ", ".join(words)
    if kind == "day":
        day, days = c.pick(DAYS), _number(c, 1, 6)
        plural = "days" if days > 1 else "day"
        answer = DAYS[(DAYS.index(day) + days) % 7]
        return Task(kind, f"Today is {day}. Which day is it in {days} {plural}?", answer, answer)
    times = _number(c, 2, 5)
    prompt, answer = {
        "sort": (f"Put these words into alphabetical order: {listed}", ", ".join(sorted(words))),
        "capitals": (f"Write in capital letters: {listed}", listed.upper()),
        "repeat": (f"Write the word {words[0]} {times} times.", " ".join(words[:1] * times)),
        "count": (f"How many letters has the word {words[0]}?", str(len(words[0]))),
        "reverse": (f"Write this list backwards: {listed}", ", ".join(words[::-1])),
        "last": (f"Write only the last word of this list: {listed}", words[-1]),
    }[kind]
    return Task(kind, prompt, answer, answer)
