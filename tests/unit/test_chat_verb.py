"""`minimind chat`: what is shown, what is kept, what a model and its tools may do."""

from __future__ import annotations

import io
import json
import signal
import unicodedata

import pytest
import torch
from rich.console import Console

from minimind_wiki.cli import main
from minimind_wiki.data.schemas import check_row
from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate, save_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.reader import Call, Said
from minimind_wiki.infer.request import Sampling, Token
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.chat import control_ids, from_row, render
from minimind_wiki.train.sandbox import Result, Sandbox
from minimind_wiki.verbs._talk import MOST_TURNS, Answered, Note, Talk
from minimind_wiki.verbs.chat import Screen, allowed_tools, obey, until_ctrl_c

BYTES = ByteTokenizer()
ENDS = {control_ids(BYTES)["<|im_end|>"], BYTES.eos_id}
SUM = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "2 * 21"}}\n</tool_call>'


def tiny(context: int = 256) -> Transformer:
    fields = {"vocab_size": BYTES.vocab_size, "initializer_range": 0.2}
    return Transformer(preset("nano", max_position_embeddings=context, **fields), seed=1)


def talk(context: int = 256, most: int = 20, temperature: float = 0.0, **more) -> Talk:
    """With a model that never ends an answer by itself."""
    never = Sampling(temperature, seed=0, logit_bias=dict.fromkeys(ENDS, -100.0))
    return Talk(Engine(tiny(context), BYTES, room=context + 15), BYTES, never, most, **more)


class Scripted:
    """In the engine's place: says one text after the other, letter by letter."""

    context = 4000

    def __init__(self, *texts: str) -> None:
        self.texts, self.left, self.requests, self.cancelled = list(texts), "", [], []

    def add(self, request):
        self.requests.append(request)
        self.left = self.texts.pop(0)
        return len(self.requests)

    def step(self):
        letter, self.left = self.left[0], self.left[1:]
        if letter == "\3":  # somebody presses Ctrl-C
            signal.raise_signal(signal.SIGINT)
        return [(len(self.requests), Token(65, letter, finish=None if self.left else "stop"))]

    def cancel(self, number):
        self.cancelled.append(number)


def scripted(*texts: str, tools=(), run=None, **more) -> Talk:
    return Talk(Scripted(*texts), BYTES, Sampling(seed=0), 50, tools=tools, run=run, **more)


def heard(pieces) -> str:
    """What was said, with marks for what is not the answer."""
    out = ""
    for piece in pieces:
        if isinstance(piece, Said):
            out += piece.text if piece.kind == "content" else f"~{piece.text}"
        elif isinstance(piece, Call):
            out += f"[{piece.name} {piece.arguments}]"
        else:
            out += f"[{piece.text}]"
    return out


def never() -> bool:
    return False


def test_an_answer_is_what_the_model_says_to_the_rendered_chat():
    one = talk()
    said = heard(one.ask("Hi", never))
    prompt = render([{"role": "user", "content": "Hi"}], BYTES, (), True, False).ids
    model = tiny()
    with torch.no_grad():  # no end among the first 20, or this test would show nothing
        ids = generate(model, torch.tensor([prompt]), 20, 0)[0, len(prompt) :].tolist()
    assert not ENDS & set(ids)
    assert said == BYTES.decode(ids).strip() + "[(cut after 20 tokens; --max-tokens allows more)]"
    assert [m["role"] for m in one.messages] == ["user", "assistant"]
    assert not one.engine.busy


def test_a_second_try_takes_the_first_ones_place():
    one = talk(temperature=1.0)
    first = heard(one.ask("Hi", never))
    second = heard(one.retry(never))
    assert first != second and len(one.messages) == 2
    assert one.messages[1]["content"] in second
    one.messages.clear()
    with pytest.raises(WrongCall, match="nothing to answer again"):
        list(one.retry(never))


