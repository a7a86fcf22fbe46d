"""Short rows first: stages of a run with their own row length, or their own documents.

Short sequences make early steps cheap and steady: "Shortformer" (Press et al. 2021,
arXiv:2012.15832) and the sequence length warm-up of Li et al. 2022 (arXiv:2108.06084) grow the row,
the dataset decomposition of Pouransari et al. 2024 (arXiv:2405.13226) picks documents by length.
Here a stage may do either or both. Each stage is a `Loader` over the same shards, so that a batch
is a pure function of (seed, step) in a curriculum too, and only one stage's loader is open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.data.loader import Loader
from minimind_wiki.data.packing import Batch
from minimind_wiki.data.steps import Steps
from minimind_wiki.errors import WrongCall


@dataclass(frozen=True, slots=True)
class Stage:
    """`steps` batches of `batch_size` rows, of documents of `shortest` to `longest` tokens."""

    steps: int
    row_length: int
    batch_size: int
    shortest: int = 0
    longest: int | None = None


def growing(lengths: Sequence[int], steps: int, tokens: int) -> tuple[Stage, ...]:
    """Stages of `steps` batches, one for each row length, each batch of `tokens` places.

    >>> [(s.row_length, s.batch_size) for s in growing((64, 256), 100, 1024)]
    [(64, 16), (256, 4)]
    """
    for length in lengths:
        if length < 1 or tokens % length:
            raise WrongCall(f"{tokens} tokens are no whole number of rows of {length}.")
    return tuple(Stage(steps, length, tokens // length) for length in lengths)


class Curriculum(Steps):
    """`at`, `state` and `resume` as `Loader` has them; the last stage goes on without end."""

    def __init__(
        self,
        paths: Sequence[Path] | Path,
        stages: Sequence[Stage],
        seed: int = 0,
        arm: str = "pack",
        tokenizer: str | None = None,
        pad_id: int = 0,
    ) -> None:
        """See `Loader`. WrongCall without a stage, or for one without steps."""
        if not stages or any(stage.steps < 1 for stage in stages):
            raise WrongCall("a curriculum needs at least one stage, and each at least 1 step.")
        self.paths, self.stages, self.seed, self.arm = paths, tuple(stages), seed, arm
        self.tokenizer, self.pad_id, self.step = tokenizer, pad_id, 0
        self._open: tuple[int, Loader] | None = None
        self._data = ""
        self.loader(0)

    def stage_of(self, step: int) -> tuple[int, int]:
        """The stage of a step, and the step's number in it."""
        for number, stage in enumerate(self.stages[:-1]):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        return len(self.stages) - 1, step

    def loader(self, number: int) -> Loader:
        """The loader of a stage. Stages shuffle differently, with a seed of their own."""
        if self._open is None or self._open[0] != number:
            stage = self.stages[number]
            opened = Loader(
                self.paths, stage.row_length, stage.batch_size,
                self.seed * len(self.stages) + number, self.arm, self.tokenizer, self.pad_id,
                stage.shortest, stage.longest,
            )  # fmt: skip
            self._open = (number, opened)
            self._data = " ".join(shard.sha256 for shard in opened.shards)
        return self._open[1]

    def at(self, step: int) -> Batch:
        """The batch of `step`, whatever was read before."""
        number, inside = self.stage_of(step)
        return self.loader(number).at(inside)

    @property
    def fingerprint(self) -> str:
        """Hash of all that the order depends on besides seed and step."""
        return hashlib.sha256(f"{self._data} {self.stages} {self.arm}".encode()).hexdigest()

    def forget(self) -> None:
        """Drop what was kept for the old seed."""
        self._open = None
