"""Ctrl-C and SIGTERM as a wish, not a blow: the step in progress is finished and kept."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def until_signal() -> Iterator[Callable[[], bool]]:
    """Gives a function that is True after Ctrl-C or SIGTERM; a second Ctrl-C stops at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals reach the main thread only
        return

    def note(number: int, frame: object) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)
        # not print(): the signal may have come in the middle of one, which Python refuses to nest
        with suppress(OSError):  # nobody may be listening any more
            os.write(2, b"\nStopping after this step; press Ctrl-C again to stop at once.\n")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
