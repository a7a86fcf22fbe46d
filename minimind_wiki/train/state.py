"""What a run has done so far: all that a checkpoint keeps beside weights, optimizer and chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class State:
    """Plain numbers, lists and texts, so that it is saved as JSON."""

    step: int = 0  # optimizer steps done, and so the number of the next batch
    train: dict[str, list[float]] = field(default_factory=lambda: {"step": [], "loss": []})
    held_out: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "bits_per_byte": []}
    )
    exams: list[dict[str, Any]] = field(default_factory=list)  # step, and accuracy by section
    samples: list[dict[str, Any]] = field(default_factory=list)
    pending_sum: float = 0.0  # losses since the training curve's last point …
    pending_count: int = 0  # … and how many
    seconds: float = 0.0  # of training steps alone, over all sittings
    tokens: int = 0  # places of the rows that were read, padding included
    predicted: int = 0  # tokens that were predicted
    skipped: int = 0  # steps passed over, or whose gradient float16 could not hold

    @property
    def best(self) -> int:
        """Index of the lowest held-out loss after step 0; -1 if nothing is measured yet."""
        losses = self.held_out["loss"][1:]
        return 1 + losses.index(min(losses)) if losses else -1

    @property
    def best_step(self) -> int:
        """The step of that measurement, or -1."""
        return int(self.held_out["step"][self.best]) if self.best > 0 else -1

    @property
    def best_loss(self) -> float | None:
        """Its nats per token."""
        return self.held_out["loss"][self.best] if self.best > 0 else None

    @property
    def best_bits(self) -> float | None:
        """Its bits per byte, where the loss is that of a text."""
        bits = self.held_out["bits_per_byte"]
        return bits[self.best] if self.best > 0 and bits else None
