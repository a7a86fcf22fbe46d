"""Runs the reader's own code: a lab, an exercise and its check, or a training in slices.

The page's worker calls this. Answers are JSON, so that nothing but text crosses from Python to the
page. What the code prints goes to `sys.stdout`, which the page shows as it comes. A loop that never
ends is stopped from outside: the page terminates the worker.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import linecache
import sys
import traceback
import types
from typing import Any

from minimind_wiki.lite.checks import READER, Check
from minimind_wiki.lite.training import Text, Training


def namespace(code: str, name: str = READER, **given: Any) -> dict[str, Any]:
    """Execute `code` as a new module, where `given` is defined, and return what it defined.

    Raises whatever the code raises.
    """
    module = types.ModuleType("reader")
    module.__dict__.update(given)
    # Two things look a module up by name: dataclasses (in sys.modules) and tracebacks, which take
    # the source lines from linecache.
    sys.modules["reader"] = module
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    # exec is right here: running code that the reader typed, in their own browser or on their own
    # machine, is the whole purpose. Nothing from elsewhere ever comes this way.
    exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module.__dict__


def describe(error: BaseException) -> dict[str, str]:
    """Message and traceback of an error, the traceback from the reader's first line on."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [i for i, frame in enumerate(frames) if frame.filename == READER]
    # Below the reader's last line stand only the library's insides, which explain nothing to them.
    kept = frames[own[0] : own[-1] + 1] if own else []
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(kept)] if kept else []
    last = traceback.format_exception_only(type(error), error)
    message = last[-1].strip()
    if isinstance(error, SyntaxError) and error.filename == READER:
        message = f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    return {"message": message, "traceback": "".join([*lines, *last])}


def _lab(code: str, knobs: dict[str, Any]) -> dict[str, Any]:
    run = namespace(code).get("run")
    if not callable(run):
        raise NameError(
            "a lab needs a function named run, and this code defines none; Reset brings it back"
        )
    try:
        inspect.signature(run).bind(**knobs)
    except TypeError as error:
        names = ", ".join(knobs)
        raise TypeError(f"run must take the lab's controls ({names}): {error}") from None
    answer = run(**knobs)
    parts = dict(answer) if isinstance(answer, dict) else {"figure": answer}
    figure = parts.get("figure")
    if figure is not None and not hasattr(figure, "to_plotly"):
        kind = type(figure).__name__
        raise TypeError(
            f"run must return a Figure, or a dict with figure and text, and returned {kind}"
        )
    return {
        "figure": None if figure is None else figure.to_plotly(),
        "table": parts.get("table"),
        "text": str(parts.get("text", "")),
    }


def run_lab(code: str, knobs_json: str) -> str:
    """Run a lab's `run(**knobs)`.

    Returns JSON: `{"figure", "table", "text"}` (the figure as Plotly JSON), or
    `{"error": {"message", "traceback"}}`.
    """
    return _answer(lambda: _lab(code, json.loads(knobs_json)))


def run_check(code: str, check_code: str, data: Any = None) -> str:
    """Run an exercise's check on the reader's code; `data` are the files it reads, by name.

    Returns JSON: `{"results": [{"name", "passed", "message"}]}`, or `{"error": …}` if the code does
    not even run.
    """

    def work() -> dict[str, Any]:
        files = data if data is None or isinstance(data, dict) else data.to_py()
        results = check(code, check_code, data=files)
        return {"results": [dataclasses.asdict(result) for result in results]}

    return _answer(work)


def check(
    code: str,
    check_code: str,
    library: str = "minimind_wiki.lite",
    data: dict[str, bytes] | None = None,
) -> list[Check]:
    """The checks of `check_code` on `code`; `torch` is at hand in both even without an import.

    A check that reads files gets them, by name, as its second argument.
    """
    torch = __import__(library, fromlist=["nn"])
    found = namespace(code, torch=torch)
    ask = namespace(check_code, "<check>", torch=torch)["check"]
    return list(ask(found) if data is None else ask(found, data))


_training: Training | None = None


def begin_training(code: str, about_json: str, data: Any, knobs_json: str) -> str:
    """Make the model of a training program; `data` is text.bin (bytes, or the page's buffer).

    Returns JSON: `{"parameters"}`, or `{"error": …}`. Then `advance`, `set_knobs` and `save`.
    """

    def work() -> dict[str, Any]:
        global _training
        raw = data if isinstance(data, bytes) else data.to_bytes()
        program, text = namespace(code), Text(json.loads(about_json), raw)
        for name in ("Llama", "config", "train"):
            if not callable(program.get(name)):
                raise NameError(f"the program must define {name}, and this code does not")
        _training = Training(program, text, json.loads(knobs_json))
        return {"parameters": _training.parameters}

    return _answer(work)


def _run() -> Training:
    if _training is None:
        raise RuntimeError("no training has begun")
    return _training


def advance(milliseconds: float) -> str:
    """Train on for about so long. JSON: `{"events", "done"}` (training.py), or `{"error": …}`."""
    return _answer(lambda: _run().advance(milliseconds))


def set_knobs(knobs_json: str) -> str:
    """Change knobs of the training that runs; they count from its next step."""
    return _answer(lambda: _run().knobs.update(json.loads(knobs_json)))


def save(tokenizer_json: str, tokenizer_config_json: str) -> bytes:
    """The model as it is now: a zip of a model folder."""
    files = {"tokenizer.json": tokenizer_json, "tokenizer_config.json": tokenizer_config_json}
    return _run().folder({name: text.encode() for name, text in files.items()})


def _answer(work: Any) -> str:
    try:
        return json.dumps(work(), allow_nan=False)
    # The reader's code may raise anything, also SystemExit: all is shown, none may kill Python.
    except BaseException as error:  # noqa: BLE001
        return json.dumps({"error": describe(error)})
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()


def offer_as_torch() -> None:
    """Let `import torch` find lite where PyTorch cannot be installed: in the page."""
    import minimind_wiki.lite as lite

    for name, module in list(sys.modules.items()):
        if name == "minimind_wiki.lite" or name.startswith("minimind_wiki.lite.nn"):
            sys.modules[name.replace("minimind_wiki.lite", "torch")] = module
    assert sys.modules["torch"] is lite


if sys.platform == "emscripten":
    offer_as_torch()
