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

A step that hangs cannot be ended, as no thread can be. A second thread looks after the first: where
a step takes longer than it may, its requests end with an error, its thread and its engine are left
to themselves, and a new thread goes on with a new engine. What the old one still says, if it ever
wakes, nobody hears. That does not mend a machine: after a few such steps the server gives up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.request import Request, Token
from minimind_wiki.serve.errors import broken, busy, hung, stopping
from minimind_wiki.serve.metrics import Metrics
from minimind_wiki.serve.stream import Event, Stream

log = logging.getLogger("minimind.serve")
CRASHED = "the engine of %r failed; its requests end and it is made anew"
MOST_HANGS = 3
"""Threads that may hang before the server gives up: each keeps its memory, and may be one too many
for what is wrong."""
T = TypeVar("T")


class Engine(Protocol):
    """What the worker needs of `infer.engine.Engine`."""

    proposed: int
    accepted: int

    @property
    def busy(self) -> bool: ...
    def add(self, request: Request) -> int: ...
    def step(self) -> Iterable[tuple[int, Token]]: ...
    def cancel(self, number: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Work:
    """A request that an engine has, and since when its next token is awaited."""

    stream: Stream
    choice: int
    since: float
    begun: bool = False


class _Abandoned(BaseException):
    """Ends a thread that hung, should it ever wake."""


class Worker:
    """The engines of a server by the name of their model, and the thread that runs them."""

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Engine]],
        metrics: Metrics,
        most: int = 128,
        seconds: float = 300.0,
        step_seconds: float = 120.0,
    ) -> None:
        """`most` requests wait or are drawn at a time, each for at most `seconds`. A step that
        takes longer than `step_seconds` hangs."""
        self._makers, self._metrics = dict(makers), metrics
        self._most, self._seconds = most, seconds
        self._engines = {name: make() for name, make in makers.items()}  # an error shows at start
        self._work: dict[tuple[str, int], _Work] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._held = 0  # requests taken and not ended; under _wake
        self._closing = self._ended = False
        self._took = 1.0  # seconds of a request, a running mean
        self._step_seconds = step_seconds
        self._since = 0.0  # when what the thread does now began; 0: nothing that may hang
        self._fails: Callable[[], None] = lambda: None  # ends whoever waits for that
        self._hangs = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    # ---- called in the event loop

    @property
    def healthy(self) -> bool:
        """Whether a request would be answered."""
        alive = self._stands and not self._closing and not self.gave_up
        return alive and self._engines.keys() == self._makers.keys()

    @property
    def _stands(self) -> bool:
        """Whether the thread works or is about to: after a hang, who is told so may ask again
        before the new one has begun."""
        return self._thread.ident is None or self._thread.is_alive()

    @property
    def gave_up(self) -> bool:
        """Whether too many steps hung: only a new process may help."""
        return self._hangs >= MOST_HANGS

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

        def lose() -> None:
            self._release(1)
            self._tell(loop, lambda: _settle(result, None, hung()))

        def job() -> None:
            value: T | None = None
            error: MinimindError | None = None
            try:
                value = self._watched(function, lose)
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
        self._closed.set()
        await asyncio.sleep(0)  # the last errors reach their streams

    def _hold(self, many: int) -> None:
        with self._wake:
            if self._closing or not self._stands:
                raise stopping()
            if self.gave_up:
                raise hung()
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

    # ---- in the thread that looks after it

    def _watch(self) -> None:
        """Look now and then how long the present step takes."""
        while not self._closed.wait(min(1.0, self._step_seconds / 4)):
            with self._wake:
                if not self._since or time.monotonic() - self._since < self._step_seconds:
                    continue
                self._since, self._hangs = 0.0, self._hangs + 1
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
            # from here on the old thread touches nothing, and the new one is not at work yet
            log.error("a step took longer than %g s; its thread is left", self._step_seconds)
            self._metrics.hangs.inc()
            self._fails()
            self._thread.start()

    # ---- in the thread

    def _watched(self, function: Callable[[], T], fails: Callable[[], None]) -> T:
        """`function()`; if it hangs, `fails` is called elsewhere, and this never returns."""
        with self._wake:
            self._since, self._fails = time.monotonic(), fails
        try:
            return function()
        finally:
            with self._wake:
                if threading.current_thread() is not self._thread:
                    raise _Abandoned
                self._since = 0.0

    def _run(self) -> None:
        with suppress(_Abandoned):
            self._work_on()

    def _work_on(self) -> None:
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

        def add() -> None:
            engine = self._engines.get(name) or self._make(name)
            try:
                for request in requests:
                    numbers.append(engine.add(request))
            except MinimindError:
                for number in numbers:
                    engine.cancel(number)
                raise

        def lose() -> None:
            self._release(len(requests))
            self._tell(stream.loop, lambda: _settle(stream.admitted, None, hung()))
            self._lose(name)

        try:
            self._watched(add, lose)
        except MinimindError as wrong:  # the engine says why it can never run
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
            drawn = self._watched(lambda: list(engine.step()), lambda: self._lose(name))
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
        self._metrics.proposed.inc(engine.proposed)
        self._metrics.accepted.inc(engine.accepted)
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
        self._remake(name)

    def _lose(self, name: str) -> None:
        """End what was at work in an engine that hangs; the next thread makes a new one first."""
        self._engines.pop(name, None)
        self._fail(name, hung)
        if not self.gave_up:
            self._jobs.appendleft(lambda: self._remake(name))

    def _remake(self, name: str) -> None:
        try:
            self._watched(lambda: self._make(name), lambda: self._lose(name))
        except Exception:
            log.exception("the engine of %r cannot be made", name)

    def _make(self, name: str) -> Engine:
        if self.gave_up:
            raise hung()
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
