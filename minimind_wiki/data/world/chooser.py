"""Every choice of the little world, with its probability.

The grammar of the world is a program: it asks a `Chooser` for each choice and says each piece of
text as soon as it is chosen. The chooser adds up the log-probabilities, so a text comes with the
exact log-probability (nats) of its derivation. The same program, driven by an `Aligner` instead of
chance, parses: it follows every choice that agrees with a given text and so finds *all* derivations
of it. Their sum is the probability of the text, ambiguous or not.

A probabilistic grammar run forwards and backwards is old (Booth & Thompson 1973, IEEE Trans. Comp.
C-22); replaying a program once for each branch instead of writing a second one is the trick here.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Any, TypeVar

T = TypeVar("T")
_LOG = [0.0, *(math.log(n) for n in range(1, 4096))]


class Weighted:
    """Options with unequal probabilities, given as weights.

    >>> Weighted({"a": 3, "b": 1}).logs[1] == math.log(1 / 4)
    True
    """

    __slots__ = ("edges", "logs", "options")

    def __init__(self, weights: dict[Any, float]) -> None:
        total = sum(weights.values())
        self.options = tuple(weights)
        self.logs = [math.log(w / total) for w in weights.values()]
        self.edges = [edge / total for edge in accumulate(weights.values())][:-1]


class Chooser:
    """Chooses by chance. `logp` is the log-probability of all choices so far, in nats.

    `logp_any` is the same under the grammar that does not know its split: what a reader could reach
    who knows every rule, but not that the names and plots of this split are those held out.
    Only `Random.random` is used, whose sequence Python promises to keep.
    """

    def __init__(self, seed: int | str = 0) -> None:
        self._random = random.Random(seed).random
        self.out: list[str] = []
        self.logp = 0.0
        self.logp_any = 0.0

    def say(self, piece: str) -> None:
        """Append a piece of text."""
        self.out.append(piece)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely; nothing is said."""
        count = len(options)
        cost = _LOG[count]
        self.logp -= cost
        self.logp_any -= cost
        return options[int(self._random() * count)]

    def tell(self, options: Sequence[str]) -> str:
        """One of the options, each as likely, and say it."""
        count = len(options)
        cost = _LOG[count]
        self.logp -= cost
        self.logp_any -= cost
        word = options[int(self._random() * count)]
        self.out.append(word)
        return word

    def tell_new(self, options: Sequence[str], used: Collection[str], all_options: int) -> str:
        """One of the options that are not in `used`, and say it.

        The options are those of a split; `all_options` counts those of every split.
        """
        self.logp -= _LOG[len(options) - len(used)]
        self.logp_any -= _LOG[all_options - len(used)]
        while True:
            word = options[int(self._random() * len(options))]
            if word not in used:
                self.out.append(word)
                return word

    def draw(self, table: Weighted) -> Any:
        """One option of a weighted table; nothing is said."""
        index = bisect_right(table.edges, self._random())
        self.logp += table.logs[index]
        self.logp_any += table.logs[index]
        return table.options[index]

    def pick_of(self, options: Sequence[T], all_options: int) -> T:
        """Like `pick`, from the options of a split, out of `all_options` in every split."""
        self.logp_any += _LOG[len(options)] - _LOG[all_options]
        return self.pick(options)

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self.out)


class _Dead(Exception):
    """This derivation cannot give the text."""


class Aligner(Chooser):
    """Chooses so that `text` is said; one derivation. See `derivations`."""

    def __init__(self, text: str, script: list[int], todo: list[list[int]]) -> None:
        super().__init__()
        self.target, self.script, self.todo = text, script, todo
        self.step = self.place = 0

    def say(self, piece: str) -> None:
        if not self.target.startswith(piece, self.place):
            raise _Dead
        self.place += len(piece)
        self.out.append(piece)

    def _branch(self, open_: Callable[[], list[int]]) -> int:
        if self.step == len(self.script):
            indexes = open_()
            if not indexes:
                raise _Dead
            self.todo += [[*self.script, index] for index in indexes[1:]]
            self.script.append(indexes[0])
        self.step += 1
        return self.script[self.step - 1]

    def _fits(self, option: Any) -> bool:
        fits = getattr(option, "fits", None)
        return fits is None or fits(self.target, self.place)

    def pick(self, options: Sequence[T]) -> T:
        index = self._branch(lambda: [i for i, o in enumerate(options) if self._fits(o)])
        self.logp -= _LOG[len(options)]
        self.logp_any -= _LOG[len(options)]
        return options[index]

    def _told(self, options: Sequence[str], used: Collection[str] = ()) -> str:
        here, target = self.place, self.target
        index = self._branch(
            lambda: [
                i for i, o in enumerate(options) if o not in used and target.startswith(o, here)
            ]
        )
        self.say(options[index])
        return options[index]

    def tell(self, options: Sequence[str]) -> str:
        self.logp -= _LOG[len(options)]
        self.logp_any -= _LOG[len(options)]
        return self._told(options)

    def tell_new(self, options: Sequence[str], used: Collection[str], all_options: int) -> str:
        self.logp -= _LOG[len(options) - len(used)]
        self.logp_any -= _LOG[all_options - len(used)]
        return self._told(options, used)

    def draw(self, table: Weighted) -> Any:
        index = self._branch(lambda: list(range(len(table.options))))
        self.logp += table.logs[index]
        self.logp_any += table.logs[index]
        return table.options[index]


def derivations(text: str, program: Callable[[Chooser], object], most: int = 10_000) -> list[float]:
    """The log-probability (nats) of each derivation of `text` by `program`; empty if none.

    The search is exhaustive: `log_sum` of the list is the exact log-probability of the text.
    ValueError when there are more than `most` derivations.

    >>> def coin(c):
    ...     c.tell(("a", "aa")); c.tell(("ab", "b"))
    >>> [round(p, 3) for p in derivations("aab", coin)]
    [-1.386, -1.386]
    """
    todo: list[list[int]] = [[]]
    found: list[float] = []
    while todo:
        aligner = Aligner(text, todo.pop(), todo)
        try:
            program(aligner)
        except _Dead:
            continue
        if aligner.place == len(text):
            found.append(aligner.logp)
            if len(found) > most:
                raise ValueError(f"more than {most} derivations of one text")
    return found


def log_sum(logs: Sequence[float]) -> float:
    """log of the sum of exponentials.

    >>> round(log_sum([math.log(0.25), math.log(0.5)]), 6) == round(math.log(0.75), 6)
    True
    """
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs))
