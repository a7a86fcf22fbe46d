"""One text, cut into the same passages for every vocabulary, and small models that read them.

A passage is whole pieces of the pre-tokenizer, some 256 bytes of them, so no vocabulary's tokens
cross its ends and every model is shown, and asked for, the same bytes in the same order. Losses are
summed over a passage's tokens and divided by its bytes. Shapes: B passages, T tokens, V entries.
"""

import gzip
import hashlib
import json
import math
import random
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.data.registry import data_folders
from minimind_wiki.data.world import make_document
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer, chunks, train_library
from minimind_wiki.tokenizer.pretokenize import split

IGNORED, BOS = -100, 1


@cache
def documents(part: str) -> tuple[str, ...]:
    """Children's stories ("train" or "val", no work in both), or the little world's where they are
    not here."""
    for folder in data_folders():
        file = folder / "lm" / f"en_stories.{part}.jsonl.gz"
        if file.exists():
            with gzip.open(file, "rt", encoding="utf-8") as lines:
                return tuple(json.loads(line)["text"] for line in lines)
    count, world = (400, "train") if part == "train" else (60, "validation")
    return tuple(make_document(f"passages.{n}", world).text for n in range(count))


def described() -> dict[str, str]:
    here = any((f / "lm" / "en_stories.train.jsonl.gz").exists() for f in data_folders())
    text = "\0".join(documents("train") + documents("val"))
    return {"name": "en_stories" if here else "the little world, generated",
            "sha256": hashlib.sha256(text.encode()).hexdigest()}  # fmt: skip


@cache
def passages(part: str, size: int, limit: int = 0) -> list[str]:
    """Every document cut where a piece ends, each part `size` bytes or a little more; the shorter
    ends are left out. Shuffled by a seed of their own; the first `limit` where that is given."""
    found: list[str] = []
    for document in documents(part):
        kept, length = [], 0
        for piece in split(document):
            kept.append(piece)
            length += len(piece.encode())
            if length >= size:
                found.append("".join(kept))
                kept, length = [], 0
    random.Random(0).shuffle(found)
    return found[: limit or None]


@cache
def vocabulary(entries: int) -> LibraryTokenizer:
    """BPE learned from the training stories."""
    learned = train_library(chunks(documents("train")), entries, CHATML)
    return LibraryTokenizer(learned.to_str())


@cache
def rows(entries: int, part: str, size: int, limit: int = 0) -> list[list[int]]:
    """Each passage as ids, begun by bos."""
    return [[BOS, *ids] for ids in vocabulary(entries).encode_batch(passages(part, size, limit))]


def batch(some: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T), filled up on the right with what has no loss."""
    longest = max(map(len, some))
    inputs = torch.zeros(len(some), longest - 1, dtype=torch.long)
    targets = torch.full_like(inputs, IGNORED)
    for at, row in enumerate(some):
        inputs[at, : len(row) - 1] = torch.tensor(row[:-1])
        targets[at, : len(row) - 1] = torch.tensor(row[1:])
    return inputs, targets


def summed(model: Transformer, some: list[list[int]], most: int = 1 << 21) -> tuple[Tensor, int]:
    """Nats of all tokens together, and how many tokens there are.

    Scores are made for some `most` numbers at a time, so that a large vocabulary's fit the memory.
    """
    inputs, targets = batch(some)
    states, table = model.model(inputs).flatten(0, 1), model.lm_head.weight
    many = max(1, most // len(table))
    parts = zip(states.split(many), targets.flatten().split(many), strict=True)
    nats = [F.cross_entropy(x @ table.T, wanted, ignore_index=IGNORED, reduction="sum")
            for x, wanted in parts]  # fmt: skip
    return torch.stack(nats).sum(), int((targets != IGNORED).sum())


@torch.no_grad()
def bits_per_byte(model, some: list[list[int]], texts: list[str]) -> tuple[float, float]:
    """Bits a byte of the texts, and nats a token."""
    nats, tokens = 0.0, 0
    for start in range(0, len(some), 8):
        found, count = summed(model, some[start : start + 8])
        nats, tokens = nats + found.item(), tokens + count
    return nats / math.log(2) / sum(len(text.encode()) for text in texts), nats / tokens


def build(entries: int, width: int, settings, seed: int, like: int = 0, **other) -> Transformer:
    """A decoder of `width`. With `like`, its feed-forward is as wide as brings its parameters
    nearest to those of the plain model (`settings.width`) with `like` entries."""

    def config(width: int, entries: int, inner: int):
        return preset("nano", hidden_size=width, num_hidden_layers=settings.layers,
                      num_attention_heads=settings.heads, num_key_value_heads=settings.heads,
                      intermediate_size=inner, vocab_size=entries, **other)  # fmt: skip

    def size(*shape: int) -> int:
        with torch.device("meta"):
            return Transformer(config(*shape)).num_parameters()

    inner = 3 * width
    if like:
        wanted = size(settings.width, like, 3 * settings.width)
        inner += round((wanted - size(width, entries, inner)) / (3 * settings.layers * width))
    return Transformer(config(width, entries, inner), seed=seed)


def seen(entries: int, passage: int, places: list[int]) -> list[int]:
    """How often each entry that is no control token stands in those training passages."""
    train, times = rows(entries, "train", passage), [0] * entries
    for place in places:
        for token in train[place]:
            times[token] += 1
    return times[len(CHATML) :]


def work(model: Transformer, texts: list[str], some: list[list[int]]) -> float:
    """Floating-point operations to train on a byte: two for each parameter and token (the table is
    multiplied once, in the head), two for each number of a score and two for its use, and twice all
    that again for the gradients."""
    config, tokens = model.config, sum(len(row) - 1 for row in some)
    scores = 4 * config.num_hidden_layers * config.hidden_size * tokens / len(some)
    size = sum(len(text.encode()) for text in texts)
    return 3 * (2 * model.num_parameters() + scores) * tokens / size
