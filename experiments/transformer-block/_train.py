"""One loop for the decoders of this module: Adam, a warm-up, a cosine to a tenth, no clipping.

The text is TinyShakespeare, or the embedded corpus where it is not there; read as characters or in
the tokens of a BPE that is learned from the training part. Losses are in nats a character.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.book.experiment import Measurement
from minimind_wiki.book.text import real_text
from minimind_wiki.model import ModelConfig
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer, train_library

from ._parts import Assembled, count


@dataclass(frozen=True, slots=True)
class Settings:
    """What is equal for all arms; the weights are drawn with a standard deviation of `spread`."""

    hidden: int = 48
    heads: int = 4
    width: int = 128
    layers: int = 4
    context: int = 64
    batch: int = 12
    steps: int = 300
    warmup: int = 20
    windows: int = 256
    spread: float = 0.1
    learning_rate: float = 1e-2  # swept


QUICK = Settings(context=32, batch=4, steps=12, warmup=2, windows=16)


@dataclass(frozen=True, slots=True)
class Text:
    """Ids of three parts of one text, and how many characters each id of the vocabulary stands for.

    `train` is nine tenths; `select` chooses the learning rate, `held_out` is reported.
    """

    train: Tensor
    select: Tensor
    held_out: Tensor
    characters_V: Tensor


@cache
def text(vocabulary: int = 0) -> Text:
    """The text in characters (0), or in tokens of a BPE of about so many."""
    whole = real_text().text
    one, two = int(0.90 * len(whole)), int(0.95 * len(whole))
    parts = whole[:one], whole[one:two], whole[two:]
    if not vocabulary:
        alphabet = {c: i for i, c in enumerate(sorted(set(whole)))}
        ids = [torch.tensor([alphabet[c] for c in part]) for part in parts]
        return Text(*ids, torch.ones(len(alphabet)))
    bpe = LibraryTokenizer(train_library(parts[:1], vocabulary, CHATML).to_str())
    lengths = [float(bpe.byte_length(n)) for n in range(bpe.vocab_size)]  # the text is ASCII
    return Text(*(torch.tensor(bpe.encode(part)) for part in parts), torch.tensor(lengths))


def windows(ids: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T) from each start."""
    rows = ids[starts[:, None] + torch.arange(context + 1)]
    return rows[:, :-1], rows[:, 1:]


@torch.no_grad()
def evaluate(model: Assembled, ids: Tensor, characters_V: Tensor, settings: Settings) -> float:
    """Nats a character over windows spread evenly: the same ones for every arm and seed."""
    model.eval()
    starts = torch.linspace(0, len(ids) - settings.context - 2, settings.windows).long()
    nats, characters = 0.0, 0.0
    for some in starts.split(32):
        inputs, targets = windows(ids, some, settings.context)
        nats += F.cross_entropy(
            model(inputs).flatten(0, 1), targets.flatten(), reduction="sum"
        ).item()
        characters += characters_V[targets].sum().item()
    model.train()
    return nats / characters


def rate(step: int, settings: Settings) -> float:
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def fit(model: Assembled, ids: Tensor, seed: int, settings: Settings) -> tuple[list, int | None]:
    """Losses of all steps, in nats a token, and the step where they diverged, if they did. The
    batches of a seed are the same for every arm."""
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.95), foreach=True)
    losses: list[float] = []
    for step in range(settings.steps):
        order = torch.Generator().manual_seed(1000 * (seed + 1) + step)
        starts = torch.randint(len(ids) - settings.context - 1, (settings.batch,), generator=order)
        inputs, targets = windows(ids, starts, settings.context)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        losses.append(loss.item())
        if not losses[-1] < 100:  # also true for nan
            return losses[:-1], step
        adam.zero_grad()
        loss.backward()
        for group in adam.param_groups:
            group["lr"] = rate(step, settings)
        adam.step()
    return losses, None


def measured(arm: dict, seed: int, settings: Settings) -> Measurement:
    """One run. The arm may hold spelling, drop, bias, dropout, tied, vocabulary, often, hidden and
    width; what it does not hold is "af" in each layer, nothing dropped, tied, in characters."""
    data, n = text(arm.get("vocabulary", 0)), settings.layers
    config = ModelConfig(
        vocab_size=len(data.characters_V), hidden_size=arm.get("hidden") or settings.hidden,
        num_hidden_layers=n, num_attention_heads=settings.heads, rope_theta=1e4,
        intermediate_size=arm.get("width") or settings.width,
        max_position_embeddings=settings.context, tie_word_embeddings=arm.get("tied", True),
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Assembled(arm.get("spelling") or "af" * n, config, tuple(arm.get("drop", ())),
                      arm.get("bias", False), arm.get("dropout", 0.0), settings.spread)  # fmt: skip
    ids = data.train[: arm.get("often") or len(data.train)]
    losses, diverged_at = fit(model, ids, seed, settings)
    values = {"parameters": float(count(model))}
    for name, part in (("training", ids), ("selection", data.select), ("held_out", data.held_out)):
        bad = diverged_at is not None
        values[f"{name}_loss"] = (
            math.nan if bad else evaluate(model, part, data.characters_V, settings)
        )
    window = max(1, settings.steps // 20)
    ends = range(window, len(losses) + 1, window)
    curve = [math.fsum(losses[e - window : e]) / window for e in ends]
    return Measurement(values, {"training": (list(ends), curve)}, diverged_at)


def described(vocabulary: int = 0) -> dict:
    """The levels: guessing, and a table of pairs, in nats a character; and which text it was."""
    data = text(vocabulary)
    V = len(data.characters_V)
    pairs = torch.zeros(V, V)
    pairs.index_put_((data.train[:-1], data.train[1:]), torch.tensor(1.0), accumulate=True)
    table = (pairs + 0.1) / (pairs + 0.1).sum(1, keepdim=True)
    characters = data.characters_V[data.held_out[1:]].sum()
    nats = -table[data.held_out[:-1], data.held_out[1:]].log().sum()
    guess = math.log(V) * (len(data.held_out) - 1) / characters
    return {
        "chance": {"held_out_loss": float(guess)},
        "baseline": {"held_out_loss": float(nats / characters)},
        "data": real_text().described(),
    }
