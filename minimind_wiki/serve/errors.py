"""What a client is told when a request fails: OpenAI's form, a sentence of ours, nothing else.

The text of an exception may hold paths, prompts or keys, so only sentences that were written for
a client (`Refused`, `WrongCall`) leave the server; every other error is logged here and is called
"internal error" there.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from minimind_wiki.errors import MinimindError, WrongCall

log = logging.getLogger("minimind.serve")

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


class Refused(MinimindError):
    """A request that is not answered, or not to its end: status, and a code for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON of the answer.

        >>> Refused(404, "No such model.", "model_not_found").body()["error"]["type"]
        'invalid_request_error'
        """
        return error_body(self.status, str(self), self.code, self.param)


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def busy(seconds: int) -> Refused:
    """The queue is full. `Retry-After` is a guess from what requests took lately."""
    return Refused(
        429,
        f"The server is at work on as many requests as it takes; try again in {seconds} s.",
        "queue_full",
        headers={"Retry-After": str(seconds)},
    )


def stopping() -> Refused:
    """The server shuts down. Another replica may answer, so a client may try again."""
    return Refused(
        503, "The server is shutting down.", "shutting_down", headers={"Retry-After": "1"}
    )


def broken(why: str = "the model failed while it answered; try again.") -> Refused:
    """The engine failed under this request, or says in a sentence why it cannot go on."""
    return Refused(500, why[:1].upper() + why[1:], "engine_failed")


def hung() -> Refused:
    """A step did not come back. The server goes on without it, or another replica may answer."""
    return Refused(
        503,
        "The model did not come back from a step; try again.",
        "engine_hung",
        headers={"Retry-After": "1"},
    )


def too_slow(seconds: float) -> Refused:
    """The time of a request is over. `x-should-retry` keeps OpenAI's client from trying again."""
    return Refused(
        504,
        f"The answer took longer than the {seconds:g} s that this server gives a request.",
        "timeout",
        headers={"x-should-retry": "false"},
    )


def handle_errors(app: FastAPI) -> None:
    """Every error in OpenAI's form. What we did not write for a client is not told to one."""

    @app.exception_handler(MinimindError)
    async def ours(request: HttpRequest, error: MinimindError) -> Response:
        if isinstance(error, WrongCall):  # the engine's: a sentence on what was asked of it
            error = Refused(400, str(error))
        if not isinstance(error, Refused):
            log.error("a request failed", exc_info=error)
            error = Refused(500, "Internal error.")
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: HttpRequest, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        where = where.encode(errors="replace").decode()[:200]  # a name may be no Unicode text
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        return JSONResponse(error_body(400, message, "invalid_request", where or None), 400)

    @app.exception_handler(HTTPException)
    async def http(request: HttpRequest, error: HTTPException) -> Response:
        body = error_body(error.status_code, str(error.detail))
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def other(request: HttpRequest, error: Exception) -> Response:
        return JSONResponse(error_body(500, "Internal error."), 500)
