"""The curves of a run for TensorBoard and Weights & Biases, beside what the terminal shows.

Both are optional packages. Each curve has one name in both: train/loss, train/learning_rate,
train/gradient_norm, held_out/loss, held_out/bits_per_byte, exam/SECTION, speed/…

Weights & Biases sends nothing anywhere unless its own settings say so: without WANDB_MODE a run is
written to the folder only (offline), and `wandb sync FOLDER` uploads it later.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from minimind_wiki.errors import MinimindError, WrongCall, unknown

KINDS = ("tensorboard", "wandb")


class Logger(Protocol):
    """Where numbers of a run go."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name, after `step` optimizer steps."""

    def text(self, step: int, name: str, text: str) -> None:
        """A text, such as a sample."""

    def close(self) -> None:
        """Write what is still kept back."""


class TensorBoard:
    """Event files in the folder; look at them with `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("tensorboard") from error
        # what an interrupted run wrote after its last checkpoint, or one that failed before its
        # first, is hidden, not shown twice
        self.writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        indented = "\n".join("    " + line for line in text.splitlines())  # as code: not markdown
        self.writer.add_text(name, indented, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of `wandb`; its name is the run folder's, and a resumed run goes on with its own."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb") from error
        folder.mkdir(parents=True, exist_ok=True)
        name = folder.resolve().parent.name
        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        settings = wandb.Settings(
            mode=mode, silent=True, disable_git=True,
            save_code=False, console="off",
        )  # fmt: skip
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "minimind"), name=name, id=identity,
            resume="allow", dir=str(folder), config=dict(about), settings=settings,
        )  # fmt: skip

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        import wandb

        table = wandb.Table(["step", "text"], [[step, text]])
        self.run.log({name: table}, step=step)

    def close(self) -> None:
        self.run.finish()


def missing(name: str) -> MinimindError:
    """The error for an optional package that is not installed."""
    return MinimindError(
        f"--log-to {name} needs the package {name}, which is not installed: pip install {name}, or "
        "leave --log-to out."
    )


def chosen(log_to: str) -> list[str]:
    """The kinds that a setting such as 'tensorboard,wandb' names. WrongCall for an unknown one.

    >>> chosen("tensorboard, wandb"), chosen("")
    (['tensorboard', 'wandb'], [])
    """
    kinds = [kind.strip() for kind in log_to.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("logger", kind, KINDS)
    return kinds


def make_loggers(
    log_to: str, out: Path | None, about: Mapping[str, Any], step: int = 0
) -> list[Logger]:
    """The loggers that `log_to` names, in folders below `out`; `step`: where a run goes on."""
    kinds = chosen(log_to)
    if kinds and out is None:
        raise WrongCall("log_to needs a run folder to write to; give --out.")
    found: list[Logger] = []
    for kind in kinds:
        assert out is not None
        folder = out / "logs" / kind
        found.append(
            TensorBoard(folder, step) if kind == "tensorboard" else WeightsAndBiases(folder, about)
        )
    return found
