"""What a call waits for: its tokens, as they are drawn, from the thread that draws them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.request import Token
from minimind_wiki.serve.errors import broken, too_slow

Event = tuple[int, Token] | MinimindError


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
