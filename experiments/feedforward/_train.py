"""Trains a model of one feed-forward kind with the package's own loop, and measures it.

`train` takes any batches; `read` is the run that two experiments share: a small decoder reads
Shakespeare's plays byte by byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from minimind_wiki.book.experiment import Measurement
from minimind_wiki.data import load_corpus
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.bigram import bigram_loss
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.device import choose
from minimind_wiki.train.feeds import Feed, corpus_feed
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.method import Method
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.report import Quiet
from minimind_wiki.train.state import State

from ._units import build, count


@dataclass(frozen=True, slots=True)
class Settings:
    """What is equal for all arms; the weights are drawn with a standard deviation of `spread`."""

    layers: int = 2
    heads: int = 4
    context: int = 64
    batch: int = 16
    steps: int = 220
    windows: int = 512
    spread: float = 0.1
    learning_rate: float = 1e-2  # swept


QUICK = Settings(steps=12, batch=4, context=32, windows=16)


def train(
    model: Transformer,
    config: TrainConfig,
    feed: Feed,
    assess: Callable[[], dict[str, float]],
) -> State:
    """The loop of `minimind pretrain` with `feed.at` for its batches; `assess` gives "loss"."""
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    place = choose("cpu", "float32")
    optimizer = make_optimizer(
        "adamw", model, config.weight_decay, (config.beta1, config.beta2), place.dtype
    )
    loss, state = LossModel(model), State()
    Loop(config, model, loss, optimizer, place.scaler(), ByteTokenizer(), feed, place, state,
         Quiet(), method=Method(loss, feed.at, assess)).run()  # fmt: skip
    return state


@torch.no_grad()
def mean_loss(model: Transformer, parts: tuple[Tokens, ...]) -> float:
    """Nats per predicted token over some held-out batches."""
    loss = LossModel(model.eval())
    total = sum(loss(p.ids_BT, p.labels_BT, p.documents_BT).item() for p in parts)
    model.train()
    return total / sum(part.predicted for part in parts)


@cache
def shakespeare(context: int, batch: int, windows: int, seed: int) -> Feed:
    """TinyShakespeare as bytes (the embedded text where it is not there); a tenth is held out."""
    config = TrainConfig(
        context_length=context, batch_size=batch, eval_windows=windows, seed=seed
    )  # fmt: skip
    return corpus_feed(load_corpus(), config, ByteTokenizer())


def read(arm: dict, seed: int, settings: Settings) -> Measurement:
    """One run. Every other held-out batch chooses the learning rate, those between are reported."""
    feed = shakespeare(settings.context, settings.batch, settings.windows, seed)
    select, report = feed.held_out[::2], feed.held_out[1::2]
    config = ModelConfig(
        vocab_size=ByteTokenizer.vocab_size, hidden_size=arm["hidden"],
        num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
        intermediate_size=arm["width"], rope_theta=1e4, max_position_embeddings=settings.context,
        initializer_range=settings.spread, qk_norm=True,
        pad_token_id=256, bos_token_id=257, eos_token_id=258,
    )  # fmt: skip
    model = build(arm["kind"], config, seed)
    how = TrainConfig(
        steps=settings.steps, batch_size=settings.batch, context_length=settings.context,
        learning_rate=settings.learning_rate, eval_every=settings.steps, seed=seed,
        sample_tokens=0, prefetch=0,
    )  # fmt: skip
    state = train(model, how, feed, lambda: {"loss": mean_loss(model, select)})
    values = {
        "held_out_loss": mean_loss(model, report),
        "selection_loss": state.held_out["loss"][-1],
        "parameters": count(model),
        "feedforward_parameters": count(model, ".mlp."),
    }
    return Measurement(values, {"training": (state.train["step"], state.train["loss"])})


def described(settings: Settings) -> dict:
    """The levels of such a run: a table of byte pairs, and which text it was."""
    feed = shakespeare(settings.context, settings.batch, settings.windows, 0)
    pairs = bigram_loss(feed.sample_ids, *feed.bigram_pairs(), ByteTokenizer.vocab_size)
    data = {name: feed.about[name] for name in ("name", "bytes", "sha256")}
    return {"baseline": {"held_out_loss": pairs}, "data": data}
