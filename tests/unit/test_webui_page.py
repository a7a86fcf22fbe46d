"""The chat page as Streamlit's own tester sees it, before a server whose model is scripted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("streamlit")

from serve_double import Play, Running, serving
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from minimind_wiki import webui
from minimind_wiki.cli import main
from minimind_wiki.serve.security import Key
from minimind_wiki.webui.run import Guard

PAGE = Path(webui.__file__).with_name("page.py")
EVIL = "<img src=x onerror=alert(1)> ![p](http://e.test/x.png) :red[x]"
CALL = '<tool_call>\n{"name": "NAME", "arguments": {"expression": "3 * 9"}}\n</tool_call>'
SETTINGS = {"key": "", "ask": False, "tools": ["calculator"], "system": "Be kind.", "stock": {}}


def script(prompt: str) -> str:
    if prompt.endswith("<think>\n"):
        return f"Hm {EVIL}\n</think>\n\nYes.<|im_end|>"
    if "<tool_response>" in prompt:
        return "It is told.<|im_end|>"
    for name in ("calculator", "calendar"):
        if name in prompt.rpartition("<|im_start|>user\n")[2]:
            return CALL.replace("NAME", name) + "<|im_end|>"
    return f"{EVIL}<|im_end|>"


@pytest.fixture(scope="module")
def play() -> Play:
    return Play(script=script)


@pytest.fixture(scope="module")
def server(play: Play) -> Iterator[Running]:
    poet = Play(lambda _: "Rose.<|im_end|>")
    with serving({"double": play.served(), "poet": poet.served()}, at_once=1) as running:
        yield running


def page(url: str, **more: Any) -> AppTest:
    made = AppTest.from_file(PAGE, default_timeout=60)
    made.secrets["minimind"] = {"server": url, **SETTINGS, **more}
    return made.run()


def say(seen: AppTest, text: str) -> AppTest:
    seen.chat_input[0].set_value(text).run()
    assert not seen.exception
    return seen


def drawn(seen: AppTest) -> list[Any]:
    """What our component was given, in the order of the page."""
    return [json.loads(element.proto.json) for element in seen.get("bidi_component")]


def texts(seen: AppTest) -> list[str]:
    return [text.value for text in seen.text]


def test_what_is_said_is_shown_as_text(server: Running) -> None:
    seen = say(page(server.url), EVIL)
    assert EVIL in texts(seen)  # the reader's own message
    assert seen.button(key="again") and not [b for b in seen.button if b.key == "stop"]
    for element in (*seen.markdown, *seen.get("html")):
        assert "img" not in str(element.proto)
    answer = drawn(seen)[0]
    assert "".join(piece["text"] for piece in answer["pieces"]) == EVIL
    assert answer["pieces"][0]["tokens"][0] == {
        "token": "<", "p": pytest.approx(0.6065, abs=1e-4),
        "top": [["<", pytest.approx(0.6065, abs=1e-4)], ["A", pytest.approx(0.2231, abs=1e-4)]],
    }  # fmt: skip


def test_the_controls_reach_the_server(server: Running, play: Play) -> None:
    seen = page(server.url)
    assert seen.selectbox[0].options == ["double", "poet"]
    seen.slider[0].set_value(0.3)
    seen.slider[1].set_value(0.5)
    top_k, most, seed = seen.number_input
    top_k.set_value(7)
    most.set_value(20)
    seed.set_value(11)
    seen.text_area[0].set_value("Be short.")
    say(seen, "Hello")
    request = play.requests[-1]
    drawing = request.sampling
    assert (drawing.temperature, drawing.top_p, drawing.top_k, drawing.seed) == (0.3, 0.5, 7, 11)
    assert request.max_new_tokens == 20 and "Be short." in play.prompts[-1]
    assert "“Most tokens” allows more" in seen.caption[-1].value
    seen.selectbox[0].set_value("poet")
    say(seen, "Hello")
    assert "".join(piece["text"] for piece in drawn(seen)[-1]["pieces"]) == "Rose."
    seen.button[0].click().run()
    assert not texts(seen) and not drawn(seen)  # a new chat


def test_a_thought_is_folded(server: Running) -> None:
    seen = page(server.url)
    seen.toggle[0].set_value(True)
    say(seen, "Hello")
    fold = seen.expander[0]
    assert fold.label == "Thought" and not fold.proto.expanded
    said = ["".join(piece["text"] for piece in reply["pieces"]) for reply in drawn(seen)]
    assert sorted(said) == sorted([f"Hm {EVIL}", "Yes."])


def test_tools_are_shown_and_only_those_allowed_are_run(server: Running) -> None:
    seen = say(page(server.url), "Ask the calculator")
    assert [code.value for code in seen.code] == [
        'calculator {"expression": "3 * 9"}', '{"result": 27}'
    ]  # fmt: skip
    seen = say(page(server.url), "Ask the calendar")
    assert "there is no tool 'calendar'" in seen.code[-1].value


def test_a_problem_is_told_and_can_be_tried_again(play: Play) -> None:
    with serving({"double": play.served()}) as server:
        seen = say(page(server.url), "BREAK it")
        assert any("the model failed" in text.lower() for text in texts(seen))
        play.break_on = "nothing"
        seen.button(key="again").click().run()
        play.break_on = "BREAK"
        assert drawn(seen) and not any("failed" in text for text in texts(seen))
    say(seen, "Are you there?")
    assert any("is the server running" in text for text in texts(seen))
    seen = page(server.url)
    assert any("is the server running" in text for text in texts(seen)) and not seen.chat_input


def test_a_page_for_others_asks_for_the_key(play: Play) -> None:
    with serving({"double": play.served()}, Key("sesame")) as server:
        seen = page(server.url, key="sesame", ask=True)
        assert not seen.chat_input and not seen.selectbox
        seen.text_input[0].set_value("wrong").run()
        assert not seen.chat_input and seen.error[0].value == "That is not the key."
        seen.text_input[0].set_value("sesame").run()
        assert seen.selectbox[0].options == ["double"]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8501", "", 200),
        ("[::1]:8501", "http://[::1]:8501", 200),
        ("evil.test:8501", "", 403),
        ("localhost:8501", "http://evil.test:8501", 403),
        ("localhost:8501", "null", 403),
    ],
)
def test_the_page_answers_to_its_own_name_alone(host: str, origin: str, status: int) -> None:
    from starlette.responses import PlainTextResponse

    client = TestClient(Guard(PlainTextResponse("in"), local=True))
    headers = {"host": host, **({"origin": origin} if origin else {})}
    answer = client.get("/", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_wrong_calls_say_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in [
        ([], "give a model folder or --server"),
        (["m", "--server", "http://x"], "one of the two"),
        (["--server", "localhost:8000"], "it begins with http://"),
        (["m", "--host", "0.0.0.0"], "an API key is needed"),
        (["m", "--port", "-1"], "--port is -1; give 0 for a free one"),
        (["m", "--tools", "shell"], "unknown tool 'shell'"),
    ]:
        assert main(["webui", *words]) == 2
        assert told in capsys.readouterr().err


def test_without_streamlit_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['streamlit'] = None\n"
        "from minimind_wiki.cli import main; sys.exit(main(['webui', 'm']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'pip install "minimind-wiki[webui]"' in done.stderr
