"""The server against its own OpenAPI: generated requests, right and wrong, and what must hold.

No request may end in a server's error, each answer must have the status, the type and the shape
that the OpenAPI tells, and a body that breaks the schema must be refused. Bounded and without
chance: the same requests in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serve_double import HTTP, Play, Running, serving

PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models",
         "/v1/models/{name}", "/health", "/metrics"]  # fmt: skip
BOUNDED = settings(
    max_examples=15, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    play = Play(lambda _: "Hällo.<|im_end|>")
    with serving({"m": play.served(embed=lambda ids: [1.0, 2.0])}) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: Running) -> Any:
    return schemathesis.openapi.from_dict(HTTP.get(f"{server.url}/openapi.json").json())


def test_every_path_is_described(described: Any) -> None:
    assert sorted(described) == sorted(PATHS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_server_keeps_its_own_contract(
    described: Any, server: Running, path: str, mode: str
) -> None:
    method = "POST" if path in PATHS[:3] else "GET"
    statuses = set()

    @BOUNDED
    @given(described[path][method].as_strategy(generation_mode=GenerationMode(mode)))
    def check(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = "m"  # else every body ends at an unknown name
        response = case.call(base_url=server.url)
        statuses.add(response.status_code)
        # rules between fields are not in a schema: a tool is chosen that was not offered
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    if mode == "negative" and method == "GET":
        return  # nothing to do wrong
    check()
    if mode == "positive" and path != "/v1/models/{name}":
        assert 200 in statuses
