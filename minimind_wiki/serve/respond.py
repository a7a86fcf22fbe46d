"""Sending an answer: whole, or as server-sent events; and noticing that the client has left.

A client that leaves says nothing: its connection is gone. So while an answer is made, another task
waits for the end of the connection, and whichever comes first ends the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from minimind_wiki.serve.errors import Refused, error_body
from minimind_wiki.serve.reply import Reply
from minimind_wiki.serve.schema import Drawing
from minimind_wiki.serve.stream import Stream

log = logging.getLogger("minimind.serve")
T = TypeVar("T")


async def respond(request: HttpRequest, body: Drawing, reply: Reply, stream: Stream) -> Response:
    """The answer as a stream of events, or whole when it is there."""
    if body.stream:
        return EventStream(events(reply, stream, body.include_usage), stream)

    async def whole() -> Response:
        async for choice, token in stream:
            for _ in reply.take(choice, token):
                pass
        return JSONResponse(reply.whole())

    try:
        return await unless_gone(request.receive, whole()) or Response(status_code=499)
    finally:
        stream.cancel()


async def events(reply: Reply, stream: Stream, usage: bool) -> AsyncIterator[str]:
    """Server-sent events, `data: [DONE]` the last of them, also after an error."""
    try:
        for chunk in reply.first():
            yield _event(chunk)
        async for choice, token in stream:
            for chunk in reply.take(choice, token):
                yield _event(chunk)
        if usage:
            yield _event(reply.last())
    except Refused as refused:
        yield _event(refused.body())
    except Exception:
        log.exception("a stream failed")
        yield _event(error_body(500, "Internal error."))
    yield "data: [DONE]\n\n"


def _event(chunk: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


class EventStream(StreamingResponse):
    """A stream of events that frees its requests at once, however it ends."""

    def __init__(self, content: AsyncIterator[str], stream: Stream) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # no proxy may wait
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self.stream_response(send))
        finally:
            self._stream.cancel()


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None, and `work` cancelled, if the client leaves before."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        task.cancel()
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
