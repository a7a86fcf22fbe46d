"""Learning rate by step: a linear warm-up, then half a cosine down (Loshchilov & Hutter 2017).

A pure function of the step: nothing has to be saved to resume, and a plot of it is one line.
"""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, warmup: int, peak: float, last: float = 0.0) -> float:
    """The rate of optimizer step `step`, counted from 0.

    Steps 0 … warmup-1 rise to `peak` in equal parts (the first is peak/warmup, never 0). The cosine
    that follows would have `last` at step `steps`, one after the end: a rate of 0 in the last step
    would waste it.

    >>> [round(learning_rate(s, 8, 2, 1.0), 3) for s in range(9)]
    [0.5, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup + 1) / (steps - warmup + 1)
    return last + 0.5 * (peak - last) * (1.0 + math.cos(math.pi * min(1.0, share)))
