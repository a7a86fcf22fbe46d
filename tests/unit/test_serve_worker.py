"""What goes wrong while tokens flow: clients that leave, steps that break, queues, the end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import httpx
from serve_double import FOREVER, HTTP, Play, Running, serving


def ask(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def post(server: Running, body: dict[str, Any]) -> Any:
    return HTTP.post(f"{server.url}/v1/chat/completions", json=body)


def events(response: Any) -> list[Any]:
    lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def soon(true: Callable[[], bool]) -> bool:
    """Wait for it, and give up after ten seconds."""
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    return true()


def endless(**fields: Any) -> Play:
    return Play(script=lambda p: FOREVER if "Forever" in p else "Done.<|im_end|>", **fields)


class Caller(threading.Thread):
    """Streams an answer and keeps what came; `begun` is set at the first piece of text."""

    def __init__(self, server: Running, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.server, self.body = server, body
        self.begun, self.got = threading.Event(), list[Any]()
        self.start()

    def run(self) -> None:
        url = f"{self.server.url}/v1/chat/completions"
        with HTTP.stream("POST", url, json={**self.body, "stream": True}) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    self.got.append(json.loads(line[6:]))
                elif line:
                    self.got.append(line)
                if len(self.got) > 1:
                    self.begun.set()


def test_a_step_that_breaks_ends_its_batch_and_the_server_goes_on() -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6) as server:
        caller = Caller(server, ask("Forever"))
        assert caller.begun.wait(10)
        answer = post(server, ask("BREAK it"))
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "engine_failed"
        assert "secret" not in answer.text and "Traceback" not in answer.text
        caller.join(10)
        *_, error, done = caller.got
        assert error["error"]["type"] == "server_error" and done == "data: [DONE]"
        assert soon(lambda: play.made == 2)  # the errors are told first
        assert post(server, ask()).json()["choices"][0]["message"]["content"] == "Done."
        assert HTTP.get(f"{server.url}/health").status_code == 200
        metrics = HTTP.get(f"{server.url}/metrics").text
        assert "minimind_engine_crashes_total 1.0" in metrics
        assert "minimind_at_work 0.0" in metrics


def test_an_engine_that_cannot_be_made_anew_is_told_and_tried_again() -> None:
    play = endless()
    with serving({"m": play.served()}) as server:
        play.unmakeable = True
        assert post(server, ask("BREAK")).status_code == 500
        assert soon(lambda: HTTP.get(f"{server.url}/health").status_code == 503)
        assert post(server, ask()).status_code == 500
        play.unmakeable = False
        assert post(server, ask()).status_code == 200
        assert HTTP.get(f"{server.url}/health").json() == {"status": "ok"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(stream: bool) -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6) as server:
        body = json.dumps(ask("Forever", stream=stream, n=2)).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            assert soon(lambda: len(play.at_work) == 2)
            if stream:
                assert client.recv(1000)
        assert soon(lambda: sorted(play.cancelled) == [1, 2])
        assert soon(lambda: server.desk.worker._held == 0)


def test_a_client_that_leaves_while_it_waits_is_forgotten() -> None:
    """It has no token yet, so nothing was sent on which its leaving could be noticed."""
    play = endless(gate=threading.Event())
    with serving({"m": play.served()}) as server:
        with pytest.raises(httpx.ReadTimeout):
            url = f"{server.url}/v1/chat/completions"
            HTTP.post(url, json=ask("Forever"), timeout=httpx.Timeout(20, read=0.3))
        play.gate.set()
        assert soon(lambda: play.cancelled == [1])


def test_a_full_queue_says_when_to_come_back() -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6, at_once=2, grace=0) as server:
        callers = [Caller(server, ask("Forever")) for _ in range(2)]
        assert all(caller.begun.wait(10) for caller in callers)
        answer = post(server, ask())
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert post(server, ask(n=3)).status_code == 400  # no waiting would help


def test_a_request_has_a_limit_of_time() -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6, seconds=0.3) as server:
        answer = post(server, ask("Forever"))
        assert answer.status_code == 504 and answer.headers["x-should-retry"] == "false"
        assert soon(lambda: play.cancelled == [1])
        caller = Caller(server, ask("Forever"))
        caller.join(10)
        assert caller.got[-2]["error"]["code"] == "timeout" and caller.got[-1] == "data: [DONE]"


def test_a_stop_lets_short_answers_end_and_ends_long_ones_with_an_error() -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6, grace=0.5) as server:
        long = Caller(server, ask("Forever"))
        assert long.begun.wait(10)
        server.stop()
        long.join(10)
        assert long.got[-2]["error"]["code"] == "shutting_down"
        assert long.got[-1] == "data: [DONE]"
    play = endless(gate=threading.Event())
    with serving({"m": play.served()}, grace=10) as server:
        short = Caller(server, ask())
        assert soon(lambda: len(play.at_work) == 1)
        server.server.should_exit = True
        assert soon(lambda: server.desk.worker._closing)
        play.gate.set()
        short.join(10)
        assert short.got[-1] == "data: [DONE]" and "error" not in short.got[-2]
        assert short.got[-2]["choices"][0]["finish_reason"] == "stop"


def test_streams_side_by_side_keep_their_tokens() -> None:
    """Each prompt has an answer of its own; none is lost, none is another's."""
    play = Play(script=lambda p: f"{p.split('Say ')[1].split('<')[0]} " * 20 + "<|im_end|>")
    with serving({"m": play.served()}) as server:
        callers = [Caller(server, ask(f"Say word{n}")) for n in range(16)]
        for n, caller in enumerate(callers):
            caller.join(20)
            pieces = [c["choices"][0]["delta"].get("content", "") for c in caller.got[:-1]]
            assert "".join(pieces) == " ".join([f"word{n}"] * 20)
        assert server.desk.worker._held == 0


