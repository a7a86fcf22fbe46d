"""Who may ask and how much: keys, names, sizes, and what an error tells."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi.testclient import TestClient
from serve_double import HTTP, Play, Running, serving

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.serve.app import create_app
from minimind_wiki.serve.security import Key, Limits, check_host, read_key

SECRET = "correct-horse-battery"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    with serving({"m": Play().served()}, Key(SECRET), body_bytes=2000, body_seconds=0.5) as server:
        yield server


def post(server: Running, key: str | None, **fields: Any) -> Any:
    headers = {} if key is None else {"Authorization": key}
    return HTTP.post(server.url + CHAT, json={**BODY, **fields}, headers=headers)


@pytest.mark.parametrize(
    "key", [None, "", "Bearer", f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer ü",
            f"Bearer {SECRET[:-1]}", f"Bearer {SECRET.upper()}"],
)  # fmt: skip
def test_without_the_key_nothing_is_answered(locked: Running, key: str | None) -> None:
    answer = post(locked, None if key is None else key.encode("latin-1"))  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key" and SECRET not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_key_all_is_and_health_is_without(locked: Running) -> None:
    assert post(locked, f"Bearer {SECRET}").status_code == 200
    assert HTTP.get(f"{locked.url}/health").status_code == 200
    for path in ("/metrics", "/v1/models", "/openapi.json", "/nothing"):
        assert HTTP.get(locked.url + path).status_code == 401


def test_no_log_holds_the_key(locked: Running, caplog: Any, capfd: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        post(locked, f"Bearer {SECRET}")
        post(locked, f"Bearer {SECRET}x")
    out = capfd.readouterr()
    assert SECRET not in caplog.text + out.out + out.err
    assert SECRET not in repr(Key(SECRET)) and SECRET not in str(vars(Key(SECRET)))


def test_a_large_body_is_refused_said_or_not(locked: Running) -> None:
    key = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    large = b'{"model": "' + b"m" * 3000 + b'"}'
    for content in (large, iter([large[:1500], large[1500:]])):  # with a length, and in chunks
        answer = HTTP.post(locked.url + CHAT, content=content, headers=key)
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"


def test_a_slow_body_is_not_waited_for(locked: Running) -> None:
    host, port = locked.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {SECRET}\r\n"
        client.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_server_without_a_key_answers_to_its_own_name_alone() -> None:
    with serving({"m": Play().served()}) as server:
        for host, status in (("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:9", 200),
                             ("evil.example", 403), ("127.0.0.1.evil.example", 403)):  # fmt: skip
            answer = HTTP.post(server.url + CHAT, json=BODY, headers={"Host": host})
            assert answer.status_code == status, host


def test_other_machines_are_let_in_by_a_key_alone(tmp_path: Path, capsys: Any) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"):
        check_host(host, None)
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.org", ""):
        check_host(host, Key("k"))
        with pytest.raises(WrongCall, match="--api-key-file"):
            check_host(host, None)
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 2
    assert "MINIMIND_API_KEY" in capsys.readouterr().err


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    environment = {"MINIMIND_API_KEY": "two"}
    from_file, from_environment = read_key(file, environment), read_key(None, environment)
    assert from_file is not None and from_file.matches("one") and not from_file.matches("two")
    assert from_environment is not None and from_environment.matches("two")
    assert read_key(None, {}) is None
    for text in ("", "two words", "a\nb", "ü"):
        file.write_text(text)
        with pytest.raises(WrongCall) as caught:
            read_key(file, {})
        assert not text or text not in str(caught.value)
    with pytest.raises(WrongCall):  # set and empty is a mistake, not a server without a key
        read_key(None, {"MINIMIND_API_KEY": ""})
    with pytest.raises(MinimindError, match="cannot be read"):
        read_key(tmp_path / "nothing", {})


def test_no_site_may_call_unless_it_is_named() -> None:
    page = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    for origins, allowed in (((), None), (("https://page.example",), "https://page.example")):
        app = create_app({"m": Play().served()}, origins=origins)
        with TestClient(app, base_url="http://localhost") as client:
            headers = client.options(CHAT, headers=page).headers
            assert headers.get("access-control-allow-origin") == allowed
            other = client.get("/health", headers={"Origin": "https://other.example"})
            assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 1900, b'{"model": NaN}',
                b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
                b'{"model": "m", "\\ud800": 1, "messages": [{"\\ud800": 1}]}',
                b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 1e999}',
                b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "top_p": NaN}'],
)  # fmt: skip
def test_strange_bodies_are_the_clients_fault(locked: Running, content: bytes) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    answer = HTTP.post(locked.url + CHAT, content=content, headers=headers)
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_a_mistake_of_ours_is_not_told(capfd: Any) -> None:
    class Broken:
        def encode(self, text: str, specials: bool = False) -> list[int]:
            raise RuntimeError("secret /home/someone")

        eos_id, bos_id, special_ids = 1, 2, {"<|im_start|>": 2, "<|im_end|>": 1}

    with serving({"m": Play().served()}) as server:
        server.desk.models["m"] = Play(tokenizer=Broken()).served()
        answer = HTTP.post(server.url + CHAT, json=BODY)
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["message"] == "Internal error."
    assert "secret" in capfd.readouterr().err  # the log of the server has it


def test_limits_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(WrongCall, match="new_tokens"):
        create_app({"m": Play().served()}, limits=Limits(new_tokens=0))


def test_metrics_have_no_label_that_a_stranger_chooses() -> None:
    before = threading.active_count()
    with serving({"m": Play().served()}) as server:
        for number in range(3):
            assert HTTP.get(f"{server.url}/strange/{number}").status_code == 404
        text = HTTP.get(f"{server.url}/metrics").text
        assert 'minimind_answers_total{route="other",status="404"} 3.0' in text
        assert "strange" not in text
    assert threading.active_count() <= before  # the worker's thread has ended with the server
