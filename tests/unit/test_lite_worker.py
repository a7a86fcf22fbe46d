"""What the page's worker gets back: results, printed text, and errors in the reader's own lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minimind_wiki.lite import worker
from minimind_wiki.lite.checks import Check, Wrong, ask

ROOT = Path(__file__).resolve().parents[2]

FIGURE = """
from minimind_wiki.lite.plot import Figure, Line, Panel

def run(n=2):
    print("drawing", n)
    return Figure([Panel("x", "y", [Line([1, 2], [n, n], "a line")])])
"""


def lab(code, **knobs):
    return json.loads(worker.run_lab(code, json.dumps(knobs)))


def test_a_lab_returns_its_figure_and_prints(capsys):
    answer = lab(FIGURE, n=5)
    assert answer["figure"]["data"][0]["y"] == [5, 5]
    assert answer["text"] == "" and answer["table"] is None
    assert capsys.readouterr().out == "drawing 5\n"


def test_a_lab_may_return_text_and_a_table():
    code = "def run(n=1):\n    return {'text': 6 * n, 'table': [{'layer': 1, 'std': 0.5}]}"
    assert lab(code, n=7) == {
        "figure": None,
        "table": [{"layer": 1, "std": 0.5}],
        "text": "42",
    }


def test_each_run_starts_with_a_fresh_namespace():
    assert "error" not in lab("left = 1\ndef run(): return {'text': left}")
    assert "NameError" in lab("def run(): return {'text': left}")["error"]["message"]


def test_an_error_shows_the_readers_lines_only():
    code = "import minimind_wiki.lite as torch\n\ndef run():\n    return helper()\n\n"
    code += "def helper():\n    return torch.ones(2, 3) @ torch.ones(2, 3)\n"
    error = lab(code)["error"]
    assert error["message"].startswith("RuntimeError: mat1 and mat2")
    assert 'File "<your code>", line 4, in run' in error["traceback"]
    assert 'File "<your code>", line 7, in helper' in error["traceback"]
    assert "torch.ones(2, 3) @ torch.ones(2, 3)" in error["traceback"]  # the source line itself
    assert "worker.py" not in error["traceback"] and "ops.py" not in error["traceback"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def run(:\n", "SyntaxError in line 1"),
        ("x = 1\n", "needs a function named run"),
        ("def run(): return 3\n", "must return a Figure"),
        ("def run(): return {'table': [float('nan')]}\n", "JSON"),
        ("def run(depth): pass\n", "run must take the lab's controls"),
        ("raise SystemExit(1)\n", "SystemExit"),
        ("def run(): raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("def run(): return run()\n", "RecursionError"),
        ("import nothing_of_that_name\n", "No module named"),
    ],
)
def test_whatever_goes_wrong_is_an_answer(code, message):
    assert message in lab(code)["error"]["message"]


def test_dataclasses_work_in_the_readers_code():
    code = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    code += "@dataclass\nclass A:\n    x: int\ndef run(): return {'text': A(3).x}\n"
    assert lab(code)["text"] == "3"


CHECK = """
from minimind_wiki.lite.checks import ask

def doubles(f, torch):
    x = torch.ones(2)
    return None if f(x).tolist() == [2.0, 2.0] else "f must double its input."

def check(ns):
    return ask([("doubles", doubles)], ns["f"], ns["torch"])
"""


def checked(code):
    return json.loads(worker.run_check(code, CHECK))


def test_a_check_passes_refuses_and_explains():
    right = {"name": "doubles", "passed": True, "message": ""}
    assert checked("def f(x): return 2 * x") == {"results": [right]}
    wrong = checked("def f(x): return 3 * x")["results"]
    assert wrong == [{"name": "doubles", "passed": False, "message": "f must double its input."}]
    raised = checked("def f(x):\n\n    return x.nothing()")["results"][0]
    assert "nothing" in raised["message"] and "(line 3 of your code)" in raised["message"]
    assert "SyntaxError" in checked("def f(x) return x")["error"]["message"]


def test_the_readers_own_import_decides_the_library():
    code = "import minimind_wiki.lite as torch\nassert torch.is_grad_enabled()\n"
    assert checked(code + "def f(x): return 2 * x")["results"][0]["passed"]


def test_ask_stops_at_what_is_not_written():
    def unwritten():
        raise NotImplementedError

    def direct():
        raise Wrong("Use a tensor.")

    questions = [("first", lambda: None), ("second", direct), ("third", unwritten), ("no", direct)]
    answers = ask(questions)
    assert answers[:2] == [Check("first", True), Check("second", False, "Use a tensor.")]
    assert len(answers) == 3 and "Not written yet" in answers[2].message


def test_in_the_page_import_torch_finds_lite():
    """offer_as_torch is called where there is no PyTorch; here in a process without it."""
    code = """
import sys
from minimind_wiki.lite import worker
worker.offer_as_torch()
import torch, torch.nn.functional as F
from torch import nn
assert torch.__name__ == "minimind_wiki.lite" and F.relu and nn.Linear(2, 2)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_lite_imports_nothing_else_of_the_package():
    """The page's wheel holds minimind_wiki/__init__.py and lite, nothing more."""
    code = """
import sys
import minimind_wiki.lite.worker, minimind_wiki.lite.plot
ours = [n for n in sys.modules if n.startswith("minimind_wiki")]
assert all(n == "minimind_wiki" or n.startswith("minimind_wiki.lite") for n in ours), ours
assert "torch" not in sys.modules and "yaml" not in sys.modules and "rich" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
