"""Speculative decoding: guess a few tokens cheaply, check them all in one pass of the model.

A pass over five tokens reads each weight once, as a pass over one does, and where reading weights
is what takes the time, it takes hardly longer. So let something cheap guess: a smaller model, or
the text itself, which often repeats what it said (prompt lookup: Saxena 2023,
github.com/apoorvumang/prompt-lookup-decoding). The model scores all guesses at once, and `judge`
keeps as many as it may.

What comes out is distributed exactly as if the model had drawn alone (Leviathan et al. 2023,
arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318): bad guesses cost time, and nothing else.

Shapes: k guesses, T = k + 1 places at which the model scores, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor


def judge(
    guesses: Sequence[int], p_TV: Tensor, q_kV: Tensor, generator: torch.Generator | None = None
) -> list[int]:
    """The guesses that stand, and one token more: from 1 to k + 1 tokens that follow p.

    `p_TV` are the model's probabilities before each guess and after the last, `q_kV` those with
    which the guesses were drawn. A guess x stands with probability min(1, p(x) / q(x)). At the
    first that falls, a token is drawn from what q gave too little of, max(0, p - q) rescaled.
    Together token x comes with probability min(p, q) + max(0, p - q) = p(x).

    >>> p_TV = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> q_kV = torch.tensor([[0.5, 0.5]])
    >>> judge([1], p_TV, q_kV), judge([0], p_TV, q_kV)
    ([1, 1], [1])
    """
    places = torch.arange(len(guesses), device=p_TV.device)
    tokens = torch.tensor(guesses, dtype=torch.int64, device=p_TV.device)
    chance_k = torch.rand(len(guesses), generator=generator, device=p_TV.device)
    falls = chance_k * q_kV[places, tokens] >= p_TV[places, tokens]
    for place, fell in enumerate(falls.tolist()):
        if fell:
            missing_V = (p_TV[place] - q_kV[place]).clamp(min=0)
            # two distributions that differ by rounding alone may leave nothing to draw from
            left_V = missing_V if bool(missing_V.any()) else p_TV[place]
            return [*guesses[:place], _draw(left_V, generator)]
    return [*guesses, _draw(p_TV[len(guesses)], generator)]


def _draw(weight_V: Tensor, generator: torch.Generator | None) -> int:
    return int(torch.multinomial(weight_V, 1, generator=generator))


class Lookup:
    """Guesses that the text goes on as it did where its last `size` tokens stood before.

    It costs next to nothing, and is right where answers quote: a summary, code, a tool's result.
    It is certain of its guesses: q is 1 for the guess, so that it stands with probability p.

    >>> Lookup(vocab_size=10).guess([7, 8, 9, 4, 7, 8], most=2)[0]
    [9, 4]
    """

    def __init__(self, vocab_size: int, size: int = 2) -> None:
        self.vocab_size, self.size = vocab_size, size

    def guess(self, ids: list[int], most: int) -> tuple[list[int], Tensor]:
        """What followed the latest earlier place like this one; nothing if there is none."""
        spelled = array("q", ids).tobytes()
        tail, found, end = spelled[-8 * self.size :], ids[:0], len(spelled) - 8
        while (at := spelled.rfind(tail, 0, end)) >= 0:
            if at % 8 == 0:  # else it begins within a number
                found = ids[at // 8 + self.size :][:most]
                break
            end = at + len(tail) - 1
        one_hot_kV = torch.zeros(len(found), self.vocab_size)
        one_hot_kV[range(len(found)), found] = 1
        return found, one_hot_kV
