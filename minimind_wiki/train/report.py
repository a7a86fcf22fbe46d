"""What a run says while it runs: a progress bar on a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Protocol


class Report(Protocol):
    """Where the loop tells what happens. All texts are one line, or a sample."""

    def line(self, text: str) -> None:
        """Print one message."""

    def start(self, total: int, done: int) -> None:
        """Steps in all, and how many a resumed run has behind it."""

    def step(self, step: int, loss: float, speed: float, left: float) -> None:
        """After each step: the batch's loss in nats/token, tokens/s, seconds left."""

    def stop(self) -> None:
        """The last step is done; take the bar away."""


class Quiet:
    """Says nothing. For experiments and tests."""

    def line(self, text: str) -> None: ...

    def start(self, total: int, done: int) -> None: ...

    def step(self, step: int, loss: float, speed: float, left: float) -> None: ...

    def stop(self) -> None: ...


class Lines(Quiet):
    """Plain lines, at most one progress line in ten seconds and at least one a tenth of the run."""

    def __init__(self, every_seconds: float = 10.0) -> None:
        self.every_seconds, self.total, self.told = every_seconds, 1, time.monotonic()

    def line(self, text: str) -> None:
        print(text, flush=True)

    def start(self, total: int, done: int) -> None:
        self.total = total

    def step(self, step: int, loss: float, speed: float, left: float) -> None:
        tenth = step % max(1, self.total // 10) == 0
        if tenth or time.monotonic() - self.told >= self.every_seconds:
            self.told = time.monotonic()
            self.line(f"step {step:,}/{self.total:,}  loss {loss:.3f}  {speed:,.0f} tokens/s  "
                      f"{clock(left)} left")  # fmt: skip


class Bar(Quiet):
    """A rich progress bar below the lines."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("step {task.completed:,}/{task.total:,}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[now]}"),
            transient=True,
        )
        self.task = self.progress.add_task("train", total=1, now="", visible=False)

    def line(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def start(self, total: int, done: int) -> None:
        self.progress.update(self.task, total=total, completed=done, visible=True)
        self.progress.start()

    def step(self, step: int, loss: float, speed: float, left: float) -> None:
        now = f"loss {loss:.3f}  {speed:,.0f} tokens/s  {clock(left)} left"
        self.progress.update(self.task, completed=step, now=now)

    def stop(self) -> None:
        self.progress.stop()


def make_report() -> Report:
    """The bar if standard output is a terminal, else plain lines."""
    return Bar() if sys.stdout.isatty() else Lines()


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours from the first hour on.

    >>> clock(75), clock(3671)
    ('1:15', '1:01:11')
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def printable(text: str) -> str:
    """`text` without control characters: a model's bytes must not steer the reader's terminal.

    >>> printable("a" + chr(27) + "[2J" + chr(10))
    'a·[2J\\n'
    """
    controls = ("Cc", "Cf", "Cs", "Co")
    return "".join(c if c == "\n" or unicodedata.category(c) not in controls else "·" for c in text)
