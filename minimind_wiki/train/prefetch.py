"""The next batches, made by a thread while the model computes.

A feed is a pure function of the step, so a batch made early is the batch made in time. One thread
makes them one after the other; feeds keep small caches that two threads would disturb.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from minimind_wiki.train.batches import Tokens


class Prefetch:
    """`at(step)` is `make(step)`, and the `ahead` steps after it are begun, up to step `last`.

    What `make` raises is raised by `at` of the same step: not earlier, and not lost.
    """

    def __init__(self, make: Callable[[int], Tokens | None], last: int, ahead: int = 2) -> None:
        self.make, self.last, self.ahead = make, last, ahead
        self.pool = ThreadPoolExecutor(1, "batches")
        self.coming: dict[int, Future[Tokens | None]] = {}

    def at(self, step: int) -> Tokens | None:
        """The batch of a step; waits for it if need be."""
        if not self.ahead:
            return self.make(step)
        for number in range(step, min(step + 1 + self.ahead, self.last)):
            if number not in self.coming:
                self.coming[number] = self.pool.submit(self.make, number)
        return self.coming.pop(step).result()

    def close(self) -> None:
        """End the thread, after the batch it is at; forget the others."""
        self.pool.shutdown(wait=True, cancel_futures=True)
