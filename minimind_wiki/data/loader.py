"""The loader: batches from shards in an order that is a pure function of (seed, step).

An epoch visits the shards in a random order and in each its packed rows in a random order; the
batches cut this endless stream of rows. Nothing is remembered between steps, so resuming at step n
gives what the uninterrupted run would have read: the state is seed and step. Memory is the packing
of two shards (24 bytes a document) and one batch; the tokens stay on the disk and in the system's
page cache, whatever the corpus' size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minimind_wiki.data.packing import Batch, Packing, fill, pack
from minimind_wiki.data.shards import Shard, shard_paths
from minimind_wiki.data.steps import Steps
from minimind_wiki.errors import MinimindError, WrongCall

KEPT = 2  # packings in memory: a batch may end in one shard and go on in the next


class Loader(Steps):
    """Batches of `batch_size` rows of `row_length` tokens from the shards of one corpus."""

    def __init__(
        self,
        paths: Sequence[Path] | Path,
        row_length: int,
        batch_size: int,
        seed: int = 0,
        arm: str = "pack",
        tokenizer: str | None = None,
        pad_id: int = 0,
        shortest: int = 0,
        longest: int | None = None,
    ) -> None:
        """`paths`: shards, or the folder that has them. `arm`, `shortest`, `longest`: see `pack`.

        `tokenizer` is a hash that the shards must have. Opening packs each shard once, to count its
        rows. Errors: WrongCall for a bad number, MinimindError when there is nothing to load.
        """
        if batch_size < 1:
            raise WrongCall(f"a batch needs at least 1 row, not {batch_size}.")
        if isinstance(paths, Path):
            paths = shard_paths(paths) if paths.is_dir() else [paths]
        self.shards = [Shard(path, tokenizer) for path in paths]
        if not any(shard.tokens for shard in self.shards):
            raise MinimindError("there is no token to load: no shard, or only empty ones.")
        self.row_length, self.batch_size, self.seed = row_length, batch_size, seed
        self.arm, self.pad_id, self.step = arm, pad_id, 0
        self.shortest, self.longest = shortest, longest
        self._packings: dict[int, Packing] = {}
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        packings = (self._packing(i) for i in range(len(self.shards)))
        counts, tokens = zip(*((p.rows, int(p.length.sum())) for p in packings), strict=True)
        self._counts = np.array(counts)
        self.rows, self.tokens = sum(counts), sum(tokens)
        if not self.rows:
            raise MinimindError(
                f"no document has {shortest:,} to {longest or shortest:,} tokens, so there is "
                "nothing to load. Widen the limits."
            )

    @property
    def useful(self) -> float:
        """Share of the places of an epoch that hold a token."""
        return self.tokens / (self.rows * self.row_length)

    @property
    def fingerprint(self) -> str:
        """Hash of all that the order depends on besides seed and step."""
        parts = [str(self.row_length), str(self.batch_size), self.arm]
        if self.shortest or self.longest is not None:
            parts += [str(self.shortest), str(self.longest)]
        parts += [shard.sha256 for shard in self.shards]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def _packing(self, shard: int) -> Packing:
        if shard not in self._packings:
            if len(self._packings) >= KEPT:
                del self._packings[next(iter(self._packings))]
            self._packings[shard] = pack(
                self.shards[shard].offsets,
                self.row_length,
                self.arm,
                self.shortest,
                self.longest,
            )
        return self._packings[shard]

    def _rng(self, epoch: int, part: int) -> np.random.Generator:
        counter = [0, 0, epoch, part]  # Philox counts in the low words, so the streams are apart
        return np.random.Generator(np.random.Philox(key=self.seed, counter=counter))

    def _order(self, epoch: int, shard: int) -> np.ndarray:
        if (epoch, shard) not in self._orders:
            if len(self._orders) >= KEPT:
                del self._orders[next(iter(self._orders))]
            order = self._rng(epoch, shard + 1).permutation(int(self._counts[shard]))
            self._orders[epoch, shard] = order
        return self._orders[epoch, shard]

    def places(self, step: int) -> list[tuple[int, np.ndarray]]:
        """Which rows of which shards stand in the batch of `step`: (shard, rows), in order."""
        at, end = step * self.batch_size, (step + 1) * self.batch_size
        found = []
        while at < end:
            epoch, inside = divmod(at, self.rows)
            shards = self._rng(epoch, 0).permutation(len(self.shards))
            ends = np.cumsum(self._counts[shards])
            which = int(np.searchsorted(ends, inside, side="right"))
            shard = int(shards[which])
            from_row = inside - int(ends[which] - self._counts[shard])
            take = min(end - at, int(ends[which]) - inside)
            found.append((shard, self._order(epoch, shard)[from_row : from_row + take]))
            at += take
        return found

    def at(self, step: int) -> Batch:
        """The batch of `step`, whatever was read before."""
        parts = []
        for shard, rows in self.places(step):
            data = self.shards[shard]
            parts.append(fill(self._packing(shard), rows, data.ids, data.flags, self.pad_id))
        if len(parts) == 1:
            return parts[0]
        names = ("ids", "labels", "positions", "documents")
        return Batch(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def forget(self) -> None:
        """Drop what was kept for the old seed."""
        self._orders.clear()
