"""Times of several jobs on a busy machine: they take turns, and the quickest of each counts."""

import time
from collections.abc import Callable, Hashable, Mapping


def quickest(jobs: Mapping[Hashable, Callable[[], object]], rounds: int) -> dict[Hashable, float]:
    """Seconds of each job: the least of `rounds` turns, after one that is not counted.

    What else runs on the machine only ever adds time, and the turns spread it over all jobs.
    """
    best = {}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            took = time.perf_counter() - started
            if turn:
                best[name] = min(took, best.get(name, took))
    return best
