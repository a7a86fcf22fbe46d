"""Positions that are not rotary: a wave added to the embedding, a penalty on distance.

Attention by itself does not know the order of what it sees (a causal mask tells a little). The
sinusoidal table (Vaswani et al. 2017, arXiv:1706.03762, section 3.5) is added to the embeddings and
needs no training. ALiBi (Press et al. 2022, arXiv:2108.12409) adds nothing to them: every score
loses slope · distance, with another slope for each head, so that some heads look near and some far.

Shapes: B batch, T query positions, S key positions (the queries are the last T of them), D hidden,
H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal(place: Tensor, hidden: int) -> Tensor:
    """sin(p · f) and cos(p · f) in turn, f = 10000^(-2i/D); (..., D) float32 for places (...).

    Wavelengths grow from 2π to 10000 · 2π. `hidden` is even.

    >>> sinusoidal(torch.tensor([0, 1]), 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    even_D = torch.arange(0, hidden, 2, dtype=torch.float32, device=place.device)
    angle = place[..., None].float() / 10000 ** (even_D / hidden)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)


def alibi_slopes(heads: int, device: torch.device | None = None) -> Tensor:
    """How much a score loses for each token of distance, (H) float32.

    For a power of two, 2^(-8/H), 2^(-16/H) … 2^-8. Otherwise those of the next lower power, then
    every second one of the next higher, as the authors' program and Bloom have it.

    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])
    >>> alibi_slopes(3)
    tensor([0.0625, 0.0039, 0.2500])
    """
    power = 2 ** math.floor(math.log2(heads))
    step = torch.arange(1, power + 1, device=device)
    between = 2 * torch.arange(heads - power, device=device) + 1
    return torch.exp2(torch.cat((-8 / power * step, -4 / power * between)))


def alibi_bias(heads: int, queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """-slope · distance, to add to the scores; (H, T, S) float32.

    Ahead, where no query may look, it is positive: a mask must follow.

    >>> alibi_bias(1, 2, 3)[0] * 256
    tensor([[-1.,  0.,  1.],
            [-2., -1.,  0.]])
    """
    place_S = torch.arange(keys, device=device)
    ahead_TS = place_S - place_S[keys - queries :, None]  # minus the distance
    return alibi_slopes(heads, device)[:, None, None] * ahead_TS