def test_a_full_context_is_said_and_the_oldest_exchange_goes():
    one = talk(context=160, most=400)
    assert heard(one.ask("one", never)).endswith("[(cut: the context of 160 tokens is full)]")
    assert [m["content"] for m in one.messages if m["role"] == "user"] == ["one"]
    said = list(one.ask("two", never))
    assert said[0] == Note("(the oldest exchange is forgotten, to make room)")
    assert [m["content"] for m in one.messages if m["role"] == "user"] == ["two"]
    fresh = talk(context=160, most=400)
    assert heard(said[1:]) == heard(fresh.ask("two", never))  # nothing of "one" was left
    # cut in the middle of an answer, too: the first leaves room for the second to begin
    one = talk(context=256, most=20)
    assert "forgotten" not in heard(one.ask("one", never))
    one.most = 150
    said = list(one.ask("two", never))
    texts = [piece.text for piece in said if isinstance(piece, Note)]
    assert texts == ["(cut: the context of 256 tokens is full)",
                     "(the oldest exchange is forgotten, to make room)"]  # fmt: skip
    assert one.messages[0]["content"] == "two" and one.messages[1]["content"]


def test_a_message_that_cannot_fit_leaves_the_talk_as_it_was():
    one = talk(context=160)
    heard(one.ask("Hi", never))
    before = [dict(message) for message in one.messages]
    with pytest.raises(WrongCall, match="the context is 160; shorten it"):
        list(one.ask("x" * 160, never))
    assert one.messages in (before, [])
    with pytest.raises(WrongCall, match="not Unicode"):
        list(one.ask("\udcff", never))
    assert one.messages in (before, [])


def test_thoughts_are_apart_and_come_back_in_the_next_prompt():
    one = scripted("Hm, two.\n</think>\n\nTwo.", "\n</think>\n\nYes.", thinking=True)
    assert heard(one.ask("1 + 1?", never)).replace("~", "") == "Hm, two.Two."
    assert one.messages[1] == {"role": "assistant", "content": "Two.",
                               "reasoning_content": "Hm, two."}  # fmt: skip
    heard(one.ask("Sure?", never))
    prompt = BYTES.decode(list(one.engine.requests[1].prompt), specials=True)
    assert "<think>\nHm, two.\n</think>\n\nTwo.<|im_end|>" in prompt and prompt.endswith(
        "<think>\n"
    )


def test_a_tool_is_called_in_the_sandbox_and_its_answer_read():
    with Sandbox() as sandbox:
        tools = allowed_tools("calculator", {})
        one = scripted(f"I ask.\n{SUM}", "The result is 42.", tools=tools, run=sandbox.call)
        pieces = list(one.ask("2 times 21?", never))
    assert [p for p in pieces if isinstance(p, Answered)] == [
        Answered("calculator", '{"result": 42}')
    ]
    assert heard(pieces).endswith("The result is 42.")
    prompt = BYTES.decode(list(one.engine.requests[1].prompt), specials=True)
    assert '<tool_response>\n{"result": 42}\n</tool_response>' in prompt
    one.system = "You may call tools."
    messages, offered = from_row(one.row()["conversations"])
    assert offered == [SPECS["calculator"]]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert render(messages, BYTES, offered).spans  # it can be trained on


@pytest.mark.parametrize(
    "call, told",
    [
        (SUM, "there is no tool 'calculator', only calendar"),
        (SUM.replace("calculator", "calendar").replace('{"expression": "2 * 21"}', '"[1"'),
         "arguments of a call are an object"),
    ],
)  # fmt: skip
def test_no_other_tool_is_ever_run(call, told):
    ran = []
    one = scripted(call, "Well.", tools=[SPECS["calendar"]], run=lambda *asked: ran.append(asked))
    assert told in heard(one.ask("2 times 21?", never)) and not ran
    assert one.messages[-1]["content"] == "Well."


def test_calls_have_an_end():
    run = lambda name, arguments: Result("{}")  # noqa: E731
    one = scripted(*[f"On.{SUM}"] * 9, tools=[SPECS["calculator"]], run=run)
    assert f"no more than {MOST_TURNS} turns" in heard(one.ask("2 times 21?", never))
    assert len(one.engine.requests) == MOST_TURNS
    assert not check_row(one.row(), "sft")


