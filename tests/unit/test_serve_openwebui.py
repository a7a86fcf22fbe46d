"""A session as Open WebUI plays it: through its own backend, and straight from a browser.

Facts from its sources (backend/open_webui/routers/openai.py): a connection is checked by asking for
the models with the key; a chat is streamed with `stream_options.include_usage`, `reasoning` and
whatever its page sent along; the last message may be a list of parts with `cache_control`; titles
and tags are asked for in one piece; an error within a stream is an event with `error` in it. A
direct connection asks from the browser's page (docs.openwebui.com, "Direct Connections").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from serve_double import HTTP, Play, Running, serving

from minimind_wiki.serve.security import Key

SECRET = "sk-of-the-test"
PAGE = "https://chat.example"
BEARER = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
SENT_ALONG = {
    "chat_id": "c1", "id": "m1", "session_id": "s1", "features": {"web_search": False}, "files": [],
    "variables": {"{{USER_NAME}}": "Ada"}, "background_tasks": {"title_generation": True},
    "user": {"name": "Ada", "id": "u1"}, "reasoning": {"effort": "low"}, "store": False,
    "parallel_tool_calls": True, "top_logprobs": None, "tools": None, "stop": [],
}  # fmt: skip
TOOL = {"type": "function",
        "function": {"name": "get_weather", "description": "Tells it.", "strict": True,
                     "parameters": {"type": "object", "properties": {"place": {}}}}}  # fmt: skip
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"place": "Bree"}}\n</tool_call>'


def script(prompt: str) -> str:
    if "BREAK" in prompt or "title" in prompt:
        return '{"title": "Rain"}<|im_end|>'
    if "<tool_response>" in prompt:
        return "It rains.<|im_end|>"
    return (CALL if "<tools>" in prompt else "Good day!") + "<|im_end|>"


@pytest.fixture(scope="module")
def play() -> Play:
    return Play(script=script)


@pytest.fixture(scope="module")
def server(play: Play) -> Iterator[Running]:
    models = {"tiny": play.served(), "poet": Play().served()}
    with serving(models, Key(SECRET), origins=(PAGE,)) as running:
        yield running


def post(server: Running, **fields: Any) -> Any:
    url = f"{server.url}/v1/chat/completions"
    return HTTP.post(url, headers=BEARER, json={"model": "tiny", **fields})


def streamed(server: Running, **fields: Any) -> list[Any]:
    more = {"stream": True, "stream_options": {"include_usage": True}}
    answer = post(server, **SENT_ALONG | more | fields)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, done = [line for line in answer.text.split("\n\n") if line]
    assert done == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_connection_is_checked_by_its_models(server: Running) -> None:
    answer = HTTP.get(f"{server.url}/v1/models", headers=BEARER)
    models = answer.json()["data"]
    assert [model["id"] for model in models] == ["tiny", "poet"]
    assert all(model["object"] == "model" and model["owned_by"] for model in models)
    without = HTTP.get(f"{server.url}/v1/models")
    assert without.status_code == 401 and without.json()["error"]["message"]


def test_a_chat_of_several_turns_with_all_that_is_sent_along(server: Running, play: Play) -> None:
    parts = [{"type": "text", "text": "How is "}, {"type": "text", "text": "it?",
             "cache_control": {"type": "ephemeral"}}]  # fmt: skip
    messages: Any = [
        {"role": "developer", "content": "Be short."}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello.", "tool_calls": None, "name": "tiny"},
        {"role": "user", "content": parts},
    ]  # fmt: skip
    *chunks, last = streamed(server, messages=messages, temperature=1, max_tokens=100)
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == "Good day!" and chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in chunks) and last["choices"] == []
    assert last["usage"]["completion_tokens"] == len("Good day!") + 1
    assert "<|im_start|>system\nBe short.<|im_end|>" in play.prompts[-1]
    assert "<|im_start|>user\nHow is it?<|im_end|>" in play.prompts[-1]


def test_a_title_is_asked_for_in_one_piece(server: Running) -> None:
    ask: Any = [{"role": "user", "content": "Give this chat a title."}]
    body = {"messages": ask, "stream": False, "metadata": {"task": "title_generation"}}
    whole = post(server, **body, max_completion_tokens=1000).json()
    assert whole["choices"][0]["message"]["content"] == '{"title": "Rain"}'
    cut = post(server, **body, max_completion_tokens=3, max_tokens=9).json()
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 3  # the newer name wins


def test_a_tool_is_called_by_its_backend(server: Running) -> None:
    messages: Any = [{"role": "user", "content": "Does it rain?"}]
    tools = {"tools": [TOOL], "tool_choice": "auto"}
    *chunks, _ = streamed(server, messages=messages, **tools)
    calls: dict[int, Any] = {}
    for chunk in chunks:  # put together by their index, as Open WebUI does
        for call in chunk["choices"][0]["delta"].get("tool_calls", []):
            calls.setdefault(call["index"], call)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(calls[0]["function"]["arguments"]) == {"place": "Bree"}
    messages += [
        {"role": "assistant", "content": None, "tool_calls": list(calls.values())},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"},
    ]  # fmt: skip
    *chunks, _ = streamed(server, messages=messages, **tools)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "It rains."


def test_what_the_model_cannot_do_is_said(server: Running) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    answer = post(server, messages=[{"role": "user", "content": [picture]}])
    assert answer.status_code == 400 and answer.json()["error"]["message"]
    *_, last = streamed(server, messages=[{"role": "user", "content": "BREAK"}])
    assert last["error"]["code"] == "engine_failed"


def test_a_page_of_an_allowed_site_may_call_and_no_other(server: Running) -> None:
    wanted = "authorization,content-type,x-stainless-os"  # the last is of OpenAI's own client
    for origin, allowed in ((PAGE, True), ("https://other.example", False)):
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": wanted}  # fmt: skip
        before = HTTP.options(f"{server.url}/v1/chat/completions", headers=asks)  # has no key
        assert (before.status_code == 200) == allowed
        assert (before.headers.get("access-control-allow-origin") == origin) == allowed
        models = HTTP.get(f"{server.url}/v1/models", headers={**BEARER, "Origin": origin})
        assert (models.headers.get("access-control-allow-origin") == origin) == allowed
        if allowed:
            assert "x-stainless-os" in before.headers["access-control-allow-headers"]
            assert "Retry-After" in models.headers["access-control-expose-headers"]
    wrong = HTTP.get(f"{server.url}/v1/models", headers={"Origin": PAGE})
    assert wrong.status_code == 401  # and the page may read why
    assert wrong.headers["access-control-allow-origin"] == PAGE
