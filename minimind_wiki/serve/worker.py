"""One thread runs the model; everybody else waits for its tokens without blocking.

A step of the model holds its thread for milliseconds to seconds. In the event loop it would stop
every other client, so a thread of its own takes it, and is the only one that touches the engines:
they need no lock, and may share weights. Between two steps it does what was posted meanwhile: take
a request, cancel one. Tokens go back to the loop in one batch a step.

    asyncio                                      the thread
    stream = await worker.submit(...)  --post--> engine.add
    async for choice, token in stream  <--tell-- engine.step
    stream.cancel()                    --post--> engine.cancel

A step that fails takes the whole batch with it: the requests in it end with an error, the engine is
thrown away and made anew, and the next request finds a server that works.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.request import Request, Token
from minimind_wiki.serve.errors import broken, busy, stopping, too_slow
from minimind_wiki.serve.metrics import Metrics

log = logging.getLogger("minimind.serve")
CRASHED = "the engine of %r failed; its requests end and it is made anew"
T = TypeVar("T")
Event = tuple[int, Token] | MinimindError


class Engine(Protocol):
    """What the worker needs of `infer.engine.Engine`."""

    @property
    def busy(self) -> bool: ...
    def add(self, request: Request) -> int: ...
    def step(self) -> Iterable[tuple[int, Token]]: ...
    def cancel(self, number: int) -> None: ...


class Stream:
    """The tokens of one call, as they are drawn: `async for choice, token in stream`.

    Ends when every choice has finished, or raises the error that ended it. What waits in it is
    bounded by the call's `max_new_tokens`, so a client that reads slowly holds up nobody.
    """

    def __init__(self, choices: int, seconds: float, cancel: Callable[[Stream], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.admitted: asyncio.Future[None] = self.loop.create_future()
        self.left = choices
        self.began, self.seconds = time.monotonic(), seconds
        self.until = self.loop.time() + seconds
        self._cancel = cancel

    def cancel(self) -> None:
        """Free everything that the call holds; harmless when it has ended."""
        self._cancel(self)

    async def __aiter__(self) -> AsyncIterator[tuple[int, Token]]:
        while self.left:
            try:
                async with asyncio.timeout_at(self.until):
                    event = await self.events.get()
            except TimeoutError:
                self.cancel()
                raise too_slow(self.seconds) from None
            if isinstance(event, MinimindError):
                raise event
            if event[1].finish == "error":
                self.cancel()  # the other choices
                raise broken(event[1].error) if event[1].error else broken()
            self.left -= event[1].finish is not None
            yield event


@dataclass(frozen=True, slots=True)
class _Work:
    """A request that an engine has, and since when its next token is awaited."""

    stream: Stream
    choice: int
    since: float
    begun: bool = False


class Worker:
    """The engines of a server by the name of their model, and the thread that runs them."""

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Engine]],
        metrics: Metrics,
        most: int = 128,
        seconds: float = 300.0,
    ) -> None:
        """`most` requests wait or are drawn at a time, each for at most `seconds`."""
        self._makers, self._metrics = dict(makers), metrics
        self._most, self._seconds = most, seconds
        self._engines = {name: make() for name, make in makers.items()}  # an error shows at start
        self._work: dict[tuple[str, int], _Work] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._held = 0  # requests taken and not ended; under _wake
        self._closing = self._ended = False
        self._took = 1.0  # seconds of a request, a running mean
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # ---- called in the event loop

    @property
    def healthy(self) -> bool:
        """Whether a request would be answered."""
        alive = self._thread.is_alive() and not self._closing
        return alive and self._engines.keys() == self._makers.keys()

    async def submit(self, name: str, requests: Sequence[Request]) -> Stream:
        """Give the engine `name` requests, which are the choices of one call, all or none.

        Raises `Refused` (429, 503) at once, and WrongCall for what the engine can never run.
        """
        if len(requests) > self._most:
            raise WrongCall(f"one call may ask for {self._most} answers, not {len(requests)}.")
        self._hold(len(requests))
        stream = Stream(len(requests), self._seconds, self._cancel)
        self._post(lambda: self._admit(name, requests, stream))
        try:
            await stream.admitted
        except asyncio.CancelledError:
            stream.cancel()
            raise
        return stream

    async def call(self, function: Callable[[], T]) -> T:
        """Have the thread compute `function()` between two steps (embeddings)."""
        self._hold(1)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            value: T | None = None
            error: MinimindError | None = None
            try:
                value = function()
            except MinimindError as wrong:
                error = wrong
            except Exception:
                log.exception("a call of the model failed")
                error = broken()
            self._release(1)
            self._tell(loop, lambda: _settle(result, value, error))

        self._post(job)
        return await result

    async def close(self, grace: float) -> None:
        """Take nothing new, give what is at work `grace` seconds, end the rest with an error."""
        self._closing = True
        until = time.monotonic() + grace
        while self._held and time.monotonic() < until and self._thread.is_alive():
            await asyncio.sleep(0.02)

        def end() -> None:
            for name in self._makers:
                self._fail(name, stopping)
            self._ended = True

        self._post(end)
        await asyncio.to_thread(self._thread.join, 5.0)  # a step that hangs is left to the system
        await asyncio.sleep(0)  # the last errors reach their streams

    def _hold(self, many: int) -> None:
        with self._wake:
            if self._closing or not self._thread.is_alive():
                raise stopping()
            if self._held + many > self._most:
                raise busy(max(1, round(self._took)))
            self._held += many
        self._metrics.at_work.set(self._held)

    def _post(self, job: Callable[[], None]) -> None:
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()

    def _cancel(self, stream: Stream) -> None:
        self._post(lambda: self._drop(stream))

    # ---- in the thread

    def _run(self) -> None:
        while not self._ended:
            with self._wake:
                while not self._jobs and not any(e.busy for e in self._engines.values()):
                    self._wake.wait()
                jobs = list(self._jobs)
                self._jobs.clear()
            for job in jobs:
                job()
            for name, engine in list(self._engines.items()):
                if engine.busy:
                    self._step(name, engine)

    def _admit(self, name: str, requests: Sequence[Request], stream: Stream) -> None:
        numbers: list[int] = []
        error: MinimindError | None = None
        try:
            engine = self._engines.get(name) or self._make(name)
            try:
                for request in requests:
                    numbers.append(engine.add(request))
            except MinimindError as wrong:  # the engine says why it can never run
                for number in numbers:
                    engine.cancel(number)
                error = wrong
        except Exception:
            log.exception(CRASHED, name)
            self._crash(name)
            error = broken()
        if error:
            self._release(len(requests))
        else:
            for choice, number in enumerate(numbers):
                self._work[name, number] = _Work(stream, choice, stream.began)
            self._metrics.prompt_tokens.inc(sum(len(request.prompt) for request in requests))
        self._tell(stream.loop, lambda: _settle(stream.admitted, None, error))

    def _step(self, name: str, engine: Engine) -> None:
        try:
            drawn = list(engine.step())
        except Exception:
            log.exception(CRASHED, name)
            self._crash(name)
            return
        now = time.monotonic()
        events: dict[Stream, list[Event]] = {}
        for number, token in drawn:
            work = self._work.get((name, number))
            if work is None:
                continue
            events.setdefault(work.stream, []).append((work.choice, token))
            clock = self._metrics.next_token if work.begun else self._metrics.first_token
            clock.observe(now - work.since)
            if token.finish:
                self._end(name, number, token.finish)
            else:
                self._work[name, number] = replace(work, since=now, begun=True)
        self._metrics.new_tokens.inc(len(drawn))
        self._send(events)

    def _drop(self, stream: Stream) -> None:
        for name, number in [key for key, work in self._work.items() if work.stream is stream]:
            if (name, number) in self._work:  # a crash on the way has ended all of them
                self._end(name, number, "cancelled")
                try:
                    self._engines[name].cancel(number)
                except Exception:
                    log.exception(CRASHED, name)
                    self._crash(name)

    def _crash(self, name: str) -> None:
        """End what was at work in an engine that failed, and make a new one."""
        self._metrics.crashes.inc()
        self._engines.pop(name, None)  # its cache is freed before the next one takes memory
        self._fail(name, broken)
        try:
            self._make(name)
        except Exception:  # the next request tries again; /health tells
            log.exception("the engine of %r cannot be made", name)

    def _make(self, name: str) -> Engine:
        self._engines[name] = self._makers[name]()
        return self._engines[name]

    def _fail(self, name: str, error: Callable[[], MinimindError]) -> None:
        events: dict[Stream, list[Event]] = {}
        for owner, number in [key for key in self._work if key[0] == name]:
            events[self._work[owner, number].stream] = [error()]
            self._end(owner, number, "failed")
        self._send(events)

    def _end(self, name: str, number: int, how: str) -> None:
        work = self._work.pop((name, number))
        self._metrics.ended.labels(how).inc()
        self._took += 0.1 * (time.monotonic() - work.stream.began - self._took)
        self._release(1)

    def _release(self, many: int) -> None:
        with self._wake:
            self._held -= many
        self._metrics.at_work.set(self._held)

    def _send(self, events: Mapping[Stream, Sequence[Event]]) -> None:
        """Hand a step's tokens over: one call into the loop, not one a token."""

        def put() -> None:
            for stream, some in events.items():
                for event in some:
                    stream.events.put_nowait(event)

        for stream in events:
            self._tell(stream.loop, put)
            break

    def _tell(self, loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # a loop that is closed has nobody who waits
            loop.call_soon_threadsafe(what)


def _settle(future: asyncio.Future[Any], value: Any, error: MinimindError | None) -> None:
    if future.done():  # its client left
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
