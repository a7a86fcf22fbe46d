"""What a head of attention does on a text, as five numbers; web/src/views/heads.ts has the same.

Each is a mean over those rows where it can be told, and None where no row can tell:

    one back     weight on the token right before; from the third token on
    first        weight on the first token of the text; from the third token on
    itself       weight on the token itself; from the second on
    same         weight on earlier copies of the token
    after same   weight on what came right after earlier copies: what a head that goes on with a
                 repetition looks at (an induction head, Olsson et al. 2022, arXiv:2209.11895)

They describe one text. A head can do something else on another.
"""

from __future__ import annotations

from collections.abc import Sequence

NAMES = ("one back", "first", "itself", "same", "after same")
Rows = Sequence[Sequence[float]]
"""Weights of one head: row i holds at least the i + 1 weights of what it may see."""


def head_measures(rows: Rows, ids: Sequence[int]) -> dict[str, float | None]:
    """The measures of a head on a text.

    >>> head_measures([[1], [0.5, 0.5], [0.25, 0.5, 0.25]], [7, 8, 7])
    {'one back': 0.5, 'first': 0.25, 'itself': 0.375, 'same': 0.25, 'after same': 0.5}
    """
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for i, row in enumerate(rows):
        if i >= 1:
            found["itself"].append(row[i])
        if i >= 2:
            found["one back"].append(row[i - 1])
            found["first"].append(row[0])
        copies = [j for j in range(i) if ids[j] == ids[i]]
        if copies:
            found["same"].append(sum(row[j] for j in copies))
        after = [j + 1 for j in copies if j + 1 < i]
        if after:
            found["after same"].append(sum(row[j] for j in after))
    return {name: sum(given) / len(given) if given else None for name, given in found.items()}


def even_measures(ids: Sequence[int]) -> dict[str, float | None]:
    """The same for a head that spreads its weight evenly: what has to be beaten."""
    return head_measures([[1 / (i + 1)] * (i + 1) for i in range(len(ids))], ids)


def strongest(measures: dict[str, float | None]) -> tuple[str, float]:
    """The largest measure, by which a head is named."""
    told = [(name, value) for name, value in measures.items() if value is not None]
    return max(told, key=lambda pair: pair[1], default=("", 0.0))
