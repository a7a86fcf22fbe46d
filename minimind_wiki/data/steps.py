"""What the loader, the curriculum and the stream share: batches numbered by step, and the resume.

As a batch is a function of (seed, step), all that a checkpoint needs is these two numbers and a
hash of everything else that the order depends on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from minimind_wiki.data.packing import Batch
from minimind_wiki.errors import MinimindError


class Steps(ABC):
    """Batches in an endless order; `step` is the next one to read."""

    seed: int
    step: int

    @abstractmethod
    def at(self, step: int) -> Batch:
        """The batch of `step`, whatever was read before."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of all that the order depends on besides seed and step."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what was kept in memory for the old seed."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches from the current step on, without end."""
        while True:
            batch = self.at(self.step)
            self.step += 1
            yield batch

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON: the next step to read."""
        return {"seed": self.seed, "step": self.step, "data": self.fingerprint}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; MinimindError when the data or its layout is another."""
        if state.get("data") != self.fingerprint:
            raise MinimindError(
                "the run was started on other data, or with another tokenizer, row length, batch "
                "size, packing or curriculum, so it cannot go on from the same place. Give it the "
                "same, or start anew."
            )
        self.seed, self.step = int(state["seed"]), int(state["step"])
        self.forget()
