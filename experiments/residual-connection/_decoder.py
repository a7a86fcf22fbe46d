"""The character decoder of the module on normalization, with its residual connections to choose.

Each block has two branches, attention and the feed-forward. A branch is either added to the stream
or takes its place. The scale is that of the start: it multiplies, once, the weights of the matrix
that writes the branch's result. Shapes: B batch, T time, D width.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.book.text import real_text

from ..attention._train import trained, windows
from ..normalization._decoder import Block, Decoder, batch, characters, evaluate

WRITERS = ("out", "down")  # the Linear that ends each branch


@dataclass(frozen=True, slots=True)
class Settings:
    """One size for all arms; steps and batch decide how many characters a run sees."""

    width: int = 32
    heads: int = 4
    context: int = 32
    batch: int = 12
    steps: int = 400
    warmup: int = 20
    eval_windows: int = 256
    learning_rate: float = 3e-3  # swept


def described() -> dict:
    """Chance knows the alphabet, the baseline a table of character pairs."""
    data = characters()
    return {"chance": {"held_out_loss": data.chance}, "baseline": {"held_out_loss": data.bigram},
            "data": real_text().described()}  # fmt: skip


class Open(Block):
    """A block whose branches are added or take the stream's place, each as `keeps` says."""

    def __init__(self, width: int, heads: int, norm: str, keeps: str) -> None:
        super().__init__(width, heads, "before", norm)
        self.keeps = keeps

    def forward(self, x: Tensor) -> Tensor:
        branch = self.attention(self.norm1(x))
        x = x + branch if self.keeps in ("both", "attention") else branch
        branch = self.feed_forward(self.norm2(x))
        return x + branch if self.keeps in ("both", "feed_forward") else branch


class Stream(Decoder):
    """Arm: keeps ("both", "attention", "feed_forward", "none": which branches are added), norm,
    init ("default", "unit", "orthogonal"), scale ("one", "root": 1 / sqrt(2 L), "zero"), depth."""

    def __init__(self, vocab_size: int, arm: dict, settings) -> None:
        super().__init__(vocab_size, {"placement": "before", "norm": arm["norm"]}, 0, settings)
        depth, width = arm["depth"], settings.width
        blocks = (Open(width, settings.heads, arm["norm"], arm["keeps"]) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        scale = {"one": 1.0, "root": 1 / math.sqrt(2 * depth), "zero": 0.0}[arm["scale"]]
        for block in self.blocks:
            for name, linear in block.named_children():
                if isinstance(linear, nn.Linear):
                    write(linear, arm["init"], name, scale)


@torch.no_grad()
def write(linear: nn.Linear, init: str, name: str, scale: float) -> None:
    """Draw one Linear. A draw keeps a vector's mean square: weights of variance 1 / inputs, twice
    that behind the ReLU ("unit"), or an orthogonal matrix with the same gain ("orthogonal")."""
    gain = math.sqrt(2) if name == "down" else 1.0
    if init == "orthogonal":
        nn.init.orthogonal_(linear.weight, gain * math.sqrt(max(1, out_over_in(linear))))
    elif init == "unit":
        nn.init.normal_(linear.weight, std=gain / math.sqrt(linear.in_features))
    if init != "default":
        nn.init.zeros_(linear.bias)
    if name in WRITERS:
        linear.weight.mul_(scale)
        linear.bias.mul_(scale)


def out_over_in(linear: nn.Linear) -> float:
    """A tall orthogonal matrix keeps lengths; to keep the mean square it needs the root of this."""
    return linear.out_features / linear.in_features


def fitted(model: Stream, seed: int, settings: Settings) -> tuple[dict, tuple, int | None]:
    """Train the model: its losses (nan where it diverged, but for the first), the training curve,
    and where it diverged. A stream that starts huge diverges if its first loss grows tenfold."""
    data = characters()

    def loss_at(step: int) -> Tensor:
        inputs, targets = windows(step, seed, settings)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    with torch.no_grad():
        first = loss_at(0).item()
    curve, diverged_at = trained(model, loss_at, settings, max(data.chance, first))
    parts = {"training": data.train, "selection": data.select, "held_out": data.held_out}
    losses = {
        f"{name}_loss": evaluate(model, part, settings) if diverged_at is None else math.nan
        for name, part in parts.items()
    }
    return {"first_loss": first, **losses}, curve, diverged_at


def as_drawn(model: Stream, settings: Settings) -> dict[str, list[float]]:
    """Before training, from the embedding on and after every block: root mean square of the stream,
    the norm of the loss's gradient in it, and the mean cosine between two places of one text."""
    ids = characters().train
    starts = torch.linspace(0, len(ids) - settings.context - 2, settings.batch).long()
    inputs, targets = batch(ids, starts, settings.context)
    streams = [model.token(inputs) + model.place.weight[: inputs.shape[1]]]
    for block in model.blocks:
        streams.append(block(streams[-1]))
    loss = F.cross_entropy(model.head(model.last(streams[-1])).flatten(0, 1), targets.flatten())
    grads = torch.autograd.grad(loss, streams)
    return {
        "stream": [x.detach().pow(2).mean().sqrt().item() for x in streams],
        "gradient": [g.norm().item() for g in grads],
        "alike": [alike(x.detach()) for x in streams],
    }


def alike(x_BTD: Tensor) -> float:
    """Mean cosine between the vectors of two different places of one text."""
    unit = nn.functional.normalize(x_BTD, dim=-1)
    count = x_BTD.shape[1]
    pairs = (unit.sum(1).pow(2).sum(-1) - count) / (count * (count - 1))
    return pairs.mean().item()
