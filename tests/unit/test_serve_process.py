"""`minimind serve` as a process of its own: a shipped model, a trained adapter, and its end.

What streams when a signal comes is finished if that takes no longer than `--grace`, and else ended
with an error event; either way the process ends with status 0 and the port is free.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("openai")

import openai
from serve_double import HTTP

from minimind_wiki.cli import main
from minimind_wiki.infer import generate, load_model_folder

ROOT = Path(__file__).parents[2]
NANO = ROOT / "models" / "world-nano"
SECRET = "a-key-of-the-test"
TALK: Any = {"model": "world-nano", "prompt": "Once upon a time", "stream": True, "temperature": 0,
             "logit_bias": {"2": -100}}  # fmt: skip  # never the end of the text


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA that has learned for four steps."""
    out = tmp_path_factory.mktemp("lora") / "run"
    words = ["sft", "--model", NANO, "--data", "world/instructions", "--out", out, "--steps", 4,
             "--batch-size", 2, "--context-length", 128, "--lora-rank", 2, "--learning-rate", 0.05,
             "--gold-items", 0, "--exam-items", 0, "--eval-windows", 1,
             "--device", "cpu", "--threads", 1]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return out / "adapter"


@dataclass
class Process:
    made: subprocess.Popen[str]
    port: int
    names: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def end(self) -> tuple[int, str]:
        """Its status, once it has ended by itself, and what it said."""
        _, told = self.made.communicate(timeout=60)
        return self.made.returncode, told

    def port_is_free(self) -> bool:
        with socket.socket() as other:  # as a server opens it: connections may linger
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", self.port))
            return True


@contextmanager
def started(*words: Any, **environment: str) -> Iterator[Process]:
    """`minimind serve` with these words, once it says that it listens."""
    command = [sys.executable, "-m", "minimind_wiki", "serve", NANO, "--port", 0, *words]
    made = subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        # what runs in the background begins with Ctrl-C ignored, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert made.stdout is not None
        line = made.stdout.readline()
        assert line.startswith("Serving "), made.communicate(timeout=60)[1]
        names, _, place = line.removeprefix("Serving ").partition(" at ")
        yield Process(made, int(place.split(":")[2].split("/")[0]), names)
    finally:
        made.kill()
        made.communicate()


def stopped_while_streaming(server: Process, body: dict[str, Any], number: int) -> list[str]:
    """The lines of a stream during which a signal came after the first piece."""
    lines = []
    with HTTP.stream("POST", f"{server.url}/completions", json=body) as response:
        for line in response.iter_lines():
            if line:
                if not lines:
                    server.made.send_signal(number)
                lines.append(line.removeprefix("data: "))
    return lines


def said(folder: Path, tokens: int) -> str:
    model, tokenizer = load_model_folder(folder, "cpu", torch.float32)
    ids = tokenizer.encode("Once upon a time")
    new = generate(model, torch.tensor([ids]), tokens, 0.0)[0, len(ids) :].tolist()
    return tokenizer.decode(new)


def test_an_adapter_is_chosen_by_name_and_sigterm_lets_a_stream_end(adapter: Path) -> None:
    with started("--adapter", f"poet={adapter}", "--grace", 60) as server:
        assert server.names == "world-nano, poet"
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["world-nano", "poet"]
            told = {}
            for name, folder in (("world-nano", NANO), ("poet", adapter)):
                told[name] = client.completions.create(
                    model=name, prompt="Once upon a time", max_tokens=12, temperature=0
                ).choices[0].text  # fmt: skip
                assert told[name] == said(folder, 12)
            assert told["poet"] != told["world-nano"]
        body = {**TALK, "max_tokens": 300, "stream_options": {"include_usage": True}}
        lines = stopped_while_streaming(server, body, signal.SIGTERM)
        status, log = server.end()
        usage, done = lines[-2:]
        assert done == "[DONE]" and json.loads(usage)["usage"]["completion_tokens"] == 300
        assert json.loads(lines[-3])["choices"][0]["finish_reason"] == "length"
        assert status == 0 and log.endswith("Stopped.\n") and "Traceback" not in log
        assert server.port_is_free()


def test_ctrl_c_ends_a_long_stream_with_an_error(tmp_path: Path) -> None:
    with started("--grace", 0, MINIMIND_API_KEY=SECRET) as server:
        assert HTTP.get(f"{server.url}/models").status_code == 401
        HTTP.headers["Authorization"] = f"Bearer {SECRET}"
        try:
            body = {**TALK, "max_tokens": 1000, "n": 16}
            lines = stopped_while_streaming(server, body, signal.SIGINT)
        finally:
            del HTTP.headers["Authorization"]
        status, log = server.end()
        assert lines[-1] == "[DONE]" and json.loads(lines[-2])["error"]["code"] == "shutting_down"
        assert status == 0 and log.endswith("Stopped.\n") and "Traceback" not in log
        assert SECRET not in log and server.port_is_free()
