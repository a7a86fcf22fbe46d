"""A method: what makes of the one loop fine-tuning, alignment or reinforcement learning.

The loop keeps everything else: accumulation, clipping, checkpoints, resuming, several processes,
curves. A method says three things: which batch a step reads, what its loss is, what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import Place
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.parallel import Alone


@dataclass(frozen=True, slots=True)
class Method:
    """A method at work on a model.

    `loss(ids_BT, labels_BT, documents_BT, **more)` is a sum over the rows, which the loop divides
    by the batch's `divisor`. A step whose batch is None is passed over. `assess()` gives numbers by
    name; the lowest "loss" among them marks the best step. `told()` gives numbers of the last batch
    for the training curve.

    `head` is trained with the model and saved beside it. `cycle` steps share their samples: a run
    stops, measures and saves only between cycles. `finish(folder, tokenizer)` writes what a method
    leaves beside the model, when the model is that of the best step.
    """

    loss: nn.Module
    at: Callable[[int], Tokens | None]
    assess: Callable[[], dict[str, float]]
    told: Callable[[], dict[str, float]] | None = None
    head: nn.Module | None = None
    cycle: int = 1
    finish: Callable[[Path, Tokenizer], None] | None = None
    unit: str = " nats"
    """Of the held-out loss, for people; empty where it is a share."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a method is made from."""

    model: Transformer
    tokenizer: Tokenizer
    place: Place
    feed: Feed
    config: TrainConfig
    chunk: int  # tokens whose scores exist at a time; 0: all
    group: Alone = field(default_factory=Alone)


@dataclass(frozen=True, slots=True)
class Tuning:
    """A method by name (that of its verb), with its settings, a dataclass."""

    name: str
    settings: Any
    make: Callable[[Workshop, Any], Method]
