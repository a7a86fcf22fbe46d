"""A character decoder whose attention scales its scores in one of three ways, and what its softmax
looks like.

Shapes: B batch, T time, D width, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.norm import RMSNorm

SCALES = {"none": lambda d: 1.0, "root": lambda d: 1 / math.sqrt(d), "full": lambda d: 1 / d}
"""What the scores of heads of width d are multiplied by."""


def through_softmax(scale: str, seed: int, settings) -> tuple[list[float], ...]:
    """For each width of a head: the spread of the scores, the mean of the largest weight, the share
    of queries whose largest weight is above 0.99, and the gradient, as the root mean square over
    all queries and as the median of theirs.

    The gradient is that of a random direction of the weights with respect to the scores.
    """
    draw = torch.Generator().manual_seed(seed)
    out: tuple[list[float], ...] = ([], [], [], [], [])
    for size in settings.sizes:
        q = torch.randn(settings.rows, 1, size, generator=draw)
        k = torch.randn(settings.rows, settings.keys, size, generator=draw)
        scores = ((q @ k.transpose(1, 2))[:, 0] * SCALES[scale](size)).requires_grad_()
        weights = scores.softmax(-1)
        toward = torch.randn(weights.shape, generator=draw)
        (gradient,) = torch.autograd.grad((weights * toward).sum(), scores)
        largest, squares = weights.max(-1).values, gradient.pow(2).mean(-1)
        out[0].append(scores.var(-1).mean().sqrt().item())
        out[1].append(largest.mean().item())
        out[2].append((largest > 0.99).float().mean().item())
        out[3].append(squares.mean().sqrt().item())
        out[4].append(squares.median().sqrt().item())
    return out


class Block(nn.Module):
    """Pre-norm attention with the given factor on its scores, then a ReLU feed-forward."""

    def __init__(self, width: int, heads: int, scale: str) -> None:
        super().__init__()
        self.heads, self.factor = heads, SCALES[scale](width // heads)
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.norm1, self.norm2 = RMSNorm(width, 1e-5), RMSNorm(width, 1e-5)

    def heads_of(self, x_BTD: Tensor, project: nn.Linear) -> Tensor:
        """(B, H, T, D / H)."""
        return project(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attention(self, x_BTD: Tensor) -> Tensor:
        q, k, v = (self.heads_of(x_BTD, p) for p in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.factor)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.norm1(x_BTD))
        return x_BTD + self.down(torch.relu(self.up(self.norm2(x_BTD))))


class Scaled(nn.Module):
    """Characters (B, T) to logits (B, T, V).

    draw "unit": weights of queries and keys with variance 1 / width, so that of normalized vectors
    they make numbers of variance 1. "small": standard deviation 0.02, as GPT-2 and our package. All
    other weights are drawn alike.
    """

    def __init__(self, vocab_size: int, scale: str, draw: str, settings, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        width = settings.width
        self.token = nn.Embedding(vocab_size, width)
        self.place = nn.Embedding(settings.context, width)
        self.blocks = nn.Sequential(
            *(Block(width, settings.heads, scale) for _ in range(settings.layers))
        )
        self.last, self.head = RMSNorm(width, 1e-5), nn.Linear(width, vocab_size)
        std = 1 / math.sqrt(width) if draw == "unit" else 0.02
        for block in self.blocks:
            for project in (block.query, block.key):
                nn.init.normal_(project.weight, std=std)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x = self.token(ids_BT) + self.place.weight[: ids_BT.shape[1]]
        return self.head(self.last(self.blocks(x)))


@torch.no_grad()
def entropies(model: Scaled, ids_BT: Tensor) -> tuple[float, float]:
    """Of the second half of the queries of the first layer: mean largest weight, and the spread of
    the scaled scores that each query gives to the keys that it sees."""
    block = model.blocks[0]
    x = block.norm1(model.token(ids_BT) + model.place.weight[: ids_BT.shape[1]])
    q, k = block.heads_of(x, block.query), block.heads_of(x, block.key)
    scores = q @ k.transpose(-1, -2) * block.factor
    time = ids_BT.shape[1]
    seen = torch.ones(time, time, dtype=torch.bool).tril()
    largest = scores.masked_fill(~seen, -math.inf).softmax(-1).max(-1).values
    rows = range(time // 2, time)
    spread = [scores[..., row, : row + 1].std(-1).mean().item() for row in rows]
    return largest[..., time // 2 :].mean().item(), math.fsum(spread) / len(spread)
