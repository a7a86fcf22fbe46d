"""The server as a process: an open port, and an end that cuts nobody off without a word."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from minimind_wiki.errors import MinimindError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. MinimindError where that fails."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MinimindError(
            f"cannot listen on {host}, port {port} ({reason}); choose another with --port."
        ) from error
    return opened


class Server(uvicorn.Server):
    """uvicorn, whose shutdown tells the worker first.

    By itself it waits for the streams and then cuts those that are left; so the worker ends them
    with an error event, within the app's grace, before that. A second Ctrl+C waits for nothing.
    """

    def __init__(
        self, app: FastAPI, ready: Callable[[], None] | None = None, log_level: str = "info"
    ) -> None:
        self.desk, self.ready = app.state.desk, ready
        grace = self.desk.limits.grace
        super().__init__(
            uvicorn.Config(
                app,
                log_level=log_level,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=int(grace) + 5,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.ready is not None:
            self.ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end. Where steps hang, another process must go on."""
        return await super().on_tick(counter) or self.desk.worker.gave_up

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.create_task(self.desk.worker.close(self.desk.limits.grace))
        await super().shutdown(sockets)
        if self.force_exit:
            ending.cancel()
        else:
            await ending
