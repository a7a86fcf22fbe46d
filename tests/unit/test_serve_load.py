"""The load's clients see what the server does, and a lost or mixed token is noticed."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from serve_double import Play, serving

from minimind_wiki.serve.load import Seen, ask, load, load_apart, told
from minimind_wiki.serve.trial import Wanted


def body(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "prompt": text, **fields}


def echo() -> Play:
    return Play(script=lambda prompt: f"{prompt} " * 9 + "<|im_end|>")


def test_each_client_gets_its_own_answer_with_its_times() -> None:
    bodies = [body(f"word{n}") for n in range(12)]
    with serving({"m": echo().served()}) as server:
        host = server.url.removeprefix("http://")
        for seen in (load(host, bodies, 4), load_apart(host, bodies[:2], 2)):
            for number, one in enumerate(seen):
                text = f"word{number} " * 9
                assert Wanted(text, True).fits(one) and one.tokens == len(text) + 1
                assert one.times == sorted(one.times) and one.asked < one.times[0]
                assert len(one.times) == len(text) and not one.told_to_wait


def test_who_is_refused_waits_and_asks_again() -> None:
    gate = threading.Event()
    play = Play(gate=gate)
    with serving({"m": play.served()}, at_once=1) as server:
        host = server.url.removeprefix("http://")
        first = threading.Thread(target=ask, args=(host, body("a")))
        first.start()
        threading.Timer(0.5, gate.set).start()
        while not play.at_work:
            time.sleep(0.01)
        seen = ask(host, body("b"))
        first.join(10)
    assert seen.told_to_wait[0] >= 1 and Wanted("Hello!", True).fits(seen)


def test_a_failure_is_told_and_not_waited_for() -> None:
    with serving({"m": Play().served()}) as server:
        host = server.url.removeprefix("http://")
        broken = ask(host, body("BREAK"))
        assert broken.finish in ("500", "engine_failed") and not broken.text
        assert ask(host, {**body("x"), "model": "other"}).finish == "404"
    gone = ask(host, body("x"))
    assert gone.finish.startswith("connection") and not gone.ended


@pytest.mark.parametrize(
    ("text", "finish", "ended", "whole", "fits"),
    [("one two", "stop", True, True, True), ("one tw", "stop", True, True, False),
     ("one two one", "stop", True, True, False), ("one two", "", True, True, False),
     ("one two", "stop", False, True, False), ("one two, then", "length", True, False, True),
     ("one three", "length", True, False, False)],
)  # fmt: skip
def test_what_fits(text: str, finish: str, ended: bool, whole: bool, fits: bool) -> None:
    seen = Seen(0.0, text, finish=finish, ended=ended)
    assert Wanted("one two", whole).fits(seen) == fits


def test_the_figures() -> None:
    seen = [Seen(1.0, "", [1.5, 1.6, 1.7], tokens=3), Seen(1.0, "", [2.0, 2.1, 3.0], tokens=5)]
    figures = told(seen)
    assert figures["first_token_ms_p50"] == pytest.approx(500)
    assert figures["first_token_ms_p99"] == pytest.approx(1000)
    assert figures["next_token_ms_p50"] == pytest.approx(100)
    assert figures["next_token_ms_p99"] == pytest.approx(900)
    assert figures["tokens_per_second"] == pytest.approx(8 / 2)
