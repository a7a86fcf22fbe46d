"""A bounded load: clients that stream answers side by side, and write down when each piece comes.

    echo '{"host": "127.0.0.1:8000", "clients": 4, "bodies": [...]}' \
        | python -m minimind_wiki.serve.load

They are a process of their own: in the server's they would take its time, as one interpreter runs
one thread at a time. Each client takes the next body until none is left, so that as many requests
are under way as there are clients. Who is told to come back (429) waits as long as the server says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from http.client import HTTPConnection
from typing import Any

from minimind_wiki.errors import MinimindError

PATIENCE = 100  # tries
Body = Mapping[str, Any]


@dataclass(slots=True)
class Seen:
    """What a client saw of one request. Times are seconds of one clock."""

    asked: float
    text: str = ""
    times: list[float] = field(default_factory=list)
    """When each piece of text came."""
    told_to_wait: list[int] = field(default_factory=list)
    """`Retry-After` of each 429, in seconds."""
    finish: str = ""
    """The server's `finish_reason`; else what it failed with."""
    tokens: int = 0
    ended: bool = False
    """Whether `[DONE]` came."""


def ask(host: str, body: Body) -> Seen:
    """Stream one answer of /v1/completions; a refusal is waited out."""
    seen = Seen(time.perf_counter())
    more = {"stream": True, "stream_options": {"include_usage": True}}
    for _ in range(PATIENCE):
        connection = HTTPConnection(host, timeout=300)
        try:
            connection.request("POST", "/v1/completions", json.dumps({**body, **more}),
                               {"Content-Type": "application/json"})  # fmt: skip
            response = connection.getresponse()
            if response.status == 200:
                _read(response, seen)
                return seen
            seen.finish = str(response.status)
            if response.status != 429:
                return seen
            seen.told_to_wait.append(int(response.headers["Retry-After"]))
        except OSError as error:
            seen.finish = f"connection: {error}"
            return seen
        finally:
            connection.close()
        time.sleep(seen.told_to_wait[-1])
    return seen


def _read(lines: Any, seen: Seen) -> None:
    """The events of a stream, as they come."""
    for line in lines:
        data = line.decode().strip().removeprefix("data: ")
        if data == "[DONE]":
            seen.ended = True
        elif data:
            event = json.loads(data)
            if "error" in event:
                seen.finish = event["error"]["code"] or event["error"]["type"]
                continue
            for choice in event["choices"]:
                if choice["text"]:
                    seen.times.append(time.perf_counter())
                    seen.text += choice["text"]
                seen.finish = choice["finish_reason"] or seen.finish
            if event.get("usage"):
                seen.tokens = event["usage"]["completion_tokens"]


def load(host: str, bodies: Sequence[Body], clients: int) -> list[Seen]:
    """What became of each body, in their order."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(partial(ask, host), bodies))


def load_apart(host: str, bodies: Sequence[Body], clients: int) -> list[Seen]:
    """`load` in another process. MinimindError where that fails."""
    job = json.dumps({"host": host, "clients": clients, "bodies": bodies})
    words = [sys.executable, "-m", "minimind_wiki.serve.load"]
    done = subprocess.run(words, input=job, capture_output=True, text=True)
    if done.returncode:
        raise MinimindError(f"the clients failed: {done.stderr.strip()[-500:]}")
    return [Seen(**row) for row in json.loads(done.stdout)]


def shares(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99: the smallest value that so many per cent are not above.

    >>> shares([n / 100 for n in range(1, 101)])
    {'p50': 0.5, 'p95': 0.95, 'p99': 0.99}
    """
    ordered = sorted(seconds)
    return {f"p{p}": ordered[-(-p * len(ordered) // 100) - 1] for p in (50, 95, 99)}


def told(seen: Sequence[Seen]) -> dict[str, float]:
    """The figures of a run: milliseconds to the first piece and between pieces, tokens a second."""
    first = shares([s.times[0] - s.asked for s in seen if s.times] or [float("nan")])
    gaps = [b - a for s in seen for a, b in zip(s.times, s.times[1:], strict=False)]
    between = shares(gaps or [float("nan")])
    took = max(t for s in seen for t in (s.asked, *s.times)) - min(s.asked for s in seen)
    return {
        **{f"first_token_ms_{name}": 1000 * value for name, value in first.items()},
        **{f"next_token_ms_{name}": 1000 * value for name, value in between.items()},
        "tokens_per_second": sum(s.tokens for s in seen) / took,
    }


def main() -> None:
    """Read a job, be its clients, write what they saw."""
    print(json.dumps([asdict(seen) for seen in load(**json.load(sys.stdin))]))


if __name__ == "__main__":
    main()
