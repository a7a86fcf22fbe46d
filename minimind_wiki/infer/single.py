"""One token of one request through a lean decoder: as few calls as its products allow.

This is the step of somebody who waits for one answer. With so little to compute, what a call costs
before it computes anything counts: here a norm is two calls, keys are written where they belong
and read where they lie. The products are those of `lean`, and so are the numbers, but for the order
of sums.

Shapes: D hidden, H query heads, K key-value heads, G query heads of a key head, E head_dim, S keys,
N blocks of the text, I intermediate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model import PagedCache
from minimind_wiki.model.norm import RMSNorm
from minimind_wiki.model.pages import Part

ZERO = torch.zeros(1)


class Place(NamedTuple):
    """Where the token goes, and what it sees: the same in every layer."""

    slot: int
    """Row of the blocks laid end to end."""
    first: int | None
    """The text's first block, where the others follow it in memory; None where they lie apart."""
    table_N: Tensor
    keys: int
    cos_1E: Tensor | None
    sin_1E: Tensor | None
    """Of both halves of a head, the first half's sine with a minus."""


def sees_all(parts: list[Part], windows: list[int], biased: bool) -> bool:
    """Whether the pass is one token of one request, which sees all before it in every layer."""
    if len(parts) != 1 or parts[0].place_RT.numel() != 1 or biased:
        return False
    return all(not window or window >= parts[0].keys for window in windows)


def place_of(cache: PagedCache, turn: tuple[Tensor, Tensor] | None) -> Place:
    """Read a pass that `sees_all`; `turn` has the cosines and sines of its token, (1, 1, E)."""
    part = cache.parts[0]
    blocks = part.table_RN[0].tolist()
    joint = blocks == list(range(blocks[0], blocks[0] + len(blocks)))
    cos_1E, sin_1E = (None, None) if turn is None else (turn[0][0], turn[1][0])
    first = blocks[0] if joint else None
    return Place(int(cache.slot_T), first, part.table_RN[0], part.keys, cos_1E, sin_1E)


class Norm:
    """`rms_norm` of one vector in two calls; (1, D) to (1, D)."""

    def __init__(self, module: nn.Module) -> None:
        assert isinstance(module, RMSNorm)
        self.gain_D, self.eps, self.size = module.weight, module.eps, module.weight.numel()

    def __call__(self, x_1D: Tensor) -> Tensor:
        x_D = x_1D[0]
        scale = 1 / math.sqrt(torch.dot(x_D, x_D).item() / self.size + self.eps)
        return torch.addcmul(ZERO, x_1D, self.gain_D, value=scale)


class Reader:
    """Attention of one query on a text in blocks, behind joined queries, keys and values."""

    def __init__(self, heads: int, shared: int, dim: int, norms: tuple[RMSNorm, RMSNorm] | None):
        self.heads, self.shared, self.dim, self.norms = heads, shared, dim, norms

    def __call__(self, qkv_1O: Tensor, place: Place, keys: Tensor, values: Tensor) -> Tensor:
        """(1, H · E), from queries, keys and values side by side and the blocks of the layer."""
        heads, shared = self.heads, self.shared
        qkv_OE = qkv_1O.view(-1, self.dim)
        qk_OE = qkv_OE[: heads + shared]
        if self.norms is not None:
            q_HE, k_KE = qk_OE[:heads], qk_OE[heads:]
            parts = zip((q_HE, k_KE), self.norms, strict=True)
            qk_OE = torch.cat([F.rms_norm(x, (self.dim,), n.weight, n.eps) for x, n in parts])
        if place.cos_1E is not None and place.sin_1E is not None:
            half = self.dim // 2
            swapped_OE = torch.cat((qk_OE[:, half:], qk_OE[:, :half]), dim=1)
            qk_OE = (qk_OE * place.cos_1E).addcmul_(swapped_OE, place.sin_1E)
        k_SKE = self.store(qk_OE[heads:], place, keys)
        v_SKE = self.store(qkv_OE[heads + shared :], place, values)
        q_1KGE = qk_OE[:heads].view(1, shared, heads // shared, self.dim)
        k_1KSE, v_1KSE = k_SKE.transpose(0, 1)[None], v_SKE.transpose(0, 1)[None]
        return F.scaled_dot_product_attention(q_1KGE, k_1KSE, v_1KSE).view(1, -1)

    def store(self, new_KE: Tensor, place: Place, blocks: Tensor) -> Tensor:
        """Write the token's row; all rows of the text, (S, K, E), a copy only if they lie apart."""
        rows = blocks.view(-1, self.shared, self.dim)
        rows[place.slot].copy_(new_KE)
        if place.first is not None:
            return rows.narrow(0, place.first * blocks.shape[1], place.keys)
        apart = blocks.index_select(0, place.table_N)
        return apart.view(-1, self.shared, self.dim)[: place.keys]
