"""Deep stacks of one Linear a layer, with the input carried around each layer or not.

The stack guesses a character from the few before it: their embeddings side by side are its input.
A layer is `W relu(norm(x))`, and with a residual connection `x + W relu(norm(x))`: the same
parameters, one addition more. Shapes: B batch, C characters read, D width, V alphabet.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.book.text import real_text
from minimind_wiki.model.norm import RMSNorm

from ..attention._train import trained
from ..normalization._decoder import characters
from ..normalization._stack import similarity


@dataclass(frozen=True, slots=True)
class Settings:
    """reads: characters before the guess; letter: numbers for each; the width is their product."""

    reads: int = 8
    letter: int = 12
    batch: int = 96
    steps: int = 250
    warmup: int = 20
    eval_rows: int = 4096
    learning_rate: float = 1e-3  # swept


def described() -> dict:
    """Chance knows the alphabet, the baseline a table of character pairs of the held-out text."""
    data = characters()
    chance, pairs = (dict.fromkeys(("training_loss", "held_out_loss"), value)
                     for value in (data.chance, data.bigram))  # fmt: skip
    return {"chance": chance, "baseline": pairs, "data": real_text().described()}


def draw(linear: nn.Linear, how: str) -> None:
    """Write the weights: "default" leaves PyTorch's, the other ways also set the bias to zero."""
    if how == "default":
        return
    nn.init.zeros_(linear.bias)
    if how == "he":
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    elif how == "orthogonal":
        nn.init.orthogonal_(linear.weight, gain=math.sqrt(2))
    elif how == "zero":
        nn.init.zeros_(linear.weight)


class Stack(nn.Module):
    """`depth` layers; arm: residual, norm (True or False), init as in `draw`."""

    def __init__(self, vocab_size: int, arm: dict, depth: int, settings: Settings) -> None:
        super().__init__()
        width = settings.reads * settings.letter
        self.residual = arm["residual"]
        self.letters = nn.Embedding(vocab_size, settings.letter)
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        for linear in self.linears:
            draw(linear, arm["init"])
        norm = RMSNorm if arm["norm"] else lambda _: nn.Identity()
        self.norms = nn.ModuleList(norm(width) for _ in range(depth + 1))
        self.head = nn.Linear(width, vocab_size)

    def streams(self, ids_BC: Tensor) -> list[Tensor]:
        """The input and what every layer hands on, each (B, D)."""
        outputs = [self.letters(ids_BC).flatten(1)]
        for linear, norm in zip(self.linears, self.norms, strict=False):
            x = outputs[-1]
            branch = linear(torch.relu(norm(x)))
            outputs.append(x + branch if self.residual else branch)
        return outputs

    def forward(self, ids_BC: Tensor) -> Tensor:
        return self.head(self.norms[-1](self.streams(ids_BC)[-1]))


def rows(ids: Tensor, starts: Tensor, reads: int) -> tuple[Tensor, Tensor]:
    """What is read at each start and the character that follows: (B, C) and (B,)."""
    windows = ids[starts[:, None] + torch.arange(reads + 1)]
    return windows[:, :-1], windows[:, -1]


def batch_of(step: int, seed: int, settings: Settings) -> tuple[Tensor, Tensor]:
    """The training batch of a step: the same for every arm of a seed."""
    ids = characters().train
    order = torch.Generator().manual_seed(1000 * (seed + 1) + step)
    starts = torch.randint(len(ids) - settings.reads - 1, (settings.batch,), generator=order)
    return rows(ids, starts, settings.reads)


@torch.no_grad()
def judged(model: nn.Module, ids: Tensor, settings: Settings) -> float:
    """Mean loss at `eval_rows` places spread evenly: the same ones for every arm and seed."""
    starts = torch.linspace(0, len(ids) - settings.reads - 2, settings.eval_rows).long()
    inputs, targets = rows(ids, starts, settings.reads)
    return F.cross_entropy(model(inputs), targets).item()


def fitted(model: nn.Module, seed: int, settings: Settings) -> tuple[dict, tuple, int | None]:
    """Train the model: its losses (nan where it diverged, but for the first), the training curve,
    and where it diverged. A bare stack starts with a huge loss: it diverges if that grows tenfold.
    """
    data = characters()

    def loss_at(step: int) -> Tensor:
        inputs, targets = batch_of(step, seed, settings)
        return F.cross_entropy(model(inputs), targets)

    with torch.no_grad():
        first = loss_at(0).item()
    curve, diverged_at = trained(model, loss_at, settings, max(data.chance, first))
    parts = {"training": data.train, "selection": data.select, "held_out": data.held_out}
    losses = {
        f"{name}_loss": judged(model, part, settings) if diverged_at is None else math.nan
        for name, part in parts.items()
    }
    return {"first_loss": first, **losses}, curve, diverged_at


def as_drawn(model: Stack, inputs: Tensor, targets: Tensor) -> dict[str, list[float]]:
    """Before training, from the input on and after each layer: root mean square of the stream, the
    norm of the loss's gradient in it, and the mean cosine between two inputs' vectors. In float64,
    in which none of them under- or overflows."""
    wide = model.double()
    streams = wide.streams(inputs)
    loss = F.cross_entropy(wide.head(wide.norms[-1](streams[-1])), targets)
    grads = torch.autograd.grad(loss, streams)
    model.float()
    return {
        "stream": [x.detach().pow(2).mean().sqrt().item() for x in streams],
        "gradient": [g.norm().item() for g in grads],
        "alike": [similarity(x) for x in streams],
    }
