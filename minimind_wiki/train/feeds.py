"""Feeds: where the loop's batches come from. Each is a pure function of (seed, step).

| data | rows of a batch |
|---|---|
| one text | windows cut from the stream of its tokens ("concat") |
| many documents | packed rows: whole documents side by side, each blind to the others ("pack") |
| a folder of token shards | the same, from memory-mapped files |
| `world` | the same, from documents of the little world that are made as they are needed |

`held_out` is measured and never trained on. For the little world it comes from validation worlds,
which share no person, place or plot with those of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.data import Corpus, load_corpus
from minimind_wiki.data.loader import Loader
from minimind_wiki.data.packing import IGNORE, fill, pack
from minimind_wiki.data.shards import shard_paths
from minimind_wiki.data.stream import WorldStream
from minimind_wiki.data.world import make_document
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import (
    Batches,
    Tokens,
    from_packed,
    gather,
    measured_starts,
    shifted,
    split_ids,
)
from minimind_wiki.train.config import TrainConfig

WORLD_MIX = {"pretrain": 2.0, "lessons": 1.0}  # weights of documents
BIGRAM_TOKENS = 1 << 20  # of a stream, which has no end, are counted for the bar


@dataclass(frozen=True, slots=True)
class Feed:
    """Batches for one run.

    `about` names the data in run.json (name, source, sha256 …): a resumed run must find the same.
    `sample_ids` are training tokens to count pairs in, for the bigram bar. Samples of the model's
    text begin after `prompt`.
    """

    at: Callable[[int], Tokens]
    held_out: tuple[Tokens, ...]
    sample_ids: np.ndarray
    prompt: tuple[int, ...]
    about: dict[str, Any]
    line: str
    held_out_line: str
    begin: tuple[int, ...] = ()
    """Ids that begin every document, where documents are kept apart."""
    floor: float | None = None
    """Bits per byte of the held-out part under its own source, where that is known."""

    def bigram_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The held-out pairs (token, next token) that are measured, two 1-D arrays."""
        ids = np.concatenate([part.ids_BT.numpy().ravel() for part in self.held_out])
        labels = np.concatenate([part.labels_BT.numpy().ravel() for part in self.held_out])
        measured = labels != IGNORE
        return ids[measured], labels[measured]


def make_feed(config: TrainConfig, tokenizer: Tokenizer, corpus: Corpus | None = None) -> Feed:
    """The feed that `config.data` names, or that of a corpus that was read already."""
    if corpus is not None or reads_text(config.data):
        return corpus_feed(corpus or load_corpus(config.data), config, tokenizer)
    if Path(config.data).is_dir():
        return shard_feed(Path(config.data), config, tokenizer)
    return world_feed(config, tokenizer, config.data.partition("/")[2])


def reads_text(spec: str) -> bool:
    """Whether `--data spec` is a corpus to be read whole: neither the world nor a shard folder."""
    return not (spec and Path(spec).is_dir()) and spec.split("/")[0] != "world"


