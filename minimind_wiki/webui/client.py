"""The page's way to the model: OpenAI's protocol over HTTP, and no other.

So whatever speaks this protocol can stand behind the page, and what the page shows any client gets.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx

from minimind_wiki.errors import MinimindError

PATIENCE = httpx.Timeout(10, read=330)  # the server itself ends an answer after 300 s


class Declined(MinimindError):
    """The server did not answer, or not to the end. `status` is 0 where there was no server."""

    def __init__(self, message: str, status: int = 0, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Server:
    """A server at `url` (without /v1). `key` is sent with every request if there is one."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(headers=headers, timeout=PATIENCE)

    def models(self) -> dict[str, int]:
        """The tokens of context by the name of each model; 0 where the server does not tell."""
        try:
            response = self.http.get(f"{self.url}/v1/models")
            if response.status_code != 200:
                raise declined(response)
            cards = response.json()["data"]
            return {str(card["id"]): int(card.get("max_model_len") or 0) for card in cards}
        except httpx.HTTPError as error:
            raise self.gone() from error
        except (ValueError, KeyError, TypeError) as error:
            raise Declined(f"{self.url} is no server of OpenAI's protocol.") from error

    def gone(self) -> Declined:
        """What to say where nothing answers."""
        return Declined(f"There is no answer from {self.url}; is the server running?")


class Answer:
    """One streamed answer: `for chunk in answer`. Whoever stops reading frees its place at once."""

    def __init__(self, server: Server, body: Mapping[str, Any]) -> None:
        self.server, self.stopped = server, False
        self.body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        self._socket: socket.socket | None = None

    def __iter__(self) -> Generator[dict[str, Any]]:
        """The chunks; none comes after a stop. Declined for an error, before or within them."""
        url = f"{self.server.url}/v1/chat/completions"
        try:
            with self.server.http.stream("POST", url, json=self.body) as response:
                stream = response.extensions["network_stream"]
                self._socket = stream.get_extra_info("socket")
                if response.status_code != 200:
                    response.read()
                    raise declined(response)
                for chunk in chunks(response.iter_bytes()):
                    if self.stopped:  # perhaps before there was a socket to shut
                        return
                    if "error" in chunk:
                        raise Declined(chunk["error"]["message"], response.status_code,
                                       chunk["error"].get("code"))  # fmt: skip
                    yield chunk
        except httpx.HTTPError as error:
            if not self.stopped:
                raise self.server.gone() from error
        finally:
            self._socket = None  # it may serve the next request

    def stop(self) -> None:
        """End it, from any thread. `close` would not wake the thread that reads; this does."""
        self.stopped = True
        reading = self._socket
        if reading is not None:
            with suppress(OSError):  # it has ended by itself
                reading.shutdown(socket.SHUT_RDWR)


def chunks(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON of server-sent events, however the network cuts them.

    Only an empty line ends an event: `str.splitlines` also cuts at U+2028 and others, which a model
    may say.

    >>> list(chunks(iter([b'data: {"a": "b', b'"}' + bytes([10, 10]) + b'data: [DONE]'])))
    [{'a': 'b'}]
    """
    waiting = b""
    for piece in pieces:
        *events, waiting = (waiting + piece).split(b"\n\n")
        for event in events:
            data = event.removeprefix(b"data:").strip()
            if event.startswith(b"data:") and data != b"[DONE]":
                yield json.loads(data)


def declined(response: httpx.Response) -> Declined:
    """Why a request was refused, in the server's own words where it has some."""
    try:
        error = response.json()["error"]
        return Declined(str(error["message"]), response.status_code, error.get("code"))
    except (ValueError, KeyError, TypeError):
        return Declined(f"The server answered with HTTP status {response.status_code}.",
                        response.status_code)  # fmt: skip
