"""A function over many items in several processes, in order, with little in memory.

The function is sent to each process once, when it starts: a tokenizer with its vocabulary is far
larger than the batches that follow. At most two batches for each process are in the air, so a slow
reader of the results holds back the work instead of filling memory.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from minimind_wiki.errors import MinimindError

Item = TypeVar("Item")
Result = TypeVar("Result")

_job: list[Callable[[Any], Any]] = []  # of this process


def _start(function: Callable[[Any], Any]) -> None:
    _job[:] = [function]


def _batch(items: list[Any]) -> list[Any]:
    return [_job[0](item) for item in items]


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, batch: int = 256
) -> Iterator[Result]:
    """`map(function, items)`, the same for any number of workers.

    With one worker everything happens here, item by item. With more, the function must be one that
    can be sent to a process, and so must items and results. Processes are spawned, as forking a
    program with threads (torch, tokenizers) may hang. MinimindError when one of them dies.

    >>> list(ordered_map(abs, [-2, 1]))
    [2, 1]
    """
    if workers <= 1:
        yield from map(function, items)
        return
    source, waiting = iter(items), deque[Future[list[Result]]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (function,)) as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (part := list(islice(source, batch))):
                    waiting.append(pool.submit(_batch, part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise MinimindError(
                "a worker process ended without an answer: the system killed it, most often "
                "because memory ran out. What is written stays; give the same command again, "
                "with fewer --workers if memory is short."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
