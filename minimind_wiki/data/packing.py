"""Packing: many documents in a row of fixed length, none cut that would fit, hardly any padding.

Documents longer than a row are cut into whole rows and a rest; then each piece, longest first, goes
into the fullest row that still has room for it (best fit decreasing; Ding et al. 2024, "Fewer
truncations improve language modeling", arXiv:2404.10830). Rows carry document ids, so that
attention stays inside a document, and positions that begin at 0 in each. The free room of open rows
is kept as the bits of one integer, so that finding the best row is a shift.

Two arms to compare with: `pad` gives each piece a row of its own; `concat` writes all documents one
after the other and cuts the stream wherever a row ends, without a document mask (nanoGPT's way): no
padding, but documents are cut that would fit, and a token sees the documents before its own.
Shapes: P pieces, R rows, T tokens in a row, B rows in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from minimind_wiki.errors import WrongCall, unknown

ARMS = ("pack", "pad", "concat")
IGNORE = -100  # the label that cross entropy leaves out, in torch and in transformers


class HasBytes(Protocol):
    """A tokenizer that knows the size of its tokens."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    def byte_length(self, token: int) -> int:
        """Bytes of text that the token stands for."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Which pieces stand in which row: row r has the pieces `first[r]` to `first[r + 1]`, in order.

    `begin` is a piece's first token in the shard, `length` its tokens, `document` the document that
    it is from, `place` the position of its first token in that document.
    """

    row_length: int
    first: np.ndarray  # (R + 1,) int64
    begin: np.ndarray  # (P,) int64
    length: np.ndarray  # (P,) int32
    document: np.ndarray  # (P,) int64
    place: np.ndarray  # (P,) int32
    joined: bool = False  # the rows continue one another: the last token's label is in the next

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.first) - 1

    @property
    def useful(self) -> float:
        """Share of the row places that hold a token of a document."""
        return float(self.length.sum()) / max(1, self.rows * self.row_length)


