"""The one scale of the site for probabilities and weights of attention; web/src/views/scale.ts."""

from __future__ import annotations

import math

STEPS = 6


def step(share: float) -> int:
    """The step of a number from 0 to 1; even in the square root, so that small ones differ too.

    >>> [step(share) for share in (0, 0.02, 0.03, 0.12, 0.25, 0.5, 0.7, 1)]
    [0, 0, 1, 2, 3, 4, 5, 5]
    """
    return min(STEPS - 1, math.floor(STEPS * math.sqrt(share) + 1e-9)) if share > 0 else 0


def bounds() -> list[float]:
    """Where the steps begin."""
    return [(k / STEPS) ** 2 for k in range(STEPS)]


def percent(share: float) -> str:
    """A share for reading.

    >>> percent(0.42), percent(0.042), percent(0.0001), percent(0.9995), percent(0)
    ('42 %', '4.2 %', '< 0.1 %', '> 99.9 %', '0 %')
    """
    if share <= 0:
        return "0 %"
    if share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.{1 if share < 0.0995 else 0}f} %"
