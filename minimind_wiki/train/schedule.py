"""Learning rate by step: a linear warm-up, then one of four ways down.

A pure function of the step: nothing has to be saved to resume, and a plot of it is one line.

| schedule | after the warm-up | from |
|---|---|---|
| cosine | half a cosine down to the last step | Loshchilov & Hutter 2017, arXiv:1608.03983 |
| linear | a straight line down | Devlin et al. 2019, arXiv:1810.04805 |
| wsd | stays, and falls as 1 - sqrt in the last steps | Hägele et al. 2024, arXiv:2405.18392 |
| constant | stays | – |

Cosine and linear must know the number of steps from the beginning. With wsd a run can go on from
before its decay for as long as one likes, and decay then.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
    "linear": lambda share: 1.0 - share,
    "wsd": lambda share: 1.0 - math.sqrt(share),
    "constant": lambda share: 1.0,
}
"""How much of the peak is left after a share of the way down."""


def learning_rate(
    step: int,
    steps: int,
    warmup: int,
    peak: float,
    last: float = 0.0,
    schedule: str = "cosine",
    decay_share: float = 0.2,
) -> float:
    """The rate of optimizer step `step`, counted from 0. KeyError for an unknown schedule.

    Steps 0 … warmup-1 rise to `peak` in equal parts (the first is peak/warmup, never 0). The way
    down would reach `last` at step `steps`, one after the end: a rate of 0 in the last step would
    waste it. With wsd it begins `decay_share · steps` before the end.

    >>> [round(learning_rate(s, 8, 2, 1.0), 3) for s in range(9)]
    [0.5, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0]
    >>> [round(learning_rate(s, 8, 2, 1.0, schedule="linear"), 3) for s in range(9)]
    [0.5, 1.0, 0.857, 0.714, 0.571, 0.429, 0.286, 0.143, 0.0]
    >>> [round(learning_rate(s, 8, 2, 1.0, 0.0, "wsd", 0.375), 3) for s in range(9)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.293, 0.134, 0.0]
    >>> [learning_rate(s, 8, 2, 1.0, schedule="constant") for s in (0, 1, 7)]
    [0.5, 1.0, 1.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    begin = warmup
    if schedule == "wsd":
        begin = max(warmup, steps - round(decay_share * steps))
    share = (step - begin + 1) / (steps - begin + 1)
    return last + (peak - last) * SCHEDULES[schedule](min(1.0, max(0.0, share)))
