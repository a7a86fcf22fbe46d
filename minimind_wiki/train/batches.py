"""Token windows, in an order that is a pure function of (seed, step).

An epoch is a permutation of all windows, shifted by a random offset below one window so that the
cuts fall elsewhere each time; every token is predicted once an epoch. As nothing is remembered
between steps, a resumed run reads exactly what the uninterrupted one would have read.
Shapes: B windows in a batch, T tokens in a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from minimind_wiki.data.packing import IGNORE, Batch
from minimind_wiki.errors import MinimindError, WrongCall


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the model reads in one step: rows of ids, the token to predict at each, and, in packed
    rows, the number of each token's document. A label of IGNORE is not predicted.

    A method may need more of each row: advantages, a reference's log-probabilities. `together`
    neighbouring rows are one thing (a pair) and are not parted. A summed loss is divided by `units`
    of the whole batch, or by the tokens to predict. `own` rows are those of one process already:
    they are not shared out, and `units` counts those of all processes.
    """

    ids_BT: Tensor
    labels_BT: Tensor
    documents_BT: Tensor | None = None
    more: Mapping[str, Tensor] = field(default_factory=dict)
    together: int = 1
    units: int = 0
    own: bool = False

    @property
    def predicted(self) -> int:
        """Number of tokens to predict."""
        return int((self.labels_BT != IGNORE).sum())

    @property
    def divisor(self) -> int:
        """What the batch's summed loss is divided by. A micro-batch does not know it."""
        return self.units or self.predicted

    def to(self, device: torch.device) -> Tokens:
        """The same on a device. Pinned rows travel while the device still computes."""
        return self.each(lambda rows_BT: rows_BT.to(device, non_blocking=True))

    def pinned(self) -> Tokens:
        """The same in memory that a CUDA card can read by itself."""
        return self.each(Tensor.pin_memory)

    def each(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """All tensors changed in the same way."""
        documents = None if self.documents_BT is None else change(self.documents_BT)
        more = {name: change(rows) for name, rows in self.more.items()}
        return replace(
            self, ids_BT=change(self.ids_BT), labels_BT=change(self.labels_BT),
            documents_BT=documents, more=more,
        )  # fmt: skip

    def part(self, begin: int, end: int) -> Tokens:
        """Rows begin..end-1."""
        return self.each(lambda rows_BT: rows_BT[begin:end])

    def split(self, rows: int) -> Iterator[Tokens]:
        """Micro-batches of at most `rows` rows. WrongCall if that would part what is together."""
        if rows % self.together:
            raise WrongCall(
                f"micro-batches of {rows} rows would part {self.together} that belong together; "
                f"make micro_batch_size a multiple of {self.together}."
            )
        for at in range(0, len(self.ids_BT), rows):
            yield self.part(at, at + rows)


def shifted(ids_BT: Tensor) -> Tokens:
    """Windows (B, T+1) as (B, T) inputs and what follows each."""
    return Tokens(ids_BT[:, :-1], ids_BT[:, 1:])


def from_packed(batch: Batch) -> Tokens:
    """Packed rows, with their documents where a row holds more than one."""
    documents = torch.from_numpy(batch.documents)
    several = bool((documents != documents[:, :1]).any())
    return Tokens(
        torch.from_numpy(batch.ids), torch.from_numpy(batch.labels), documents if several else None
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Training and held-out ids of one corpus, as 1-D arrays."""

    train: np.ndarray
    held_out: np.ndarray


def split_ids(ids: np.ndarray, held_out: float, context_length: int, source: str) -> Split:
    """The first part to train on and the last `held_out` share to measure on (nanoGPT's 90/10).

    MinimindError when either part is shorter than one window and the token after it.
    """
    cut = int(len(ids) * (1 - held_out))
    split = Split(ids[:cut], ids[cut:])
    shortest = min(len(split.train), len(split.held_out))
    if shortest < context_length + 1:
        raise MinimindError(
            f"{source} is too short: {len(ids):,} tokens, of which the held-out part has "
            f"{len(split.held_out):,} and the training part {len(split.train):,}, but one context "
            f"needs {context_length + 1:,}. Give more text or a smaller --context-length."
        )
    return split


class Batches:
    """Deterministic training batches over `ids`."""

    def __init__(self, ids: np.ndarray, batch_size: int, context_length: int, seed: int) -> None:
        self.ids, self.batch_size, self.length, self.seed = ids, batch_size, context_length, seed
        self.windows = max(1, (len(ids) - context_length) // context_length)
        self._epoch = -1
        self._starts = np.empty(0, dtype=np.int64)

    def _starts_of(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
            spare = len(self.ids) - 1 - self.windows * self.length
            shift = int(rng.integers(0, min(spare, self.length) + 1))
            self._starts = shift + self.length * rng.permutation(self.windows)
            self._epoch = epoch
        return self._starts

    def starts(self, step: int) -> np.ndarray:
        """Start positions of the windows of `step`, (B,)."""
        numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
        return np.array([self._starts_of(n // self.windows)[n % self.windows] for n in numbers])

    def at(self, step: int) -> Tensor:
        """The windows of `step` with the token after each: ids (B, T+1), int64, on the CPU."""
        return gather(self.ids, self.starts(step), self.length)


def gather(ids: np.ndarray, starts: np.ndarray, length: int) -> Tensor:
    """Windows of `length` tokens and their successor: (len(starts), length+1), int64."""
    return torch.from_numpy(ids[starts[:, None] + np.arange(length + 1)].astype(np.int64))


def measured_starts(count: int, context_length: int, most: int) -> np.ndarray:
    """Where the held-out windows begin: consecutive and disjoint, at most `most` evenly spaced."""
    starts = np.arange((count - 1) // context_length) * context_length
    if len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(np.int64)]
    return starts
