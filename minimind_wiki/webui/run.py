"""The page on a port, and the model's server beside it in the same process.

Streamlit gives its app as an ASGI application, so uvicorn serves both, and what stands before the
page is ours: it answers to its own name alone, and forbids the browser every other origin.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minimind_wiki.errors import MinimindError
from minimind_wiki.serve.run import Server, listen
from minimind_wiki.serve.security import is_local

PAGE = Path(__file__).with_name("page.py")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


class Guard:
    """ASGI middleware: no other site's name for this server, nothing from another origin.

    A site can point its own name at 127.0.0.1 and speak with what listens there (DNS rebinding),
    so a page for this machine alone refuses names that are not this machine's.
    """

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        if scope["type"] in ("http", "websocket") and not self._meant(Headers(scope=scope)):
            refuse = PlainTextResponse("This page answers to its own name alone.", 403)
            await refuse(scope, receive, send)
        else:
            await self.app(scope, receive, guarded)

    def _meant(self, headers: Headers) -> bool:
        """Called by a name of this machine, and not from another site's page."""
        host = headers.get("host", "")
        named = not self.local or is_local(host.rpartition(":")[0] or host)
        origin = headers.get("origin")  # browsers tell it of all that could do something
        return named and (origin is None or urlsplit(origin).netloc == host)


@contextmanager
def beside(app: FastAPI) -> Iterator[str]:
    """Serve the model in a thread, on a free port of this machine; gives its address."""
    started = threading.Event()
    server = Server(app, started.set, log_level="warning")
    opened = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    try:
        if not started.wait(60):
            raise MinimindError("the model's server did not start; the lines above say why.")
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def show(settings: Mapping[str, Any], host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve the page until a signal comes. `ready` is told the port.

    `settings` are what the page reads: server (its address), key, ask (whether a
    reader must know the key), tools, system, stock.
    """
    opened = listen(host, port)
    app = st.App(PAGE, secrets={"minimind": dict(settings)},
                 middleware=[Middleware(Guard, local=is_local(host))])  # fmt: skip
    config = uvicorn.Config(app, log_level="warning", access_log=False,
                            server_header=False, ws="websockets-sansio",
                            timeout_graceful_shutdown=5)  # fmt: skip

    class Shown(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready(opened.getsockname()[1])

    Shown(config).run(sockets=[opened])
