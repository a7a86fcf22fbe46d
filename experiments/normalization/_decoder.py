"""A small causal character decoder whose norm can stand before, after, or nowhere.

Everything but the norm is the same in every arm: learned positions, causal attention, a ReLU
feed-forward of four times the width, PyTorch's default initialisation, Adam with the same warm-up
and decay, no gradient clipping (it would hide what is measured). Shapes: B batch, T time, D width.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.book.text import real_text
from minimind_wiki.model.norm import LayerNorm, RMSNorm

NORMS = {"none": lambda width: nn.Identity(), "layernorm": LayerNorm, "rmsnorm": RMSNorm}


@dataclass(frozen=True, slots=True)
class Characters:
    """Ids of disjoint parts of one text: `train`, `select` (picks the rate), `held_out`."""

    train: Tensor
    select: Tensor
    held_out: Tensor
    vocab_size: int

    @property
    def chance(self) -> float:
        """Nats a character of a model that knows nothing."""
        return math.log(self.vocab_size)

    @property
    def bigram(self) -> float:
        """Held-out nats a character of the best smoothed table of character pairs."""
        pairs = np.zeros((self.vocab_size, self.vocab_size))
        np.add.at(pairs, (self.train[:-1].numpy(), self.train[1:].numpy()), 1)
        losses = []
        for pseudo in (0.01, 0.1, 1.0):
            table = (pairs + pseudo) / (pairs + pseudo).sum(1, keepdims=True)
            losses.append(
                -np.log(table[self.held_out[:-1].numpy(), self.held_out[1:].numpy()]).mean()
            )
        return float(min(losses))


@cache
def characters() -> Characters:
    """The first 90 % trains, the next 5 % selects, the last 5 % is held out."""
    text = real_text().text
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([alphabet[c] for c in text])
    one, two = int(0.90 * len(ids)), int(0.95 * len(ids))
    return Characters(ids[:one], ids[one:two], ids[two:], len(alphabet))


class Block(nn.Module):
    """x + part(norm(x)) before, norm(x + part(x)) after, or x + part(x) without a norm."""

    def __init__(self, width: int, heads: int, placement: str, norm: str) -> None:
        super().__init__()
        self.heads, self.after = heads, placement == "after"
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = NORMS[norm](width), NORMS[norm](width)

    def attention(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, D / heads)
        return self.out(mixed.transpose(1, 2).reshape(B, T, D))

    def feed_forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x_BTD)))

    def forward(self, x: Tensor) -> Tensor:
        if self.after:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.feed_forward(x))
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Decoder(nn.Module):
    """Characters (B, T) to logits (B, T, V). Pre-norm has a last norm before the head, as usual."""

    def __init__(self, vocab_size: int, arm: dict, depth: int, settings) -> None:
        super().__init__()
        width = settings.width
        self.token, self.place = (
            nn.Embedding(vocab_size, width),
            nn.Embedding(settings.context, width),
        )
        blocks = (Block(width, settings.heads, arm["placement"], arm["norm"]) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.last = NORMS[arm["norm"] if arm["placement"] == "before" else "none"](width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x = self.token(ids_BT) + self.place.weight[: ids_BT.shape[1]]
        return self.head(self.last(self.blocks(x)))


def batch(ids: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Windows of `context` characters from each start, and the same one later: (B, T) twice."""
    windows = ids[starts[:, None] + torch.arange(context + 1)]
    return windows[:, :-1], windows[:, 1:]


def loss_of(model: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(model: nn.Module, ids: Tensor, settings) -> float:
    """Mean loss over `eval_windows` windows spread evenly: the same ones for every arm and seed."""
    starts = torch.linspace(0, len(ids) - settings.context - 2, settings.eval_windows).long()
    return loss_of(model, *batch(ids, starts, settings.context)).item()


def rate(step: int, settings) -> float:
    """Learning rate: linear warm-up, then a cosine to a tenth."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def train(arm: dict, depth: int, seed: int, settings):
    """Yields (step, training loss, model) at every step; the loss may be nan. The same batches in
    the same order for every arm with the same seed."""
    data = characters()
    torch.manual_seed(seed)
    model = Decoder(data.vocab_size, arm, depth, settings)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.95), foreach=True)
    order = torch.Generator().manual_seed(1000 + seed)
    for step in range(settings.steps):
        high = len(data.train) - settings.context - 1
        starts = torch.randint(high, (settings.batch,), generator=order)
        loss = loss_of(model, *batch(data.train, starts, settings.context))
        yield step, loss.item(), model
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = rate(step, settings)
        adam.step()
    yield settings.steps, math.nan, model


@torch.no_grad()
def residual_growth(model: Decoder, ids: Tensor, settings) -> float:
    """How many times larger the residual stream leaves the last block than it enters the first."""
    starts = torch.linspace(0, len(ids) - settings.context - 2, 16).long()
    inputs, _ = batch(ids, starts, settings.context)
    x = model.token(inputs) + model.place.weight[: inputs.shape[1]]
    return (model.blocks(x).pow(2).mean().sqrt() / x.pow(2).mean().sqrt()).item()