def test_without_tools_a_call_is_text():
    one = scripted(SUM)
    assert heard(one.ask("2 times 21?", never)) == SUM and len(one.engine.requests) == 1


def test_ctrl_c_stops_the_answer_and_not_the_program(capsys):
    one, screen = scripted("One, tw\3o, three.", "Again."), Screen()
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    with until_ctrl_c() as stopped:
        obey("Count.", one, screen, stopped)
    assert one.messages[1]["content"].replace("\3", "") == "One, tw"
    assert one.engine.cancelled == [1]
    with until_ctrl_c() as stopped:
        obey("/retry", one, screen, stopped)
    assert one.messages[1]["content"] == "Again."
    assert capsys.readouterr().out == "One, tw·\n(stopped)\nAgain.\n"
    with pytest.raises(KeyboardInterrupt), until_ctrl_c():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stopped_answer_frees_the_engine():
    one, steps = talk(most=100), iter(range(99))
    assert heard(one.ask("Hi", lambda: next(steps) == 3)).endswith("[(stopped)]")
    assert not one.engine.busy and len(one.engine.blocks.free) == len(one.engine.blocks.users)
    pieces = one.ask("Hi", never)
    next(piece for piece in pieces if isinstance(piece, Said))
    pieces.close()  # whoever shows them has failed
    assert not one.engine.busy


def test_thoughts_are_dim_and_no_text_steers_the_terminal():
    screen, out = Screen(), io.StringIO()
    screen.console = Console(file=out, force_terminal=True, color_system="standard",
                             highlight=False, markup=False, soft_wrap=True)  # fmt: skip
    text = "[red]\x1b[2J"
    screen.show([Said("reasoning_content", text), Said("content", text),
                 Answered("\x1b[H", text), Note(text)])  # fmt: skip
    thought, answer, tool, note = out.getvalue().splitlines()
    assert thought.startswith("\x1b[2;3m[red]·[2J\x1b[0m") and answer == "[red]·[2J"
    assert tool.startswith("\x1b[2m[·[H answers [red]·[2J]")
    assert note.startswith("\x1b[2m[red]·[2J")


def test_the_command_talks_over_a_pipe(tmp_path, capsys, monkeypatch):
    save_model_folder(tmp_path / "model", tiny(), BYTES)
    typed = ["/save no.jsonl", "Hello", "/retry", "/retri", "", "/system Be kind.", "/system",
             f"/save {tmp_path / 'talks.jsonl'}", "/reset", "/retry", "/help", "/save", "/quit",
             "never read"]  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed)))
    words = ["chat", str(tmp_path / "model"), "--max-tokens", "30", "--temperature", "1",
             "--seed", "3", "--device", "cpu"]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    steering = {c for c in out if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    assert steering == {"\n"} and "·" in out  # the model is not trained: it says any bytes
    for part in ("nothing was answered yet", "unknown command '/retri'; did you mean '/retry'",
                 "(system: Be kind.)\n(system: Be kind.)", "(added to ", "(forgotten)",
                 "there is nothing to answer again", "add the talk to a file",
                 "needs a file"):  # fmt: skip
        assert part in out, part
    assert "never read" not in out
    row = json.loads((tmp_path / "talks.jsonl").read_text(encoding="utf-8"))
    roles = [message["role"] for message in row["conversations"]]
    assert roles == ["system", "user", "assistant"] and not check_row(row, "sft")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello"))  # the end of the input ends it, too
    assert main([*words, "--think"]) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["--tools", "shell"], "unknown tool 'shell'"),
        (["--tools", "inventory"], "give --stock"),
        (["--tools", "calculator, shell"], "unknown tool 'shell'"),
        (["--stock", "none.json"], "none.json cannot be read (No such file or directory)"),
        (["--stock", __file__], "no JSON file"),
    ],
)
def test_wrong_calls_are_told_before_the_model_is_loaded(words, message, capsys):
    assert main(["chat", "no-such-folder", *words]) == 2
    assert message in capsys.readouterr().err
