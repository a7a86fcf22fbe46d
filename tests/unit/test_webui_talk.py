"""The chat page without its pictures: what it asks, how it stops, what it makes of an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from serve_double import FOREVER, Play, Running, serving

from minimind_wiki.serve.security import Key
from minimind_wiki.webui.client import Answer, Declined, Server, chunks
from minimind_wiki.webui.spans import end_of, spans
from minimind_wiki.webui.talk import Talk

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
FIELDS: Any = {"model": "double", "logprobs": True, "top_logprobs": 2}


def script(prompt: str) -> str:
    said = prompt.rpartition("<|im_start|>user\n")[2]
    if "forever" in said:
        return FOREVER
    if prompt.endswith("<think>\n"):
        return "Hm.\n</think>\n\nHm. Yes.<|im_end|>"
    if "<tools>" in prompt and ("loop" in prompt or "<tool_response>" not in said):
        return f"I ask.\n{CALL}<|im_end|>"
    return "line\u2028end\x85 🙂<|im_end|>"


@pytest.fixture
def play() -> Play:
    return Play(script=script)


@pytest.fixture
def server(play: Play) -> Iterator[Running]:
    with serving({"double": play.served(context=200_000)}, new_tokens=100_000) as running:
        yield running


def at_work(server: Running) -> float:
    return float(server.desk.metrics.at_work._value.get())


def until(what: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def answered(talk: Talk, server: Running, **more: Any) -> None:
    """Have an answer, to its end."""
    fields = {**FIELDS, "max_tokens": more.pop("most", 500)}
    for _ in talk.answer(Server(server.url), fields, more.pop("context", 1000), **more):
        pass


def test_events_are_cut_at_empty_lines_alone() -> None:
    raw = 'data: {"a": "x\u2028y\x85z"}\n\n: no data\n\ndata: {"b": 1}\n\ndata: [DONE]\n\n'.encode()
    found = [{"a": "x\u2028y\x85z"}, {"b": 1}]
    assert list(chunks(iter([raw]))) == found
    assert list(chunks(raw[n : n + 1] for n in range(len(raw)))) == found


def test_a_talk_of_several_turns(server: Running, play: Play) -> None:
    talk = Talk()
    for text in ("first", "<|im_end|> second"):
        talk.ask(text)
        assert talk.due
        answered(talk, server, system="Be kind.")
        assert not talk.due and not talk.problem
    assert [turn.content for turn in talk.turns][1::2] == ["line\u2028end\x85 🙂"] * 2
    assert "Be kind." in play.prompts[-1] and play.prompts[-1].count("line\u2028end") == 1
    talk.retry()
    assert [turn.role for turn in talk.turns] == ["user", "assistant", "user"] and talk.due


def test_a_thought_is_kept_apart_and_not_sent_back(server: Running, play: Play) -> None:
    talk = Talk()
    talk.ask("think")
    for _ in talk.answer(Server(server.url), {**FIELDS, "open_thinking": True}, 1000):
        pass
    turn = talk.turns[-1]
    assert (turn.reasoning_content, turn.content) == ("Hm.", "Hm. Yes.")
    assert turn.message() == {"role": "assistant", "content": "Hm. Yes."}


def test_tools_run_and_the_model_reads_what_they_say(server: Running, play: Play) -> None:
    talk, ran = Talk(), []

    def run(name: str, arguments: Any) -> str:
        ran.append((name, arguments))
        return "seven"

    talk.ask("sum")
    answered(talk, server, tools=[TOOL], run=run)
    assert ran == [("add", {"a": 1})]
    assert [turn.role for turn in talk.turns] == ["user", "assistant", "tool", "assistant"]
    assert talk.turns[2].call_id == talk.turns[1].tool_calls[0]["id"] != ""
    assert "seven" in play.prompts[-1] and talk.turns[-1].finish == "stop"

    talk.ask("loop")
    answered(talk, server, tools=[TOOL], run=run)
    assert len(ran) == 1 + 3  # the fourth turn's call is not run
    assert "no call is run" in talk.turns[-1].note and not talk.turns[-1].tool_calls


@pytest.mark.parametrize("waits", [False, True])
def test_a_stop_frees_the_place_at_once(server: Running, play: Play, waits: bool) -> None:
    """Also while no token comes: the thread that waits for one wakes up."""
    talk = Talk()
    talk.ask("forever")
    if waits:
        play.gate = threading.Event()
    thread = threading.Thread(target=answered, args=(talk, server), kwargs={"most": 90_000})
    thread.start()
    until(lambda: at_work(server) == 1 and (waits or len(talk.turns[-1].content) > 3))
    if waits:
        until(lambda: talk._answer is not None and talk._answer._socket is not None)
        time.sleep(0.05)  # it reads
    talk.stop()
    thread.join(2)
    assert not thread.is_alive() and talk.turns[-1].note == "Stopped." and not talk.problem
    if play.gate is not None:
        play.gate.set()  # the step that was under way
    until(lambda: at_work(server) == 0)
    play.gate = None
    talk.ask("next")
    answered(talk, server)
    assert talk.turns[-1].finish == "stop"


def test_who_leaves_in_the_middle_frees_the_place(server: Running) -> None:
    talk = Talk()
    talk.ask("forever")
    with closing(talk.answer(Server(server.url), {"model": "double"}, 0)) as turns:
        next(turns)
        until(lambda: at_work(server) == 1)
    until(lambda: at_work(server) == 0)
    talk.stop()  # Streamlit may end the run that draws before it runs what Stop asks for
    assert talk.turns[-1].note == "Stopped." and not talk.problem


def test_the_oldest_exchange_goes_where_the_context_is_full(play: Play) -> None:
    with serving({"double": play.served(context=300)}) as server:
        talk = Talk()
        for n in range(3):
            talk.ask(f"{n}" * 60)
            answered(talk, server, context=300)
        assert not talk.problem and talk.unsent > 0 and len(talk.turns) == 6
        assert "000" not in play.prompts[-1] and "222" in play.prompts[-1]

        talk.ask("3" * 400)  # alone too long: nothing more can go
        answered(talk, server, context=300)
        assert "tokens" in talk.problem and talk.turns[-1].role == "user"

        talk = Talk()
        talk.ask("forever")
        answered(talk, server, context=300)
        assert talk.turns[-1].note == "Cut: the context of 300 tokens is full."


def test_a_server_that_is_full_or_gone_or_locked_is_told_of(play: Play) -> None:
    play.gate = threading.Event()
    with serving({"double": play.served()}, at_once=1) as server:
        first = iter(Answer(Server(server.url), {**FIELDS, "messages": [
            {"role": "user", "content": "forever"}]}))  # fmt: skip
        next(first)
        talk = Talk()
        talk.ask("next")
        answered(talk, server)
        assert "try again" in talk.problem and [t.role for t in talk.turns] == ["user"]
        first.close()
        play.gate.set()
    with pytest.raises(Declined, match="is the server running"):
        Server(server.url).models()
    talk.retry()
    answered(talk, server)
    assert "is the server running" in talk.problem
    with serving({"double": play.served()}, Key("sesame")) as server:
        with pytest.raises(Declined) as refused:
            Server(server.url).models()
        assert refused.value.status == 401
        assert Server(server.url, "sesame").models() == {"double": 4096}


def test_an_engine_that_breaks_is_told_of(server: Running) -> None:
    talk = Talk()
    talk.ask("BREAK")
    answered(talk, server)
    assert "failed" in talk.problem and "secret" not in talk.problem


# ---- tokens


def token(raw: bytes, logprob: float = -0.5) -> dict[str, Any]:
    return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw),
            "top_logprobs": [{"token": "x", "logprob": -1e-9}]}  # fmt: skip


def test_pieces_are_the_text_whatever_was_drawn_around_it() -> None:
    smile = "🙂".encode()
    raw = [b"Hm.", b"\n", b"</think>", b"\n\n Hm", b". ", smile[:2], smile[2:], b"!", b"  "]
    tokens = [token(piece) for piece in raw]
    text = "Hm. 🙂!"
    found = spans(text, tokens, end_of("Hm.", tokens))
    assert [piece["text"] for piece in found] == ["Hm", ". ", "🙂", "!"]
    assert [len(piece["tokens"]) for piece in found] == [1, 1, 2, 1]
    assert found[0]["tokens"][0]["p"] == pytest.approx(0.6065, abs=1e-4)
    assert found[0]["tokens"][0]["top"] == [["x", pytest.approx(1.0)]]
    assert [p["text"] for p in spans("Hm.", tokens)] == ["Hm."]  # the thought, which comes first


def test_a_text_that_was_not_drawn_so_is_one_piece() -> None:
    assert spans("other", [token(b"text")]) == [{"text": "other", "tokens": []}]
    assert spans("text", []) == [{"text": "text", "tokens": []}]
    assert spans("", []) == []


def test_a_stream_has_a_piece_for_every_token(server: Running) -> None:
    talk = Talk()
    talk.ask("hello")
    answered(talk, server)
    turn = talk.turns[-1]
    pieces = spans(turn.content, turn.tokens)
    assert "".join(piece["text"] for piece in pieces) == turn.content
    assert sum(len(piece["tokens"]) for piece in pieces) == len(turn.content.encode())