def tokenize(documents: Sequence[str], tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Documents as one array of ids and where each begins, (documents + 1,).

    Several documents stand each between the bos and the eos id; a single text has neither, as it is
    cut anywhere.
    """
    kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    begin, end = ([tokenizer.bos_id], [tokenizer.eos_id]) if len(documents) > 1 else ([], [])
    parts = [
        np.array([*begin, *ids, *end], dtype=kind) for ids in tokenizer.encode_batch(documents)
    ]
    offsets = np.cumsum([0, *map(len, parts)])
    return np.concatenate(parts), offsets


def corpus_feed(corpus: Corpus, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Batches of a corpus in memory: windows of one text, packed rows of several documents."""
    about = {"name": corpus.name, "source": corpus.source, "bytes": corpus.bytes,
             "sha256": corpus.sha256}  # fmt: skip
    arm = config.packing
    if arm == "auto":
        arm = "concat" if len(corpus.documents) == 1 else "pack"
    ids, offsets = tokenize(corpus.documents, tokenizer)
    if arm == "concat":
        prompt = (
            tuple(tokenizer.encode("\n")) if len(corpus.documents) == 1 else (tokenizer.bos_id,)
        )
        return _windows(ids, prompt, config, corpus, about)
    cut = int(np.searchsorted(offsets, offsets[-1] * (1 - config.held_out)))
    if not 0 < cut < len(offsets) - 1:
        raise MinimindError(
            f"{corpus.name} has {len(corpus.documents):,} documents, too few to hold some out "
            f"({config.held_out:.0%}) and train on the rest. Give more documents, or --packing "
            "concat."
        )
    train, held = offsets[: cut + 1], offsets[cut:]
    packing = pack(train, config.context_length, arm)
    order = _Order(packing.rows, config.seed)

    def at(step: int) -> Tokens:
        rows = order.rows(step * config.batch_size, config.batch_size)
        return from_packed(fill(packing, rows, ids, pad_id=tokenizer.pad_id))

    begin = (tokenizer.bos_id,)
    measured = pack(held, config.context_length, "pack")
    rows = np.arange(measured.rows)
    if len(rows) > config.eval_windows:
        rows = rows[np.linspace(0, len(rows) - 1, config.eval_windows).round().astype(np.int64)]
    parts = tuple(
        from_packed(fill(measured, rows[i : i + config.batch_size], ids, pad_id=tokenizer.pad_id))
        for i in range(0, len(rows), config.batch_size)
    )
    return Feed(
        at, parts, ids[: offsets[cut]], begin, about, corpus.describe(),
        f"Held out: the last {config.held_out:.0%} of the documents, measured in {len(rows):,} "
        f"packed rows of {config.context_length} tokens ({packing.useful:.1%} of a training "
        "row's places hold a token).", begin,
    )  # fmt: skip


def world_feed(config: TrainConfig, tokenizer: Tokenizer, kind: str = "") -> Feed:
    """Packed documents of the little world, made as they are needed; never the same one twice.

    `kind` is one kind of row; without it, the model reads stories and lessons (WORLD_MIX). Held out
    are stories of validation worlds that fit a row, with the floor: what a reader needs who knows
    every rule of the generator, but not which names are held out. It counts the derivation that was
    told; a story with a second one (about one in forty) has a floor lower by a fraction of a
    percent, so this is an upper bound.
    """
    size, length = config.batch_size, config.context_length
    kinds = {kind: 1.0} if kind else WORLD_MIX
    train = WorldStream(tokenizer, length, size, config.seed, "train", kinds)
    texts, bits = [], 0.0
    for number in count():
        document = make_document(f"held-out.{number}", "validation")
        if len(tokenizer.encode(document.text)) + 2 <= length:
            texts.append(document.text)
            bits -= document.logp_any / math.log(2)
            if len(texts) == config.eval_windows:
                break
        elif number > 50 * (len(texts) + 1):
            raise WrongCall(
                f"hardly any story fits {length} tokens; give a --context-length of 256 or more, "
                "or a tokenizer with longer tokens."
            )
    held_ids, held_offsets = tokenize(texts, tokenizer)
    packing = pack(held_offsets, length)
    parts = tuple(
        from_packed(fill(packing, rows, held_ids, pad_id=tokenizer.pad_id))
        for rows in np.array_split(np.arange(packing.rows), -(-packing.rows // size))
    )
    counted = [train.at(step) for step in range(max(1, BIGRAM_TOKENS // (size * length)))]
    sample = np.concatenate([batch.ids[batch.documents > 0] for batch in counted])
    floor = bits / sum(len(text.encode()) for text in texts)
    name = "the little world, generated" + (f" ({kind})" if kind else "")
    source = f"world/{kind}" if kind else "world"
    about = {"name": name, "source": source, "bytes": 0, "sha256": train.fingerprint}
    begin = (tokenizer.bos_id,)
    return Feed(
        lambda step: from_packed(train.at(step)), parts, sample, begin, about,
        f"Data: {name} while training, because --data asks for it.",
        f"Held out: {len(texts):,} stories of validation worlds, with people, places and plots "
        f"that training never meets. The floor is {floor:.3f} bits/byte.", begin, floor,
    )  # fmt: skip


def shard_feed(folder: Path, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Packed rows of the shards that `minimind data shard` wrote; the last ones are held out.

    Whole shards are held out, at least one; MinimindError when there is only one.
    """
    paths = shard_paths(folder)
    cut = len(paths) - max(1, round(len(paths) * config.held_out))
    if cut < 1:
        raise MinimindError(
            f"{folder} has {len(paths)} shards, but needs one to train on and one to hold out. "
            "Write smaller ones: 'minimind data shard --shard-tokens N'."
        )
    arm = "pack" if config.packing == "auto" else config.packing
    own = tokenizer.fingerprint
    length, size = config.context_length, config.batch_size
    train = Loader(paths[:cut], length, size, config.seed, arm, own, tokenizer.pad_id)
    held = Loader(paths[cut:], length, size, 0, arm, own, tokenizer.pad_id)
    steps = max(1, min(config.eval_windows, held.rows) // size)
    counted = [train.at(step) for step in range(max(1, BIGRAM_TOKENS // (size * length)))]
    about = {"name": folder.name, "source": str(folder), "bytes": 0, "sha256": train.fingerprint}
    begin = (tokenizer.bos_id,)
    return Feed(
        lambda step: from_packed(train.at(step)),
        tuple(from_packed(held.at(step)) for step in range(steps)),
        np.concatenate([batch.ids[batch.documents > 0] for batch in counted]),
        begin, about,
        f"Data: {train.tokens:,} tokens in {cut:,} shards of {folder}, because --data names this "
        "folder.",
        f"Held out: the last {len(paths) - cut:,} shards, measured in {steps * size:,} rows of "
        f"{length} tokens.", begin,
    )  # fmt: skip


class _Order:
    """Rows 0..count-1 in a new random order each epoch, as a function of (seed, position)."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self._epoch = count, seed, -1
        self._order = np.empty(0, dtype=np.int64)

    def rows(self, first: int, many: int) -> np.ndarray:
        """The rows at positions first..first+many-1 of the endless order."""
        found = np.empty(many, dtype=np.int64)
        for i, number in enumerate(range(first, first + many)):
            epoch, place = divmod(number, self.count)
            if epoch != self._epoch:
                rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
                self._order, self._epoch = rng.permutation(self.count), epoch
            found[i] = self._order[place]
        return found


def _windows(
    ids: np.ndarray,
    prompt: tuple[int, ...],
    config: TrainConfig,
    corpus: Corpus,
    about: dict[str, Any],
) -> Feed:
    split = split_ids(ids, config.held_out, config.context_length, corpus.name)
    batches = Batches(split.train, config.batch_size, config.context_length, config.seed)
    starts = measured_starts(len(split.held_out), config.context_length, config.eval_windows)
    parts = tuple(
        shifted(gather(split.held_out, starts[i : i + config.batch_size], config.context_length))
        for i in range(0, len(starts), config.batch_size)
    )
    return Feed(
        lambda step: shifted(batches.at(step)), parts, split.train, prompt, about,
        corpus.describe(),
        f"Held out: the last {config.held_out:.0%}, measured in {len(starts):,} windows of "
        f"{config.context_length} tokens.",
    )  # fmt: skip
