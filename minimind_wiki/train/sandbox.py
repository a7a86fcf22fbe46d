"""A process of its own for the tools that a model calls, which may fail there without harm.

What a model writes is never run as code. It names a tool, a function of ours, and gives it
arguments; sums and programs are walked by the world's own interpreters. What is left to fear is a
tool that fails, so it runs behind four walls:

- the parent waits `seconds` and then kills the process, whatever it does, and starts another;
- the process gets no file and no socket: the kernel lets it open nothing more (RLIMIT_NOFILE 0),
  and an audit hook (PEP 578) refuses the attempt before that and says what it was;
- its memory is limited (RLIMIT_AS), and it has none of the parent's environment;
- what it prints and returns is limited in length.

Each failure becomes the tool's answer, `{"error": "…"}`, for the model to read; training goes on.
Python's own documentation says that audit hooks stop no malicious *Python code*. So the tools must
be ours: for code that a model wrote, take a container or a virtual machine instead.
The limits of the kernel are those of Unix; elsewhere the clock, the hook and the lengths remain.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

from minimind_wiki.data.world import interpreter, tools
from minimind_wiki.errors import MinimindError, WrongCall

START = "from minimind_wiki.train.sandbox import serve; serve()"
HARMLESS = frozenset({"compile", "builtins.id", "sys._getframe", "object.__getattr__"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take."""

    seconds: float = 2.0  # by the clock
    memory: int = 256 << 20  # bytes, beyond what the process needs to start
    output: int = 2000  # characters of what the tool returns, and of what it prints
    start: float = 60.0  # seconds until the process must be ready


@dataclass(frozen=True, slots=True)
class Result:
    """What the model gets to read, and whether it tells of a failure."""

    text: str
    failed: bool = False


def failure(sentence: str) -> Result:
    """A failure as the model reads it.

    >>> failure("the shop is closed")
    Result(text='{"error": "the shop is closed"}', failed=True)
    """
    return Result(json.dumps({"error": sentence[:200]}, ensure_ascii=False), failed=True)


def world(name: str, arguments: Mapping[str, Any], stock: Mapping[str, Any]) -> str:
    """The world's tools, and `program`, which runs a function of the world's small language.

    >>> world("program", {"source": "def f(x):\\n    return x * 2", "call": "f(4)"}, {})
    '{"result": 8}'
    """
    if name == "program":
        value = interpreter.run(str(arguments["source"]), str(arguments["call"]))
        return json.dumps({"result": value})
    return tools.call(name, arguments, stock)


class Sandbox:
    """Runs `tool`, "module:function", in a process of its own; starts it when it is first needed.

    The function gets a name, arguments and a state (for the world: what each shop has), all of
    them JSON, and returns a text. One process serves one call after the other, about 0.1 ms each.
    """

    def __init__(
        self, tool: str = "minimind_wiki.train.sandbox:world", limits: Limits | None = None
    ) -> None:
        self.tool, self.limits = tool, limits or Limits()
        if not (self.limits.seconds > 0 and self.limits.memory > 0 and self.limits.output > 0):
            raise WrongCall(f"{self.limits}: seconds, memory and output must be above 0.")
        self._process: subprocess.Popen[bytes] | None = None

    def call(
        self, name: str, arguments: Mapping[str, Any], state: Mapping[str, Any] | None = None
    ) -> Result:
        """What the tool answers. Never raises for what the tool or the model does.

        MinimindError only when the process cannot be started, which is no fault of the model.
        """
        try:
            request = json.dumps([name, arguments, state or {}]).encode()
        except (TypeError, ValueError, RecursionError) as error:
            return failure(f"the arguments are no JSON ({error})")
        if self._process is None or self._process.poll() is not None:
            self._start()
        reply = self._exchange(request, self.limits.seconds)
        if isinstance(reply, str):
            return failure(reply)
        return failure(reply["text"]) if reply["failed"] else Result(reply["text"])

    def _start(self) -> None:
        self.close()
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
            start_new_session=True,  # Ctrl-C is for the trainer, who ends its step first
        )  # fmt: skip
        limits = self.limits
        hello = [self.tool, limits.seconds, limits.memory, limits.output]
        reply = self._exchange(json.dumps(hello).encode(), limits.start)
        if isinstance(reply, str) or reply["failed"]:
            self.close()
            why = reply if isinstance(reply, str) else reply["text"]
            raise MinimindError(f"the tool {self.tool} cannot be started: {why}.")

    def _exchange(self, request: bytes, seconds: float) -> dict[str, Any] | str:
        """The reply to one line, or why there is none; then the process is gone."""
        process, late = self._process, threading.Event()
        assert process is not None and process.stdin is not None and process.stdout is not None

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            process.stdin.write(request + b"\n")
            process.stdin.flush()
            line = process.stdout.readline(12 * self.limits.output + 1000)  # \ud83d\ude42 is one
        except OSError:  # the pipe is broken: the process has ended
            line = b""
        finally:
            timer.cancel()
            timer.join()  # from here on it kills nobody
        if late.is_set() or not line.endswith(b"\n"):
            self.close()
        if not line.endswith(b"\n"):
            return f"no answer within {seconds:g} seconds" if late.is_set() else "the tool crashed"
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # of a request that was not read
                    pipe and pipe.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# ---- the other side: what runs in the process


