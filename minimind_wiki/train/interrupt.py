"""Ctrl-C and SIGTERM as a wish, not a blow: the step in progress is finished and kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from minimind_wiki.train.report import Report


@contextmanager
def until_signal(report: Report) -> Iterator[Callable[[], bool]]:
    """Gives a function that is True after Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread only
        return

    def note(number: int, frame: object) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)
        report.line("Stopping after this step; press Ctrl-C again to stop at once.")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
