"""One token of one request through a lean decoder: as few calls as its products allow.

This is the step of somebody who waits for one answer. With so little to compute, what a call costs
before it computes anything counts: here a norm is two calls, keys are written where they belong
and read where they lie. The products are those of `lean`, and so are the numbers, but for the order
of sums.

Shapes: D hidden, H query heads, K key-value heads, G query heads of a key head, E head_dim, S keys,
N blocks of the text, L layers, B blocks of the cache, Z tokens of a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.infer.lay import StepCache
from minimind_wiki.model.norm import RMSNorm
from minimind_wiki.model.pages import Step

ZERO = torch.zeros(1)


class Place(NamedTuple):
    """Where the token goes, and what it sees: for all layers at once, as views of the cache."""

    new_L2KE: Sequence[Tensor]
    """Where each layer's key and value are written."""
    seen: Sequence[Tensor]
    """Keys and values of the text, layer by layer, (1, K, S, E); empty where its blocks lie
    apart."""
    blocks_L2BZKE: Tensor
    table_N: Tensor | None
    """The text's blocks, where they lie apart."""
    keys: int
    cos_1E: Tensor | None
    sin_1E: Tensor | None
    """Of both halves of a head, the first half's sine with a minus."""


def sees_all(step: Step | None, windows: Sequence[int], biased: bool) -> bool:
    """Whether the pass is this one token, which sees all before it in every layer."""
    if step is None or biased:
        return False
    return all(not window or window > step.start for window in windows)


def place_of(cache: StepCache, step: Step, turn: tuple[Tensor, Tensor] | None) -> Place:
    """Read a pass that `sees_all`; `turn` has the cosines and sines of its token, (1, E)."""
    size, keys, rows = cache.size, step.start + 1, cache.rows
    blocks = list(step.blocks[: -(-keys // size)])
    slot = blocks[-1] * size + step.start % size
    new = rows.select(1, slot).unflatten(0, (-1, 2)).unbind()
    cos_1E, sin_1E = turn or (None, None)
    if blocks == list(range(blocks[0], blocks[0] + len(blocks))):
        seen = rows.narrow(1, blocks[0] * size, keys).transpose(1, 2).unsqueeze(1).unbind()
        return Place(new, seen, cache.all_L2BZKE, None, keys, cos_1E, sin_1E)
    return Place(new, (), cache.all_L2BZKE, torch.tensor(blocks), keys, cos_1E, sin_1E)


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

    def __init__(
        self, layer: int, heads: int, shared: int, dim: int, norms: tuple[RMSNorm, RMSNorm] | None
    ) -> None:
        self.layer, self.heads, self.shared, self.dim = layer, heads, shared, dim
        self.norms, self.half = norms, dim // 2

    def __call__(self, qkv_1O: Tensor, place: Place) -> Tensor:
        """(1, H · E), from queries, keys and values side by side, which are changed in place."""
        heads, shared, half = self.heads, self.shared, self.half
        qkv_OE = qkv_1O.view(-1, self.dim)
        qk_OE = qkv_OE[: heads + shared]
        if self.norms is not None:
            for x_OE, norm in zip((qk_OE[:heads], qk_OE[heads:]), self.norms, strict=True):
                x_OE.copy_(F.rms_norm(x_OE, (self.dim,), norm.weight, norm.eps))
        if place.cos_1E is not None and place.sin_1E is not None:
            swapped_OE = torch.cat((qk_OE[:, half:], qk_OE[:, :half]), dim=1)
            qk_OE.mul_(place.cos_1E).addcmul_(swapped_OE, place.sin_1E)
        place.new_L2KE[self.layer].copy_(qkv_OE[heads:].view(2, shared, self.dim))
        k_1KSE, v_1KSE = self.seen(place)
        q_1KGE = qk_OE[:heads].view(1, shared, heads // shared, self.dim)
        return F.scaled_dot_product_attention(q_1KGE, k_1KSE, v_1KSE).view(1, -1)

    def seen(self, place: Place) -> Sequence[Tensor]:
        """All keys and all values of the text, a copy only where its blocks lie apart."""
        if place.table_N is None:
            return place.seen[2 * self.layer : 2 * self.layer + 2]
        apart = place.blocks_L2BZKE[self.layer].index_select(1, place.table_N).flatten(1, 2)
        return apart[:, : place.keys].transpose(1, 2).unsqueeze(1).unbind()
