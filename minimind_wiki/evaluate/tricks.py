"""Exam items, the shallow tricks that need no understanding, and a filter that makes them useless.

A trick scores an option by where and how often its deciding words stand in the prompt, or by its
length. In a told story the answer is often the place that was named last, so an exam of plain
samples rewards looking at the end. `balanced` therefore lets an item pass only while no trick is
right more often than a blind choice would be.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from minimind_wiki.data.world.lessons import SEPARATOR


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `options[0]` is right; `decisive[i]` are the words that betray option i.

    `lead` stands between the prompt and an option: a line break, as in the lessons of the little
    world (`data/world/lessons.py`), or the space between two sentences.
    """

    section: str
    prompt: str
    options: tuple[str, ...]
    decisive: tuple[str, ...]
    lead: str = SEPARATOR


Trick = Callable[[Item, int], float]


def _places(item: Item, option: int) -> list[int]:
    """Where in the prompt the deciding words stand (the whole option, where none decide)."""
    words = item.decisive[option] if all(item.decisive) else item.options[option]
    found = re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", item.prompt)
    return [hit.start() for hit in found]


def first_mentioned(item: Item, option: int) -> float:
    """The sooner in the prompt, the better; never is worst."""
    return -min(_places(item, option), default=math.inf)


def last_mentioned(item: Item, option: int) -> float:
    """The later in the prompt, the better; never is worst."""
    return max(_places(item, option), default=-1)


def most_mentioned(item: Item, option: int) -> float:
    """The more often in the prompt, the better."""
    return len(_places(item, option))


def least_mentioned(item: Item, option: int) -> float:
    """The less often in the prompt, the better."""
    return -len(_places(item, option))


def longest(item: Item, option: int) -> float:
    """The more letters, the better."""
    return len(item.options[option])


def shortest(item: Item, option: int) -> float:
    """The fewer letters, the better."""
    return -len(item.options[option])


TRICKS: dict[str, Trick] = {
    "first mentioned": first_mentioned, "last mentioned": last_mentioned,
    "most mentioned": most_mentioned, "least mentioned": least_mentioned,
    "longest": longest, "shortest": shortest,
}  # fmt: skip


def by_trick(trick: Trick, item: Item) -> bool:
    """Whether the trick prefers the right option. Equals are a coin toss, by checksum.

    >>> item = Item("x", "Fox Hill, then Owl Inn. Where?", ("At Owl Inn.", "At Fox Hill."),
    ...             ("Owl Inn", "Fox Hill"))
    >>> by_trick(last_mentioned, item), by_trick(first_mentioned, item)
    (True, False)
    """

    def rank(option: int) -> tuple[float, bytes]:
        text = f"{item.prompt}\n{item.options[option]}"
        return trick(item, option), hashlib.blake2b(text.encode(), digest_size=8).digest()

    return max(range(len(item.options)), key=rank) == 0


def balanced(groups: Iterable[tuple[Item, ...]], most: float = 1.0) -> Iterator[Item]:
    """The items of those groups with which no trick gets more than `most` items ahead of chance.

    A group passes or is left out as a whole. What passes depends only on what came before, so a
    shorter exam is the beginning of a longer one.
    """
    ahead = dict.fromkeys(TRICKS, 0.0)
    for group in groups:
        gains = {
            name: sum(by_trick(trick, item) - 1 / len(item.options) for item in group)
            for name, trick in TRICKS.items()
        }
        if all(gain <= 0 or ahead[name] + gain <= most for name, gain in gains.items()):
            for name, gain in gains.items():
                ahead[name] += gain
            yield from group
