"""Who may ask, and how much: a key, limits, and what stands before every request.

Safe by default: the server listens on this machine alone, and refuses to start for others without
a key. Even alone it asks for the name under which it was called: a web page on another site can
point its own name at 127.0.0.1 (DNS rebinding) and would then speak with a server that has no key.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.serve.errors import Refused

KEY_VARIABLE = "MINIMIND_API_KEY"
OPEN_ROUTES = ("/health",)  # a load balancer asks without a key


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all of them, may take."""

    body_bytes: int = 1 << 20
    prompt_tokens: int = 1 << 20
    """Besides the model's own context."""
    new_tokens: int = 4096
    seconds: float = 300.0
    body_seconds: float = 20.0
    """How long a body may take to arrive; a slow one would hold a connection for nothing."""
    at_once: int = 128
    """Requests at work and waiting; more are told to come back (429)."""
    step_seconds: float = 120.0
    """A step of the model that takes longer hangs: it is given up, and so are its requests."""
    grace: float = 10.0
    """Seconds that streams may go on after the server was told to stop."""

    def validate(self) -> None:
        """WrongCall for a limit that lets nothing through."""
        for name in self.__slots__:
            if getattr(self, name) <= 0 and name != "grace":
                raise WrongCall(f"{name} is {getattr(self, name)}; give more than 0.")


class Key:
    """The key of the server. Only its hash is kept, so that no log and no error can show it."""

    def __init__(self, text: str) -> None:
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise WrongCall("the API key must be one word of printable ASCII characters.")
        self._digest = sha256(text.encode()).digest()

    def matches(self, given: str) -> bool:
        """Compared in constant time: how much of a wrong key is right must not be measurable.

        >>> Key("open-sesame").matches("open-sesamf")
        False
        """
        digest = sha256(given.encode("utf-8", "replace")).digest()
        return hmac.compare_digest(digest, self._digest)


def read_key(file: Path | None, environment: Mapping[str, str]) -> Key | None:
    """The key in `file`, else in MINIMIND_API_KEY, else None.

    MinimindError for a file that cannot be read, WrongCall for a key that is none; neither tells
    what was in it.
    """
    if file is None:
        text = environment.get(KEY_VARIABLE)
        return None if text is None else Key(text.strip())
    try:
        return Key(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        raise MinimindError(
            f"the key file {file} cannot be read; give a text file that holds the key alone."
        ) from None


def is_local(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_host(host: str, key: Key | None) -> None:
    """WrongCall for a server that others reach and that has no key."""
    if key is None and not is_local(host):
        raise WrongCall(
            f"--host {host} lets other machines in, so an API key is needed: write one into a file "
            f"and give --api-key-file FILE, or set {KEY_VARIABLE}."
        )


class Gate:
    """ASGI middleware: checks the name, the key and the size before a request is looked at.

    The body is read here to its end, within `body_seconds`, so that what comes after has it whole
    and whoever waits for more from the client waits for its leaving alone.
    """

    def __init__(self, app: ASGIApp, key: Key | None, limits: Limits) -> None:
        self.app, self.key, self.limits = app, key, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except Refused as refused:
            # what is left of a body that was not read must not be taken for the next request
            headers = refused.headers | {"Connection": "close"}
            await JSONResponse(refused.body(), refused.status, headers)(scope, receive, send)
            return
        if body is None:
            return  # the client left before it had asked
        first: Message | None = {"type": "http.request", "body": body, "more_body": False}

        async def replay() -> Message:
            nonlocal first
            message, first = first, None
            return message or await receive()

        await self.app(scope, replay, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self.key is None:
            if not is_local(_host_name(headers.get("host", ""))):
                raise Refused(403, "This server answers to localhost alone.", "wrong_host")
        elif scope["path"] not in OPEN_ROUTES:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not self.key.matches(given.strip()):
                raise Refused(
                    401,
                    "The API key is missing or wrong; send it as 'Authorization: Bearer KEY'.",
                    "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        most = self.limits.body_bytes
        too_large = Refused(413, f"The body is larger than {most:,} bytes.", "body_too_large")
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:20]) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, "The body did not arrive in time.", "body_too_slow") from None


def _host_name(host: str) -> str:
    """The Host header without its port; of "[::1]:80" the address.

    >>> _host_name("localhost:8000"), _host_name("[::1]:8000"), _host_name("::1")
    ('localhost', '::1', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]
