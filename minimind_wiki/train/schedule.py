"""Learning rate by step: a linear warm-up, then half a cosine down (Loshchilov & Hutter 2017).

A pure function of the step: nothing has to be saved to resume, and a plot of it is one line.
"""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, warmup: int, peak: float, last: float = 0.0) -> float:
    """The rate of optimizer step `step`, counted from 0.

    Steps 0 … warmup-1 rise to `peak` in equal parts (the first is peak/warmup, never 0); from
    there the cosine falls and step steps-1 has exactly `last`.

    >>> [round(learning_rate(s, 8, 2, 1.0), 3) for s in range(8)]
    [0.5, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067, 0.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup + 1) / max(1, steps - warmup)
    return last + 0.5 * (peak - last) * (1.0 + math.cos(math.pi * min(1.0, share)))
