"""A method: what makes of the one loop fine-tuning, alignment or reinforcement learning.

The loop keeps everything else: accumulation, clipping, checkpoints, resuming, several processes,
curves. A method says three things: which batch a step reads, what its loss is, what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place
from minimind_wiki.train.feeds import Feed


@dataclass(frozen=True, slots=True)
class Method:
    """A method at work on a model.

    `loss(ids_BT, labels_BT, documents_BT, **more)` is a sum over the rows, which the loop divides
    by the batch's `divisor`. `assess()` gives numbers by name; the lowest "loss" among them marks
    the best step. `told()` gives numbers of the last batch for the training curve.
    """

    loss: nn.Module
    at: Callable[[int], Tokens]
    assess: Callable[[], dict[str, float]]
    told: Callable[[], dict[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a method is made from."""

    model: Transformer
    tokenizer: Tokenizer
    place: Place
    feed: Feed
    config: TrainConfig
    chunk: int  # tokens whose scores exist at a time; 0: all


@dataclass(frozen=True, slots=True)
class Tuning:
    """A method by name (that of its verb), with its settings, a dataclass."""

    name: str
    settings: Any
    make: Callable[[Workshop, Any], Method]
