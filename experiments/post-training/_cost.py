"""Fine-tuning that watches its price: at each measurement of a run, also the loss on the texts that
the model had learned before, and how far its weights have moved.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean

import torch

from minimind_wiki.book.record import Record
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.compare import loss_on
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.lora_model import lora_layers
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.sft import SftSettings, chat_feed, method
from minimind_wiki.train.sources import Source

LEVELS = (2.0, 1.5, 1.25, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Held-out nats on the new rows at which the price is read, from little learned to much."""
REQUEST = {"role": "user", "content": "Tell a story."}


def in_chat(row: dict) -> dict:
    """A text of the world as the answer of a chat."""
    return {"conversations": [REQUEST, {"role": "assistant", "content": row["text"]}]}


def watched(config: TrainConfig, source: Source, texts: int) -> Outcome:
    """Fine-tune on a source's rows. `held_out` of the state holds, beside `loss`, nats a token on
    so many held-out texts: as `texts`, and as the answer in a chat as `texts_in_chat`; `moved` is
    the length of the change of all matrices, as a share of their own before."""
    settings = SftSettings(gold_items=0)
    feed = chat_feed(source, config, settings, load_tokenizer(config.init))
    rows = list(make_rows("pretrain", texts, 0, "validation"))
    tuning = Tuning("sft", settings, partial(_watching, source, rows))
    return pretrain(config, {}, feed=feed, tuning=tuning)


def _watching(source: Source, rows: list, work: Workshop, settings: SftSettings) -> Method:
    found = method(source, work, settings)
    before = {name: weight.detach().clone() for name, weight in _matrices(work.model).items()}

    def assess() -> dict[str, float]:
        chats = [in_chat(row) for row in rows]
        return found.assess() | {
            "texts": mean(loss_on(work.model, work.tokenizer, rows)),
            "texts_in_chat": mean(loss_on(work.model, work.tokenizer, chats)),
            "moved": distance(before, _matrices(work.model)),
        }

    return replace(found, assess=assess)


def _matrices(model: Transformer) -> dict[str, torch.Tensor]:
    """Every matrix as the model computes with it, adapters added in."""
    adapted = lora_layers(model)
    plain = {name: p for name, p in model.named_parameters()
             if p.dim() == 2 and "lora_" not in name and ".base." not in name}  # fmt: skip
    return plain | {f"{name}.weight": layer.weight for name, layer in adapted.items()}


@torch.no_grad()
def distance(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Length of the change of all matrices together, as a share of their length before."""
    change = sum(float((after[name] - old).float().square().sum()) for name, old in before.items())
    return (change / sum(float(old.float().square().sum()) for old in before.values())) ** 0.5


def at_level(loss: Sequence[float], cost: Sequence[float], level: float) -> float:
    """The cost at which the loss first falls to a level, on a straight line between measurements;
    nan where it never does.

    >>> at_level([3.0, 1.0, 0.5], [1.0, 2.0, 4.0], 0.75)
    3.0
    """
    for i in range(1, len(loss)):
        if loss[i] <= level < loss[i - 1]:
            share = (loss[i - 1] - level) / (loss[i - 1] - loss[i])
            return cost[i - 1] + share * (cost[i] - cost[i - 1])
    return float("nan")


def at_levels(held: Mapping[str, list]) -> dict[str, float]:
    """Nats on the texts at each of LEVELS, as values: texts_at_80 for a loss of 0.8."""
    return {key(level): at_level(held["loss"], held["texts"], level) for level in LEVELS}


def key(level: float) -> str:
    return f"texts_at_{level * 100:.0f}"


def equal_gain(record: Record, better: str, worse: str) -> tuple[bool | None, str]:
    """Whether every seed of one arm has less loss on the texts than every seed of another where
    both have learned equally much: at the lowest of LEVELS that all of them reach."""
    for level in sorted(LEVELS):
        low, high = record.seeds(better, key(level)), record.seeds(worse, key(level))
        if all(map(math.isfinite, [*low, *high])):
            told = f"at {level} nats: {mean(low):.2f} against {mean(high):.2f} on the texts"
            return max(low) < min(high), told
    return None, "there is no level that both reach"
