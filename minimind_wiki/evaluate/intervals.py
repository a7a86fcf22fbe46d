"""How sure a mean is: over the items of an exam and over the seeds of a training.

Two runs of one recipe differ, and two sets of questions differ. A table of several seeds that were
all asked the same questions has both kinds of chance in it, crossed like the rows and columns of a
table. So seeds and items are drawn again independently of each other (the pigeonhole bootstrap,
Owen 2007, Annals of Applied Statistics 1:386); to resample the answers one by one would take three
seeds with 50 questions for 150 independent questions.
Shapes: S seeds, N items of a section, R redraws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from minimind_wiki.errors import WrongCall


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:6.1%}  [{self.low:.1%}, {self.high:.1%}]"


def mean_interval(sections: Sequence[ArrayLike], redraws: int = 2000, seed: int = 0) -> Mean:
    """The mean of the sections' means, with the 2.5 and 97.5 % quantiles of its bootstrap.

    Each section is an array (S, N), or (N) for one seed: marks (0 or 1), or any number an item, so
    that `after - before` of the same items gives the interval of a difference, the paired one.
    Items are redrawn within their section, so a section of the exam keeps its weight. All sections
    have the same seeds in the same order. Two limits: with three seeds the redraws see only those
    three, so the part that training adds is told too small; and marks that are all equal have no
    spread to redraw (a Wilson interval knows better there). WrongCall where nothing is given, or
    the sections do not have the same seeds.

    >>> mean_interval([[1, 1, 0, 1], [0, 0, 1, 0]]).value
    0.5
    """
    arrays = [np.atleast_2d(np.asarray(marks, dtype=float)) for marks in sections]
    if not arrays or any(not marks_SN.size for marks_SN in arrays):
        raise WrongCall("a section has no marks, so it has no mean; ask at least one item.")
    seeds = {len(marks_SN) for marks_SN in arrays}
    if len(seeds) > 1:
        raise WrongCall(f"the sections have {sorted(seeds)} seeds; give all the same seeds.")
    rng = np.random.default_rng(seed)
    seed_RS = rng.integers(len(arrays[0]), size=(redraws, seeds.pop()))
    drawn_R = np.zeros(redraws)
    for marks_SN in arrays:
        item_RN = rng.integers(marks_SN.shape[1], size=(redraws, marks_SN.shape[1]))
        drawn_R += marks_SN[seed_RS[:, :, None], item_RN[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(drawn_R / len(arrays), (0.025, 0.975))
    value = sum(float(marks_SN.mean()) for marks_SN in arrays) / len(arrays)
    return Mean(value, float(low), float(high))
