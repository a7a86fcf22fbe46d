"""Packing: many documents in a row of fixed length, none cut that would fit, hardly any padding.

Documents longer than a row are cut into whole rows and a rest; then each piece, longest first, goes
into the fullest row that still has room for it (best fit decreasing; Ding et al. 2024, "Fewer
truncations improve language modeling", arXiv:2404.10830). Rows carry document ids, so that
attention stays inside a document, and positions that begin at 0 in each. `pad` is the comparison
arm: a row for each piece. The free room of open rows is kept as the bits of one integer, so that
finding the best row is a shift.
Shapes: P pieces, R rows, T tokens in a row, B rows in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minimind_wiki.errors import WrongCall

IGNORE = -100  # the label that cross entropy leaves out, in torch and in transformers


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


def pack(offsets: np.ndarray, row_length: int, arm: str = "pack") -> Packing:
    """Place the documents of a shard, given its offsets (documents + 1,), into rows.

    `arm` is "pack" or "pad" (one piece a row). Every token has exactly one place.
    """
    if row_length < 1:
        raise WrongCall(f"a row needs at least 1 token, not {row_length}.")
    if arm not in ("pack", "pad"):
        raise WrongCall(f"the arm is 'pack' or 'pad', not {arm!r}.")
    offsets = offsets.astype(np.int64)
    document, place, length = _pieces(np.diff(offsets), row_length)
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
    piece has no label: the token after it stands in another row, or is no continuation. Positions
    of a long document's later pieces begin at 0 again, as nothing before them can be seen.
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
            at = end
    return batch
