"""Continued pretraining: begin with a trained model's weights, keep some still, and read old text
among the new.

A model that reads only new text forgets the old. A share of old rows in every batch keeps it: with
that, a warm-up and a decay anew, going on is as good as training from the beginning on both
(Ibrahim et al. 2024, arXiv:2403.08763). Freezing keeps what it freezes, and costs no optimizer
state for it.
Shapes: B rows, T tokens in each.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.data.download import file_sha256
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.adapter import base_folder, is_adapter
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.feeds import Feed


def shape_of(
    folder: Path, fields: dict[str, Any], given: Tokenizer | None
) -> tuple[ModelConfig, Tokenizer]:
    """Shape and tokenizer of the model in a folder, which a run goes on with.

    MinimindError when there is no model, WrongCall when `fields` ask for another shape or `given`
    is another tokenizer: the weights fit one shape, and the embeddings one meaning of each id.
    """
    model, tokenizer = load_model_folder(folder, torch.device("cpu"))
    for name, value in fields.items():
        if (own := getattr(model.config, name)) != value:
            raise WrongCall(
                f"{name} is {own} in {folder}, not {value}; a run that begins with its weights "
                "has its shape. Leave the flag out, or leave --init out."
            )
    if given is not None and given.fingerprint != tokenizer.fingerprint:
        raise WrongCall(
            f"{folder} has its own {tokenizer.name} tokenizer, and the {given.name} tokenizer "
            "given is another: the same id would mean another text. Leave --tokenizer out."
        )
    return model.config, tokenizer


def weights_hash(folder: Path) -> str:
    """sha256 over the weight files of a model folder, and of those that an adapter's folder builds
    on, so that a record says which weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(bytes.fromhex(file_sha256(file)))
    if is_adapter(folder):
        digest.update(bytes.fromhex(weights_hash(base_folder(folder))))
    return digest.hexdigest()


def freeze(model: Transformer, pattern: str) -> str:
    """Train none of the parameters in whose name the pattern is found; returns the line to tell.

    The pattern is a regular expression; a number at its end is a whole number, so that `layers.1`
    is not `layers.10`. WrongCall for one that matches nothing or everything.
    """
    try:
        search = re.compile(rf"(?:{pattern})(?!\d)").search
    except re.error as error:
        raise WrongCall(
            f"freeze is {pattern!r}, which is no regular expression ({error})."
        ) from error
    named = dict(model.named_parameters())
    frozen = [name for name in named if search(name)]
    if not frozen:
        tied = " (a tied head is the embedding: embed_tokens)" if "lm_head" in pattern else ""
        raise WrongCall(
            f"freeze is {pattern!r}, but no parameter has such a name{tied}; names are like "
            f"{', '.join(list(named)[:3])}."
        )
    if len(frozen) == len(named):
        raise WrongCall(f"freeze is {pattern!r}, which leaves nothing to train; name less.")
    for name in frozen:
        named[name].requires_grad_(False)
    count = sum(named[name].numel() for name in frozen)
    return (f"Frozen: {len(frozen)} of {len(named)} tensors, {count:,} of "
            f"{model.num_parameters():,} parameters, because --freeze names them.")  # fmt: skip


def mix(new: Feed, old: Feed, share: float, batch_size: int) -> Feed:
    """The new feed with a share of every batch's rows taken from the old one, in its order.

    Of the first n rows of the run, floor(share · n) are old at the end of every step, whatever the
    batch size: 0.1 of 4 rows is none in most steps and one in some. Each feed's rows come in order
    and none is left out, as a function of the step alone, so that a resumed run reads the same.
    """

    def old_before(step: int) -> int:
        return math.floor(share * step * batch_size + 1e-9)

    of_new, of_old = _rows(new.at, batch_size), _rows(old.at, batch_size)

    def at(step: int) -> Tokens:
        first, last = old_before(step), old_before(step + 1)
        begin, end = step * batch_size - first, (step + 1) * batch_size - last
        return _joined([*of_new(begin, end), *of_old(first, last)])

    about = new.about | {"replay": old.about | {"share": share}}
    line = f"{new.line} Among it, {share:.0%} of the rows from: {old.line.removeprefix('Data: ')}"
    return replace(new, at=at, about=about, line=line)


def _rows(at: Callable[[int], Tokens], size: int) -> Callable[[int, int], list[Tokens]]:
    """The function (begin, end) -> those rows of the endless feed, in pieces of one batch each."""
    kept: dict[
        int, Tokens
    ] = {}  # rows of a step may lie in two batches, and the next goes on there

    def rows(begin: int, end: int) -> list[Tokens]:
        pieces = []
        for number in range(begin // size, -(-end // size) if end > begin else begin // size):
            if number not in kept:
                kept[number] = at(number)
            low, high = max(begin - number * size, 0), min(end - number * size, size)
            pieces.append(kept[number].part(low, high))
        for number in [n for n in kept if n < end // size]:
            del kept[number]
        return pieces

    return rows


def _joined(parts: Iterable[Tokens]) -> Tokens:
    """Rows of several batches as one; rows of a single document get a number where others have."""
    parts = list(parts)
    lengths = {part.ids_BT.shape[1] for part in parts}
    if len(lengths) > 1:
        raise MinimindError(f"rows of {sorted(lengths)} tokens cannot stand in one batch.")
    documents: list[Tensor] | None = None
    if any(part.documents_BT is not None for part in parts):
        documents = [
            torch.ones_like(part.ids_BT) if part.documents_BT is None else part.documents_BT
            for part in parts
        ]
    return Tokens(
        torch.cat([part.ids_BT for part in parts]),
        torch.cat([part.labels_BT for part in parts]),
        None if documents is None else torch.cat([d.to(documents[0].dtype) for d in documents]),
    )
