"""What the guide on serving shows: transcripts are what is said, clients do what they say."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

import openai
from serve_double import HTTP, Play, Running, serving

from minimind_wiki.serve.security import Limits
from minimind_wiki.verbs import serve

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "snippets" / "serving"


def snippet(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"serving_{name}", PLACE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny() -> Iterator[Running]:
    args = argparse.Namespace(model=ROOT / "models" / "world-tiny", name=None, device="cpu",
                              dtype="auto", room=2048)  # fmt: skip
    with serving(serve.served_models(args, {})) as running:
        yield running


def test_the_talk_is_what_is_said(tiny: Running, capsys: Any) -> None:
    talk = snippet("talk")
    with talk.connect(f"{tiny.url}/v1") as client:
        print([model.id for model in client.models.list()])
        for part in (talk.continue_text, talk.fill_in, talk.show_doubts):
            part(client)
    assert capsys.readouterr().out == (PLACE / "talk.txt").read_text(encoding="utf-8")


def test_the_events_are_what_is_sent(tiny: Running) -> None:
    command = (PLACE / "ask.sh").read_text(encoding="utf-8")
    body = re.search(r"--data '(.*?)'", command, re.DOTALL)
    url = re.search(r"http://127.0.0.1:8000(\S+)", command)
    assert body is not None and url is not None
    answer = HTTP.post(tiny.url + url[1], json=json.loads(body[1]))

    def plain(text: str) -> str:
        return re.sub(r'"id": "[^"]+", "created": \d+', '"id": "…", "created": 0', text).strip()

    assert plain(answer.text) == plain((PLACE / "ask.txt").read_text(encoding="utf-8"))


def script(prompt: str) -> str:
    if prompt.endswith("<think>\n"):
        return "Two and two.\n</think>\n\nFour.<|im_end|>"
    if prompt.count("<tool_response>") == 2:
        return "It is 5.<|im_end|>"
    name = "add" if "error" in prompt.split("<tool_response>")[-1] else "subtract"
    call = {"name": name, "arguments": {"a": 2, "b": 3}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call><|im_end|>"


def test_calls_are_answered_from_an_allow_list_and_thoughts_are_apart() -> None:
    tools, play = snippet("tools"), Play(script=script)
    with serving({"m": play.served()}) as server:
        url = f"{server.url}/v1"
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            messages: list[Any] = [{"role": "user", "content": "What is 2 + 3?"}]
            assert tools.ask(client, "m", messages) == "It is 5."
            answers = [row["content"] for row in messages if row["role"] == "tool"]
            assert answers == ["error: KeyError('subtract')", "5"]
            assert tools.think(client, "m", "2 + 2?") == ("Two and two.", "Four.")
            with pytest.raises(RuntimeError, match="after 1 turns"):
                tools.ask(client, "m", [{"role": "user", "content": "2 + 3?"}], turns=1)


def test_the_proxy_lets_through_what_the_server_does(tmp_path: Path) -> None:
    told = (PLACE / "nginx.conf").read_text(encoding="utf-8")
    waits = re.search(r"proxy_read_timeout (\d+)s", told)
    body = re.search(r"client_max_body_size (\d+)m", told)
    assert waits is not None and int(waits[1]) > Limits().seconds
    assert body is not None and int(body[1]) << 20 == Limits().body_bytes
    if nginx := shutil.which("nginx"):
        command = [nginx, "-t", "-p", tmp_path, "-c", PLACE / "nginx.conf"]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert "syntax is ok" in checked.stderr
