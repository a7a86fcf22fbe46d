"""Byte models of one short context, and what they make of more text than they were trained on.

Every length is judged on the same bytes: the last `scored` of each window. Only what stands before
them grows, so a length can help or hurt, and cannot be easier by itself. Shapes: B rows, T bytes.
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.data import Corpus
from minimind_wiki.data.corpus import load_corpus
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import corpus_feed
from minimind_wiki.train.pretrain import pretrain


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes in a training window and in the windows read; bytes judged; held-out windows."""

    lengths: tuple[int, ...] = (32, 64, 96, 128, 256, 512)
    context: int = 64
    longest: int = 512
    scored: int = 32
    windows: int = 128
    width: int = 64
    layers: int = 2
    heads: int = 4
    theta: float = 1e4
    batch: int = 16
    steps: int = 300
    optimizer: str = "muon"
    learning_rate: float = 1e-2  # swept


@cache
def parts() -> tuple[Corpus, Tensor, Tensor]:
    """Text to train on (its last tenth is measured while training, and read by nobody), and the
    bytes that pick the learning rate and those that are reported."""
    corpus = load_corpus()
    text = "\n".join(corpus.documents)
    one, two = int(0.90 * len(text)), int(0.95 * len(text))
    select, report = (torch.tensor(list(part.encode())) for part in (text[one:two], text[two:]))
    return Corpus(corpus.name, (text[:one],), corpus.why, corpus.source), select, report


def described() -> dict:
    """What a record keeps of the text."""
    corpus, select, report = parts()
    return {"name": corpus.name, "sha256": corpus.sha256, "select": len(select),
            "report": len(report)}  # fmt: skip


def pairs(settings: Reading) -> float:
    """Nats per reported byte of a table of byte pairs, smoothed as suits it best."""
    corpus, _, report = parts()
    ids = torch.tensor(list(corpus.documents[0].encode()))
    counts = torch.bincount(ids[:-1] * 256 + ids[1:], minlength=1 << 16).view(256, 256).double()
    rows_BT = windows(report, settings.longest, settings.windows)[:, -settings.scored - 1 :]
    tables = [(counts + a) / (counts + a).sum(1, keepdim=True) for a in (0.01, 0.1, 1.0)]
    return min(-t[rows_BT[:, :-1], rows_BT[:, 1:]].log().mean().item() for t in tables)


def windows(ids: Tensor, longest: int, count: int) -> Tensor:
    """Windows of `longest` bytes and the byte after each, (B=count, longest + 1), spread evenly."""
    starts = torch.linspace(0, len(ids) - longest - 1, count).long()
    return ids[starts[:, None] + torch.arange(longest + 1)]


def losses(model: Transformer, settings: Reading) -> list[float]:
    """Loss on the reported bytes at every length."""
    rows_BT = windows(parts()[2], settings.longest, settings.windows)
    return [loss_at(model, rows_BT, length, settings.scored) for length in settings.lengths]


def selection(model: Transformer, length: int, settings: Reading) -> float:
    """Loss on the bytes that pick a rate, at one length."""
    rows_BT = windows(parts()[1], settings.longest, settings.windows)
    return loss_at(model, rows_BT, length, settings.scored)


@torch.no_grad()
def loss_at(model: Transformer, rows_BT: Tensor, length: int, scored: int) -> float:
    """Mean nats per byte of the last `scored` bytes, read with the `length` bytes up to them."""
    total = 0.0
    for part_BT in rows_BT[:, -length - 1 :].split(max(1, 16384 // length)):
        logits_BTV = model(part_BT[:, :-1])[:, -scored:]
        targets = part_BT[:, -scored:].flatten()
        total += F.cross_entropy(logits_BTV.flatten(0, 1), targets, reduction="sum").item()
    return total / (len(rows_BT) * scored)


def shape(settings: Reading) -> dict:
    """The model of every arm, but for its positions."""
    return {
        "hidden_size": settings.width, "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads, "num_key_value_heads": settings.heads,
        "intermediate_size": 3 * settings.width, "rope_theta": settings.theta,
        "max_position_embeddings": settings.longest,
    }  # fmt: skip


def trained(fields: dict, seed: int, settings, **more) -> Transformer:
    """A model with these fields after `steps` steps on windows of `context` bytes; `more` changes
    how it is trained."""
    corpus, _, _ = parts()
    config = TrainConfig(
        preset="nano", data="text", steps=settings.steps, batch_size=settings.batch,
        context_length=settings.context, learning_rate=settings.learning_rate, seed=seed,
        eval_every=settings.steps, eval_windows=8, sample_tokens=0, device="cpu", dtype="float32",
        threads=1, prefetch=0, optimizer=settings.optimizer,
    )  # fmt: skip
    config = dataclasses.replace(config, **more)
    feed = corpus_feed(corpus, config, ByteTokenizer())
    return pretrain(config, fields, tokenizer=ByteTokenizer(), feed=feed).model


def tuned(model: Transformer, seed: int, settings, **more) -> Transformer:
    """The model trained further, in the way that `more` says."""
    with tempfile.TemporaryDirectory() as folder:
        save_model_folder(folder, model, ByteTokenizer())
        return trained({}, seed, settings, init=folder, **more)


def changed(model: Transformer, **fields) -> Transformer:
    """The same weights in a model with other positions or another mask."""
    other = Transformer(dataclasses.replace(model.config, **fields), seed=None)
    other.load_state_dict(model.state_dict())
    return other.eval()
