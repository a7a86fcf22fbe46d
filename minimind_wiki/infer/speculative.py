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
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.rollout import sampling_logp
from minimind_wiki.infer.sampling import check_sampling
from minimind_wiki.model import KVCache, Transformer


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


class Guesser(Protocol):
    """Whoever guesses how a text goes on."""

    def guess(self, ids: list[int], most: int) -> tuple[list[int], Tensor]:
        """Up to `most` tokens and the probabilities they were drawn with, (k, V)."""
        ...


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


class Draft:
    """Guesses with a smaller model of the same vocabulary, drawn as the large one draws."""

    def __init__(
        self,
        model: Transformer,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_sampling(temperature, top_k, top_p)
        self.model = model
        self.settings = (temperature, top_k, top_p)
        self.generator = generator
        weight, config = model.lm_head.weight, model.config
        room = config.max_position_embeddings
        self.cache = KVCache(config, 1, room, weight.device, weight.dtype)
        self.seen: list[int] = []
        """The tokens in the cache."""

    @torch.no_grad()
    def guess(self, ids: list[int], most: int) -> tuple[list[int], Tensor]:
        """Guesses drawn one after the other; none where the draft's own context is full."""
        while self.seen != ids[: len(self.seen)] or len(self.seen) == len(ids):
            self.seen.pop()  # guesses that fell; and one token must be left to compute
        self.cache.length = len(self.seen)
        text, q_kV, device = list(ids), [], self.model.lm_head.weight.device
        for _ in range(min(most, self.cache.room - len(ids) + 1)):
            new_1T = torch.tensor([text[self.cache.length :]], device=device)
            hidden_1D = self.model.model(new_1T, self.cache)[:, -1]
            self.seen = list(text)
            q_kV.append(sampling_logp(self.model.lm_head(hidden_1D), *self.settings).exp())
            text.append(_draw(q_kV[-1][0], self.generator))
        empty = torch.zeros(0, self.model.config.vocab_size)
        return text[len(ids) :], torch.cat(q_kV) if q_kV else empty


@torch.no_grad()
def speculate(
    model: Transformer,
    guesser: Guesser,
    prompt: Sequence[int],
    max_new_tokens: int,
    ahead: int = 4,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop_ids: Sequence[int] = (),
) -> Iterator[list[int]]:
    """The tokens of each pass, up to `ahead` + 1 of them, until a stop id or `max_new_tokens`.

    Their distribution is that of `stream` with the same settings, and at temperature 0 the tokens
    are. Raises WrongCall where prompt and new tokens do not fit the model's context.
    """
    check_sampling(temperature, top_k, top_p)
    if not prompt or ahead < 1:
        raise WrongCall(f"{len(prompt)} tokens and {ahead} guesses ahead; give at least 1 of both.")
    most, limit = len(prompt) + max_new_tokens, model.config.max_position_embeddings
    if most > limit:
        raise WrongCall(
            f"{most} tokens are more than the model's context of {limit}; ask for less."
        )
    weight, ids = model.lm_head.weight, list(prompt)
    cache = KVCache(model.config, 1, most, weight.device, weight.dtype)
    while len(ids) < most:
        guesses, q_kV = guesser.guess(ids, min(ahead, most - len(ids) - 1))
        new_1T = torch.tensor([ids[cache.length :] + guesses], device=weight.device)
        hidden_TD = model.model(new_1T, cache)[0, -len(guesses) - 1 :]
        p_TV = sampling_logp(model.lm_head(hidden_TD), temperature, top_k, top_p).exp()
        kept = judge(guesses, p_TV, q_kV.to(p_TV.device), generator)
        cache.length = len(ids) + len(kept) - 1  # what fell is written over
        ends = [place for place, token in enumerate(kept) if token in stop_ids]
        kept = kept[: ends[0] + 1] if ends else kept
        ids += kept
        yield kept
        if ends:
            return
