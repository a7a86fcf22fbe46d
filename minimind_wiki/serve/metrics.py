"""What Prometheus may ask: how many, how fast, how full. No text of a request is ever a label."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one server. A registry of its own, so that two servers do not add up."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def histogram(name: str, about: str) -> Histogram:
            return Histogram(f"minimind_{name}", about, buckets=SECONDS, registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"minimind_{name}", about, labels, registry=registry)

        self.answers = counter("answers", "Answers by route and status", "route", "status")
        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts taken to work")
        self.new_tokens = counter("new_tokens", "Tokens drawn")
        self.ended = counter("ended", "Requests by how they ended", "how")
        self.crashes = counter("engine_crashes", "Steps that failed; the engine was made anew")
        self.hangs = counter("engine_hangs", "Steps that did not come back; their thread was left")
        self.proposed = counter("draft_tokens_proposed", "Tokens that were guessed ahead")
        self.accepted = counter("draft_tokens_accepted", "Guessed tokens that stood")
        self.at_work = Gauge("minimind_at_work", "Requests waiting or drawn", registry=registry)
        self.first_token = histogram("first_token_seconds", "From the request to its first token")
        self.next_token = histogram("next_token_seconds", "Between two tokens of a request")

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


class Count:
    """ASGI middleware: counts answers by route and status. An unknown path is "other": a label of
    its own for each would let a stranger fill the memory."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.answers.labels(route, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)
