"""Tools run behind walls: whatever they do, the model gets a text and training goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.sandbox import Limits, Result, Sandbox, failure

sys.path.append(str(Path(__file__).parent))  # the process gets this path and imports bad_tools
unix = pytest.mark.skipif(sys.platform == "win32", reason="limits of the kernel are those of Unix")


@pytest.fixture(scope="module")
def bad() -> Iterator[Sandbox]:
    """Ten seconds are for a busy machine: no test waits for them."""
    with Sandbox("bad_tools:call", Limits(seconds=10, memory=64 << 20, output=1000)) as sandbox:
        yield sandbox


def test_the_worlds_tools_answer_as_they_do_in_this_process() -> None:
    stock = {"Fox Hill": {"eggs": 7}}
    with Sandbox() as box:
        assert box.call("calculator", {"expression": "3 * 4"}) == Result('{"result": 12}')
        assert box.call("inventory", {"shop": "Fox Hill", "item": "eggs"}, stock) == Result(
            '{"count": 7}'
        )
        assert box.call("calendar", {"day": "Sunday", "days": 2}) == Result('{"day": "Tuesday"}')
        program = {"source": "def f(x):\n    return x + 1\n", "call": "f(1)"}
        assert box.call("program", program) == Result('{"result": 2}')
        first = box._process
        for name, arguments, why in [
            ("calculator", {"expression": "__import__('os').getcwd()"}, "only numbers"),
            ("calculator", {"expression": "1 / 0"}, "cannot be calculated"),
            ("calculator", {"expression": "1" + "*9" * 99 + "*(" * 50}, "longer than 200"),
            ("calculator", {}, "calculator does not know 'expression'"),
            ("calendar", {"day": "Sunday", "days": "soon"}, "invalid literal"),
            ("calendar", {"day": "Sunday", "days": [2]}, "TypeError"),
            ("inventory", {"shop": "\ud800", "item": "eggs"}, "inventory does not know"),
            ("program", {"source": "def f(x):\n    return open(x)\n", "call": "f(1)"}, "not known"),
            ("rm", {"path": "/"}, "'rm' is none of calculator"),
        ]:  # fmt: skip
            result = box.call(name, arguments, stock)
            assert result.failed and why in json.loads(result.text)["error"], result
        assert box._process is first  # a wrong call costs no new process


@pytest.mark.parametrize(("name", "why"), [
    ("gigabyte", "RuntimeError: the tool prints too much"),
    ("long", "the answer has 5000 characters, and 1000 are allowed"),
    ("unsayable", "Unsayable"), ("leave", "SystemExit: 3"), ("nothing", "KeyError: 'nothing'"),
    ("number", "the tool returned int, not a text"),
    ("read", "PermissionError: a tool may not do this: open"),
    ("write", "a tool may not do this: open"),
    ("socket", "a tool may not do this: socket.__new__"),
    ("connect", "a tool may not do this: "),
    ("process", "a tool may not do this: subprocess.Popen"),
    ("fork", "a tool may not do this: os.fork"), ("system", "a tool may not do this: os.system"),
    ("list", "a tool may not do this: os.listdir"), ("import", "a tool may not do this: import"),
    ("library", "a tool may not do this: ctypes.dlopen"),
])  # fmt: skip
def test_a_bad_tool_is_an_error_text_and_its_process_lives_on(bad, name, why) -> None:
    assert bad.call("fine", {}) == Result("fine")
    process = bad._process
    result = bad.call(name, {})
    assert result.failed and why in json.loads(result.text)["error"]
    assert bad.call("fine", {}) == Result("fine") and bad._process is process
    assert not Path("left_the_sandbox.txt").exists()


@pytest.mark.parametrize(("name", "why"), [
    ("spin", "no answer within 0.5 seconds"), ("deaf", "no answer within 0.5 seconds"),
    ("big number", "no answer within 0.5 seconds"), ("kill", "the tool crashed"),
])  # fmt: skip
def test_a_tool_that_hangs_or_crashes_is_replaced_by_a_new_process(
    bad, name, why, monkeypatch
) -> None:
    assert bad.call("fine", {}) == Result("fine")
    old = bad._process
    with monkeypatch.context() as patch:
        patch.setattr(bad, "limits", replace(bad.limits, seconds=0.5))
        assert bad.call(name, {}) == failure(why)
    assert old.poll() is not None  # it is dead and was waited for: no zombie
    assert bad.call("fine", {}) == Result("fine")


@unix
def test_the_kernel_says_no_where_no_hook_asks(bad) -> None:
    assert bad.call("memory", {}) == failure("MemoryError")
    assert bad.call("pipe", {}) == Result("errno 24")  # too many open files
    assert bad.call("dup", {}) == Result("errno 22")  # no number is left for it


def test_nothing_of_the_trainers_environment_and_no_forged_reply(bad, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    bad.close()
    assert "SECRET" not in bad.call("environment", {}).text
    assert bad.call("raw print", {}) == Result("36")  # it went to the null device
    assert bad.call("fine", {}) == Result("fine")
    assert bad.call("surrogate", {}).text == "\ud800 \U0001f642"  # a text as Python has it


@unix
def test_a_tool_that_hangs_ends_also_without_its_parent() -> None:
    """Its own alarm ends it, after 0.3 seconds; the parent would wait for an hour."""
    with Sandbox("bad_tools:call", Limits(seconds=0.1)) as box:
        box._start()
        process = box._process
        assert box._exchange(json.dumps(["spin", {}, {}]).encode(), 3600.0) == "the tool crashed"
        assert process.returncode == -signal.SIGALRM


def test_a_call_that_is_no_json_and_a_sandbox_that_cannot_start() -> None:
    with Sandbox() as box:
        assert "no JSON" in box.call("calculator", {"expression": {1, 2}}).text
        deep: list = []
        for _ in range(100_000):
            deep = [deep]
        assert "no JSON" in box.call("calculator", {"expression": deep}).text
        assert box._process is None  # none was needed
    with pytest.raises(MinimindError, match="nowhere:f cannot be started"):
        Sandbox("nowhere:f").call("x", {})
    with pytest.raises(MinimindError, match="has no attribute 'f'"):
        Sandbox("bad_tools:f").call("x", {})
    with pytest.raises(WrongCall, match="must be above 0"):
        Sandbox(limits=Limits(seconds=0))


def test_closing_twice_and_a_process_that_died_between_calls(bad) -> None:
    bad.call("fine", {})
    process = bad._process
    os.kill(process.pid, 9)
    process.wait()
    assert bad.call("fine", {}) == Result("fine")
    bad.close()
    bad.close()
