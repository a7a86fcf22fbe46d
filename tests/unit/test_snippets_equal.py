"""A lab gives the same answer with lite as the page runs it and with torch in its place.

Both libraries draw from torch's stream here, so that weights and inputs are the same, and then
every number of the answer is compared: lines, bars and levels of the figure, tables, and what the
text says. A lab that trains takes STEPS steps: rounding errors grow with each.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_snippets import EXERCISES, LABS, ROOT, choices, knobs_of, lab_code

import minimind_wiki.lite as lite
from minimind_wiki.lite import create, worker
from minimind_wiki.lite.tensor import sizes_of

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
STEPS = 25
# Programs that are neither labs nor exercises, and the test that compares them.
ELSEWHERE = {"training/transformer.py": "test_train_program.py"}


@pytest.fixture
def same_numbers(monkeypatch):
    """Let lite draw from torch's stream: their own differ (PCG64 and Mersenne twister)."""

    def drawn(kind):
        def draw(*shape, dtype=create.float32, requires_grad=False):
            values = getattr(torch, kind)(sizes_of(shape)).numpy().astype(dtype)
            return lite.Tensor(values, requires_grad)

        return draw

    monkeypatch.setattr(lite, "manual_seed", torch.manual_seed)
    for module in (lite, create):
        for kind in ("randn", "rand"):
            monkeypatch.setattr(module, kind, drawn(kind))
        for kind in ("randint", "randperm"):
            draw = getattr(torch, kind)
            same = lambda *given, draw=draw: create.from_numpy(draw(*given).numpy())  # noqa: E731
            monkeypatch.setattr(module, kind, same)


def run_of(name, library):
    """The lab's `run`; if it trains (`train(…, steps=…)`), for a few steps."""
    found = worker.namespace(lab_code(name, library))
    if "train" in found:
        assert "steps" in inspect.signature(found["train"]).parameters, f"{name}: train needs steps"
        found["train"] = functools.partial(found["train"], steps=STEPS)
    return found["run"]


def plain(answer):
    """The answer as the page gets it: JSON of figure, table and text."""
    parts = dict(answer) if isinstance(answer, dict) else {"figure": answer}
    parts["figure"] = parts["figure"].to_plotly()["data"] if parts.get("figure") else None
    return json.loads(json.dumps(parts, allow_nan=False))


def compare(ours, theirs, where):
    """The same structure and words; numbers equal but for rounding."""
    assert type(ours) is type(theirs) or {type(ours), type(theirs)} == {int, float}, where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key, value in ours.items():
            compare(value, theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        if ours and all(isinstance(x, int | float) for x in [*ours, *theirs]):
            scale = max(map(abs, theirs))
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-4 * scale, err_msg=where)
        else:
            for i, pair in enumerate(zip(ours, theirs, strict=True)):
                compare(*pair, f"{where}[{i}]")
    elif isinstance(ours, str):
        assert NUMBER.split(ours) == NUMBER.split(theirs), where
        for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
            last = 10.0 ** -len(a.partition("e")[0].partition(".")[2])  # the last printed digit
            assert float(a) == pytest.approx(float(b), rel=2e-3, abs=1.01 * last), where
    elif isinstance(ours, int | float) and not isinstance(ours, bool):
        assert ours == pytest.approx(theirs, rel=2e-3), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("name", LABS)
def test_a_lab_answers_the_same_in_both_libraries(same_numbers, name):
    defaults = {knob["name"]: knob["default"] for knob in knobs_of(name)}
    settings = [defaults]
    settings += [defaults | {k["name"]: v} for k in knobs_of(name) for v in choices(k)]
    runs = [run_of(name, library) for library in ("lite", "torch")]
    for given in settings:
        ours, theirs = (plain(run(**given)) for run in runs)
        compare(ours, theirs, f"{name} {given}")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("init", ["default", "he"])
@pytest.mark.parametrize("norm", ["none", "layernorm", "rmsnorm"])
def test_the_stack_gives_torchs_numbers(same_numbers, norm, init, bias):
    curves = []
    for library in ("lite", "torch"):
        scales = worker.namespace(lab_code("normalization/stack", library))["scales"]
        curves.append(scales(24, norm, init, bias))
    for ours, theirs in zip(*curves, strict=True):
        assert len(ours) == 24
        np.testing.assert_allclose(ours, theirs, rtol=2e-3)


def test_no_program_of_the_book_is_left_out():
    """Whatever imports lite as torch is a lab, an exercise, or compared by a test of its own."""
    known = {f"{name}.py" for name in LABS} | ELSEWHERE.keys()
    folders = set(EXERCISES.values())
    for file in ROOT.rglob("*.py"):
        if "import minimind_wiki.lite" not in file.read_text(encoding="utf-8"):
            continue
        at = file.relative_to(ROOT).as_posix()
        assert at in known or folders & set(file.parents), f"{at}: who runs it with torch?"
    for test in ELSEWHERE.values():
        assert '"torch": ("torch", torch)' in Path(__file__).with_name(test).read_text()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"y": [1.0, 2.0]}, {"y": [1.0, 2.02]}),
        ({"text": "loss 0.50"}, {"text": "loss 0.52"}),
        ({"text": "a 1"}, {"text": "b 1"}),
        ({"n": 3}, {"n": 4}),
        ([{"name": "x"}], [{"name": "y"}]),
    ],
)
def test_the_comparison_sees_a_difference(ours, theirs):
    compare(ours, ours, "same")
    with pytest.raises(AssertionError):
        compare(ours, theirs, "other")