def _pieces(lengths: np.ndarray, row_length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Document, place and length of each piece: whole rows, then the rest."""
    counts = -(-lengths // row_length)
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = number * row_length
    return document, place, np.minimum(lengths[document] - place, row_length)


def best_fit(lengths: np.ndarray, row_length: int) -> np.ndarray:
    """The row of each piece, best fit decreasing. `lengths` are in 1..row_length.

    >>> best_fit(np.array([3, 6, 4, 7]), 10).tolist()
    [0, 1, 1, 0]
    """
    rows = np.empty(len(lengths), dtype=np.int64)
    open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]  # free places -> rows
    free_bits = 0  # bit f is set when a row with f free places is open
    used = 0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        size = int(lengths[piece])
        fitting = free_bits >> size
        if fitting:
            free = size + (fitting & -fitting).bit_length() - 1  # the lowest set bit
            row = open_rows[free].pop()
            if not open_rows[free]:
                free_bits ^= 1 << free
        else:
            free, row, used = row_length, used, used + 1
        rows[piece] = row
        left = free - size
        if left:
            open_rows[left].append(row)
            free_bits |= 1 << left
    return rows


def pack(
    offsets: np.ndarray,
    row_length: int,
    arm: str = "pack",
    shortest: int = 0,
    longest: int | None = None,
) -> Packing:
    """Place the documents of a shard, given its offsets (documents + 1,), into rows.

    `arm` is one of ARMS. Every token has exactly one place, but those of documents with fewer than
    `shortest` or more than `longest` tokens, which are left out (not with "concat").
    """
    if row_length < 1:
        raise WrongCall(f"a row needs at least 1 token, not {row_length}.")
    if arm not in ARMS:
        raise unknown("packing arm", arm, ARMS)
    offsets = offsets.astype(np.int64)
    limited = shortest > 0 or longest is not None
    if arm == "concat":
        if limited:
            raise WrongCall("the arm concat takes all documents; leave out shortest and longest.")
        return _concat(int(offsets[-1]), row_length)
    lengths = np.diff(offsets)
    if limited:
        most = lengths.max(initial=0) if longest is None else longest
        lengths = np.where((lengths >= shortest) & (lengths <= most), lengths, 0)
    document, place, length = _pieces(lengths, row_length)
    rows = best_fit(length, row_length) if arm == "pack" else np.arange(len(length))
    order = np.argsort(rows, kind="stable")
    count = int(rows.max()) + 1 if len(rows) else 0
    return Packing(
        row_length,
        np.searchsorted(rows[order], np.arange(count + 1)),
        (offsets[document] + place)[order],
        length[order].astype(np.int32),
        document[order],
        place[order].astype(np.int32),
    )


def _concat(tokens: int, row_length: int) -> Packing:
    """One piece a row, which is no document: its number is -1."""
    begin = np.arange(0, tokens, row_length)
    rows = len(begin)
    return Packing(
        row_length,
        np.arange(rows + 1),
        begin,
        np.minimum(tokens - begin, row_length).astype(np.int32),
        np.full(rows, -1),
        np.zeros(rows, dtype=np.int32),
        joined=True,
    )


def cut_documents(offsets: np.ndarray, row_length: int, arm: str = "pack") -> np.ndarray:
    """Which documents do not stand whole in one row, (documents,) bool.

    >>> cut_documents(np.array([0, 3, 6, 11]), 4).tolist()  # of 3, 3 and 5 tokens
    [False, False, True]
    >>> cut_documents(np.array([0, 3, 6, 11]), 4, "concat").tolist()
    [False, True, True]
    """
    offsets = offsets.astype(np.int64)
    lengths = np.diff(offsets)
    if arm == "concat":
        last = np.maximum(offsets[1:] - 1, offsets[:-1])
        return offsets[:-1] // row_length != last // row_length
    return lengths > row_length


@dataclass(frozen=True, slots=True)
class Batch:
    """B rows of T places; `documents` is 0 where a place is padding, else 1, 2, … along the row."""

    ids: np.ndarray  # (B, T) int64
    labels: np.ndarray  # (B, T) int64: the next token of the same document, or IGNORE
    positions: np.ndarray  # (B, T) int64, from 0 in each document
    documents: np.ndarray  # (B, T) int32

    @property
    def useful(self) -> float:
        """Share of the places that hold a token."""
        return float((self.documents > 0).mean())

    def bytes(self, lengths: np.ndarray) -> int:
        """UTF-8 bytes that the labels stand for, given those of each id (V,): for bits per byte."""
        return int(lengths[self.labels[self.labels != IGNORE]].sum())

    def mask(self) -> np.ndarray:
        """(B, T, T) bool: query t may look at key s, that is s ≤ t in the same document."""
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return np.tril(same & (self.documents[:, :, None] > 0))


def fill(
    packing: Packing,
    rows: np.ndarray,
    ids: np.ndarray,
    flags: np.ndarray | None = None,
    pad_id: int = 0,
) -> Batch:
    """The batch of these rows, from a shard's ids and loss flags.

    A label is learned when its token's flag is set; without flags all are. The last token of a
    piece has no label: the token after it stands in another row, or is no continuation. Only where
    the rows continue one another (`concat`) is it the first token of the next row. Positions of a
    long document's later pieces begin at 0 again, as nothing before them can be seen.
    """
    shape = (len(rows), packing.row_length)
    batch = Batch(
        np.full(shape, pad_id, np.int64),
        np.full(shape, IGNORE, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int32),
    )
    counting = np.arange(packing.row_length)
    for line, row in enumerate(rows.tolist()):
        at = 0
        low, high = int(packing.first[row]), int(packing.first[row + 1])
        spans = zip(
            packing.begin[low:high].tolist(), packing.length[low:high].tolist(), strict=True
        )
        for number, (begin, size) in enumerate(spans, start=1):
            end = at + size
            tokens = ids[begin : begin + size]
            batch.ids[line, at:end] = tokens
            batch.positions[line, at:end] = counting[:size]
            batch.documents[line, at:end] = number
            batch.labels[line, at : end - 1] = tokens[1:]
            if flags is not None:
                quiet = flags[begin + 1 : begin + size] == 0
                batch.labels[line, at : end - 1][quiet] = IGNORE
            after = begin + size
            if packing.joined and after < len(ids) and (flags is None or flags[after]):
                batch.labels[line, end - 1] = ids[after]
            at = end
    return batch


def byte_lengths(tokenizer: HasBytes) -> np.ndarray:
    """UTF-8 bytes that each id stands for, (V,) int64, for `Batch.bytes`."""
    return np.array([tokenizer.byte_length(token) for token in range(tokenizer.vocab_size)])
