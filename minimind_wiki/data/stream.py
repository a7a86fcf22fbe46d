"""Batches of the little world, generated while they are needed: no file, no end, no epoch.

The stream is cut into blocks of R rows of T tokens, R being a multiple of the batch size. Block b
takes documents number b·R·T, b·R·T + 1, … , as many as fit R rows (best fit, `packing.py`); as a
document has at least one token, blocks never share a number. Document n is row n of
`make_rows(kind, …, seed)`, its kind drawn by a hash of (seed, n). So step → block needs no look at
earlier blocks: reading or resuming at any step costs one block, about BLOCK tokens, and memory is
two blocks whatever the step. What this costs: the last row of a block is not filled by the next
block's documents, under one percent of the places for rows that are short beside the block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minimind_wiki.data.packing import Batch, Packing, fill, pack
from minimind_wiki.data.sft_rows import SftReport, check_policy, fit
from minimind_wiki.data.steps import Steps
from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.rows import KINDS
from minimind_wiki.data.world.words import words_of
from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.tokenizer.protocol import Tokenizer, fingerprint_of, text_ids

BLOCK = 1 << 18  # tokens of a block, at least
KEPT = 2  # blocks in memory
HOPELESS = 256  # when none of so many documents fits a row, none will
Ids = tuple[np.ndarray, np.ndarray]  # ids (T,) and loss flags (T,)


@dataclass(frozen=True, slots=True)
class Block:
    """R packed rows: the ids and flags of the documents one after the other, and their places."""

    ids: np.ndarray
    flags: np.ndarray
    packing: Packing
    order: np.ndarray  # (R,) the rows in the order in which they are read
    documents: int
    report: SftReport


class WorldStream(Steps):
    """`at`, `state` and `resume` as `Loader` has them.

    `kinds` are weights of the kinds of `minimind data world`. A text stands between bos and eos; a
    chat ends as the template ends it, and only its assistant's words are learned. Chats longer than
    a row are treated by `policy` (`sft_rows.py`; not "drop" by default, because the first message
    of a dialogue holds the text that all its questions are about), longer texts are cut into whole
    rows and a rest.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        row_length: int,
        batch_size: int,
        seed: int = 0,
        split: str = "train",
        kinds: Mapping[str, float] | None = None,
        pad_id: int | None = None,
        policy: str = "cut",
    ) -> None:
        """Errors: WrongCall for a bad number, an unknown split or kind, or one without answers."""
        if row_length < 8 or batch_size < 1:
            raise WrongCall(f"{batch_size} rows of {row_length} tokens are no batch; give more.")
        words_of(split)
        check_policy(policy, row_length)
        self.tokenizer, self.row_length, self.batch_size = tokenizer, row_length, batch_size
        self.seed, self.split, self.policy, self.step = seed, split, policy, 0
        self.pad_id = tokenizer.pad_id if pad_id is None else pad_id
        self.kinds = _shares(kinds or {"pretrain": 1.0})
        self.steps_per_block = -(-BLOCK // (row_length * batch_size))
        self.rows_per_block = self.steps_per_block * batch_size
        self._blocks: dict[int, Block] = {}
        for kind in self.kinds:
            row = self._row(kind, 0)
            turns = row.get("conversations", ())
            if "text" not in row and all(turn["role"] != "assistant" for turn in turns):
                raise WrongCall(f"rows of kind {kind!r} have no answer to learn; leave it out.")

    def kind_of(self, number: int) -> str:
        """The kind of document `number`."""
        digest = hashlib.blake2b(f"{self.seed}.{number}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest, "big") / 2**64
        for kind, share in self.kinds.items():
            drawn -= share
            if drawn < 0:
                return kind
        return kind  # the shares' sum may be 1 - 1e-16

    def _row(self, kind: str, number: int) -> dict[str, Any]:
        key = f"{self.seed}.{number}"
        chooser = Chooser(f"{kind}/{self.split}/{key}")
        return KINDS[kind][0](chooser, key, self.split)

    def document(self, number: int, report: SftReport | None = None) -> Ids:
        """Ids and loss flags of document `number`, whatever was read before.

        MinimindError when it is a chat that has nothing to learn within a row.
        """
        row = self._row(self.kind_of(number), number)
        if "text" in row:
            ids = text_ids(self.tokenizer, row["text"])
            return np.array(ids, dtype=np.uint32), np.ones(len(ids), dtype=np.uint8)
        example = fit(row["conversations"], self.tokenizer, self.row_length, self.policy)
        if report is not None:
            report.count(example)
        return example.ids, example.flags

    def block(self, number: int) -> Block:
        """Block `number`, from memory or generated."""
        if number not in self._blocks:
            if len(self._blocks) >= KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[number] = self._generate(number)
        return self._blocks[number]

    def _generate(self, number: int) -> Block:
        places = self.rows_per_block * self.row_length
        ids: list[np.ndarray] = []
        flags: list[np.ndarray] = []
        sizes, total, report = [0], 0, SftReport()
        for n in range(number * places, (number + 1) * places):
            try:
                one, learned = self.document(n, report)
            except MinimindError:
                report.rejected += 1
                if not ids and report.rejected >= HOPELESS:
                    break
                continue
            ids.append(one)
            flags.append(learned)
            sizes.append(len(one))
            if (total := total + len(one)) > places:
                break
        ends = np.cumsum(sizes)
        count = len(ids)
        while (packing := pack(ends[: count + 1], self.row_length)).rows > self.rows_per_block:
            count -= 1  # the documents that do not fit are not used: the next block has its own
        if not count:
            raise MinimindError(
                f"no document fits {self.row_length}-token rows; give a larger row length."
            )
        missing = self.rows_per_block - packing.rows
        packing = replace(packing, first=np.append(packing.first, [packing.first[-1]] * missing))
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, number, 0]))
        order = rng.permutation(self.rows_per_block)
        every, learn = np.concatenate(ids[:count]), np.concatenate(flags[:count])
        return Block(every, learn, packing, order, count, report)

    def at(self, step: int) -> Batch:
        """The batch of `step`, whatever was read before."""
        number, inside = divmod(step, self.steps_per_block)
        block = self.block(number)
        rows = block.order[inside * self.batch_size : (inside + 1) * self.batch_size]
        return fill(block.packing, rows, block.ids, block.flags, self.pad_id)

    @property
    def fingerprint(self) -> str:
        """Hash of all that the stream depends on besides seed and step."""
        parts = [fingerprint_of(self.tokenizer), self.split, self.policy, str(self.pad_id)]
        parts += [str(self.row_length), str(self.batch_size), repr(sorted(self.kinds.items()))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def forget(self) -> None:
        """Drop what was kept for the old seed."""
        self._blocks.clear()


def _shares(kinds: Mapping[str, float]) -> dict[str, float]:
    """Weights to shares, in the order of names; those without weight left out."""
    for kind, weight in kinds.items():
        if kind not in KINDS:
            raise unknown("kind of row", kind, KINDS)
        if not weight >= 0:
            raise WrongCall(f"the weight of {kind!r} is {weight}; give 0 or more.")
    total = sum(kinds.values())
    if not total:
        raise WrongCall("no kind has a weight above 0, so there is nothing to generate.")
    return {kind: kinds[kind] / total for kind in sorted(kinds) if kinds[kind] > 0}
