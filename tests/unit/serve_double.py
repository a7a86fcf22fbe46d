"""Stands in for the engine where a test decides what a model says, how fast, and when it breaks.

It has the form of `infer.engine.Engine` and says what a script tells it to, a token a step for each
request, in the order of their coming.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.request import Request, Token
from minimind_wiki.serve.app import create_app
from minimind_wiki.serve.desk import Served
from minimind_wiki.serve.run import Server, listen
from minimind_wiki.serve.security import Key, Limits
from minimind_wiki.tokenizer.bytes import ByteTokenizer

# one for all tests: to make one takes a tenth of a second
HTTP = httpx.Client(verify=False, timeout=20)
Script = Callable[[str], str]
FOREVER = "." * 100_000


@dataclass
class Play:
    """What a test decides, and what it may look at afterwards. It outlives a crashed engine."""

    script: Script = lambda prompt: "Hello!<|im_end|>"
    tokenizer: Any = field(default_factory=ByteTokenizer)
    gate: threading.Event | None = None
    """A step waits for it."""
    break_on: str = "BREAK"
    """A step fails while a prompt has this in it."""
    hang_on: str = "HANG"
    """A step does not come back while a prompt has this in it, before `woken`."""
    woken: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    prompts: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    at_work: dict[int, Any] = field(default_factory=dict)
    unmakeable: bool = False

    def served(self, context: int = 4096, **fields: Any) -> Served:
        return Served(lambda: DoubleEngine(self), self.tokenizer, context, **fields)


class DoubleEngine:
    proposed = accepted = 0

    def __init__(self, play: Play) -> None:
        if play.unmakeable:
            raise RuntimeError("no memory")
        play.made += 1
        play.at_work.clear()
        self.play = play
        self.added = 0

    @property
    def busy(self) -> bool:
        return bool(self.play.at_work)

    def add(self, request: Request) -> int:
        play, tokenizer = self.play, self.play.tokenizer
        prompt = tokenizer.decode(list(request.prompt), specials=True)
        if "UNFIT" in prompt:
            raise WrongCall("this prompt does not fit; shorten it.")
        play.prompts.append(prompt)
        play.requests.append(request)
        self.added += 1
        said = tokenizer.encode(play.script(prompt), specials=True)
        play.at_work[self.added] = (request, prompt, said, [], 0)
        return self.added

    def cancel(self, number: int) -> None:
        if self.play.at_work.pop(number, None):
            self.play.cancelled.append(number)

    def step(self) -> Iterator[tuple[int, Token]]:
        play = self.play
        time.sleep(0.001)  # a model lets other threads go on while it computes
        if play.gate is not None:
            play.gate.wait(20)
        if any(play.break_on in prompt for _, prompt, *_ in play.at_work.values()):
            raise RuntimeError("secret: /home/someone/weights")
        if any(play.hang_on in prompt for _, prompt, *_ in play.at_work.values()):
            play.woken.wait(30)
            raise RuntimeError("an engine that was left has woken")
        for number, (request, prompt, said, done, shown) in list(play.at_work.items()):
            token = said[len(done)]
            done.append(token)
            finish = "stop" if token in request.stop_ids else None
            text = play.tokenizer.decode(done)
            whole = text.rstrip("\N{REPLACEMENT CHARACTER}")
            ends = [whole.find(stop) for stop in request.stop if stop in whole]
            if ends:
                whole, finish = whole[: min(ends)], "stop"
            elif finish is None:
                waits = [n for stop in request.stop for n in range(1, len(stop))
                         if whole.endswith(stop[:n])]  # fmt: skip
                whole = whole[: len(whole) - max(waits, default=0)]
                if len(done) >= request.max_new_tokens:
                    whole, finish = text, "length"
            if finish:
                del play.at_work[number]
            else:
                play.at_work[number] = (request, prompt, said, done, len(whole))
            scored = request.logprobs is not None
            top = [(token, -0.5), (65, -1.5)][: request.logprobs or 0]
            yield number, Token(token, whole[shown:], -0.5 if scored else None, top, finish)


@dataclass
class Running:
    """A server at work in a thread."""

    url: str
    server: Server
    thread: threading.Thread

    @property
    def desk(self) -> Any:
        return self.server.desk

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server did not stop"


@contextmanager
def serving(
    models: dict[str, Served], key: Key | None = None, origins: Sequence[str] = (), **limits: Any
) -> Iterator[Running]:
    """A server of these models on a free port of this machine."""
    ready = threading.Event()
    app = create_app(models, key, Limits(**{"grace": 2.0, **limits}), origins)
    server = Server(app, ready.set)
    opened = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    assert ready.wait(20), "the server did not start"
    running = Running(f"http://127.0.0.1:{opened.getsockname()[1]}", server, thread)
    try:
        yield running
    finally:
        running.stop()
