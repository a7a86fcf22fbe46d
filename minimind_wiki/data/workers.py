"""A function over many items in several processes, in order, with little in memory.

The function is sent to each process once, when it starts: a tokenizer with its vocabulary is far
larger than the batches that follow. At most two batches for each process are in the air, so a slow
reader of the results holds back the work instead of filling memory.

Each process has a pipe of its own, and a thread here that waits at it. In a ProcessPoolExecutor all
share one: a worker that is killed in the middle of an answer leaves half of it there, the others
keep the pipe open, and everyone waits for the rest for ever. A pipe of one's own just ends.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from minimind_wiki.errors import MinimindError

Item = TypeVar("Item")
Result = TypeVar("Result")


def _answer(function: Callable[[Any], Any], line: Connection) -> None:
    """What a process does: answer batches until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    with suppress(EOFError, BrokenPipeError):  # he has finished, or was killed
        while True:
            items, error = line.recv(), None
            try:
                results = [function(item) for item in items]
            except Exception as raised:  # noqa: BLE001  # the one who asks raises it again
                results, error = [], raised
            line.send((results, error))


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
    idle = SimpleQueue[Connection]()
    lines = []
    for _ in range(workers):
        line, far_end = context.Pipe()
        context.Process(target=_answer, args=(function, far_end), daemon=True).start()
        far_end.close()  # the process has the only one now, so that it ends with the process
        lines.append(line)
        idle.put(line)

    def ask(part: list[Item]) -> list[Result]:
        line = idle.get()
        try:
            line.send(part)
            results, error = line.recv()
        except (EOFError, OSError) as lost:
            raise MinimindError(
                "a worker process ended without an answer: the system killed it, most often "
                "because memory ran out. What is written stays; give the same command again, "
                "with fewer --workers if memory is short."
            ) from lost
        finally:
            idle.put(line)
        if error is not None:
            raise error
        return results

    with ThreadPoolExecutor(workers, "ask") as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (part := list(islice(source, batch))):
                    waiting.append(pool.submit(ask, part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for line in lines:
                line.close()