def serve() -> NoReturn:
    """Read a request a line, write a reply a line, until the parent is gone."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what a tool prints past sys.stdout must not look like a reply
        os.dup2(nothing, standard)
    warnings.simplefilter("ignore")  # showing one would open the source file
    made, seconds, memory, output = json.loads(requests.readline())

    def reply(text: str, failed: bool) -> None:
        replies.write(json.dumps({"text": text, "failed": failed}).encode() + b"\n")
        replies.flush()

    module, _, function = made.partition(":")
    try:
        tool: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except Exception as error:  # noqa: BLE001 (whatever a module does when it is imported)
        reply(_sentence(error), True)
        os._exit(1)
    _wall_in(memory)
    reply("ready", False)
    while line := requests.readline():
        if hasattr(signal, "setitimer"):  # ends a call that hangs also if the parent is gone
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 0.1)
        reply(*_run(tool, line, output))
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(0)


def _run(tool: Callable[..., Any], line: bytes, output: int) -> tuple[str, bool]:
    """Text and whether it is a failure."""
    try:
        with contextlib.redirect_stdout(_Printed(output)):
            text = tool(*json.loads(line))
        if not isinstance(text, str):
            return f"the tool returned {type(text).__name__}, not a text", True
        if len(text) > output:
            return f"the answer has {len(text)} characters, and {output} are allowed", True
    except BaseException as error:  # noqa: BLE001 (also SystemExit: the tool may do anything)
        return _sentence(error), True
    return text, False


def _sentence(error: BaseException) -> str:
    """What went wrong. A ValueError speaks for itself: so the world's tools tell of failures."""
    try:
        text = str(error)[:200]
    except Exception:  # noqa: BLE001 (the tool's own exception, whose text fails too)
        text = ""
    name = type(error).__name__
    return text if text and isinstance(error, ValueError) else f"{name}: {text}".rstrip(": ")


class _Printed(io.TextIOBase):
    """What a tool prints: nobody reads it, and it has an end."""

    def __init__(self, most: int) -> None:
        self.left = most

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise RuntimeError("the tool prints too much")
        return len(text)


def _wall_in(memory: int) -> None:
    """From here on nothing can be opened. The order matters: reading statm opens a file."""
    try:
        import resource
    except ImportError:  # not on Unix
        resource = None  # type: ignore[assignment]
    if resource is not None:
        if os.path.exists("/proc/self/statm"):
            with open("/proc/self/statm") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
            resource.setrlimit(limit, (0, 0))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in HARMLESS:
        raise PermissionError(f"a tool may not do this: {event}")