def test_a_step_that_hangs_is_left_and_the_server_goes_on() -> None:
    play = endless()
    with serving({"m": play.served(10**6)}, new_tokens=10**6, step_seconds=0.2) as server:
        caller = Caller(server, ask("Forever"))
        assert caller.begun.wait(10)
        answer = post(server, ask("HANG it"))
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "engine_hung"
        caller.join(10)
        assert caller.got[-2]["error"]["code"] == "engine_hung" and caller.got[-1] == "data: [DONE]"
        assert soon(lambda: HTTP.get(f"{server.url}/health").status_code == 200)
        assert play.made == 2
        assert post(server, ask()).json()["choices"][0]["message"]["content"] == "Done."
        play.woken.set()  # what the old thread does now, nobody hears
        assert post(server, ask()).status_code == 200
        assert soon(lambda: [t.name for t in threading.enumerate()].count("engine") == 1)
        metrics = HTTP.get(f"{server.url}/metrics").text
        assert "minimind_engine_hangs_total 1.0" in metrics
        assert "minimind_engine_crashes_total 0.0" in metrics
        assert "minimind_at_work 0.0" in metrics and play.made == 2


def test_who_asks_again_before_the_new_thread_runs_is_answered(monkeypatch) -> None:
    """The error of a hung step comes before the next thread begins, and a client may be quick."""
    play, start = endless(), threading.Thread.start

    def slowly(self: threading.Thread) -> None:
        if self.name == "engine":
            time.sleep(0.5)
        start(self)

    with serving({"m": play.served()}, step_seconds=0.1) as server:
        monkeypatch.setattr(threading.Thread, "start", slowly)
        assert post(server, ask("HANG")).json()["error"]["code"] == "engine_hung"
        again = post(server, ask())
        monkeypatch.undo()
        assert again.status_code == 200, again.text
        play.woken.set()


def test_only_the_engine_that_hangs_is_left() -> None:
    good, bad = endless(), endless()
    models = {"m": good.served(10**6), "n": bad.served()}
    with serving(models, new_tokens=10**6, step_seconds=0.2) as server:
        caller = Caller(server, ask("Forever"))
        assert caller.begun.wait(10)
        assert post(server, {**ask("HANG"), "model": "n"}).status_code == 503
        before = len(caller.got)
        assert soon(lambda: len(caller.got) > before + 5) and (good.made, bad.made) == (1, 2)
        bad.woken.set()


def test_a_call_that_hangs_is_answered() -> None:
    play, woken = endless(), threading.Event()

    def embed(ids: list[int]) -> list[float]:
        if len(ids) > 3:
            woken.wait(30)
        return [1.0]

    with serving({"m": play.served(embed=embed)}, step_seconds=0.2) as server:
        url = f"{server.url}/v1/embeddings"
        hung = HTTP.post(url, json={"model": "m", "input": "a long one"})
        assert hung.status_code == 503
        assert HTTP.post(url, json={"model": "m", "input": "a"}).status_code == 200
        woken.set()
        assert soon(lambda: server.desk.worker._held == 0) and play.made == 1


def test_a_server_whose_steps_hang_again_and_again_ends() -> None:
    play = endless()
    with serving({"m": play.served()}, step_seconds=0.1) as server:
        for _ in range(3):
            assert post(server, ask("HANG")).status_code == 503
        server.thread.join(20)
        assert not server.thread.is_alive() and server.desk.worker.gave_up
        assert not server.desk.worker.healthy
        play.woken.set()
