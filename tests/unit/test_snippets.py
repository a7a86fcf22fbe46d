"""Every lab and exercise of the book, in lite as the page runs them and with torch in its place."""

import inspect
import json
import math
import re
from pathlib import Path

import pytest
import yaml

from minimind_wiki.cli import main
from minimind_wiki.lite import worker
from minimind_wiki.lite.plot import Figure
from minimind_wiki.verbs.exercise import data_of, exercises, with_library

ROOT = Path(__file__).resolve().parents[2] / "snippets"
LABS = sorted(p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("*/*.yaml"))
EXERCISES = exercises()
LIBRARIES = {"lite": "minimind_wiki.lite", "torch": "torch"}
MUTANTS = [
    (name, path.stem) for name, f in EXERCISES.items() for path in sorted(f.glob("mutants/*.py"))
]


def lab_code(name, library="lite"):
    return with_library((ROOT / f"{name}.py").read_text(encoding="utf-8"), LIBRARIES[library])


def knobs_of(name):
    return yaml.safe_load((ROOT / f"{name}.yaml").read_text(encoding="utf-8"))["knobs"]


def choices(knob):
    """The values worth trying: the ends of a range, every option, on and off."""
    if knob["type"] == "range":
        return [knob["min"], knob["default"], knob["max"]]
    return [True, False] if knob["type"] == "toggle" else [o["value"] for o in knob["options"]]


@pytest.mark.parametrize("name", LABS)
class TestEveryLab:
    def test_reads_on_one_screen_and_declares_its_knobs(self, name):
        code = lab_code(name)
        assert len(code.splitlines()) <= 70
        assert "\nimport minimind_wiki.lite as torch\n" in code
        parameters = inspect.signature(worker.namespace(code)["run"]).parameters
        knobs = knobs_of(name)
        assert 1 <= len(knobs) <= 4
        assert {k["name"]: k["default"] for k in knobs} == {
            p.name: p.default for p in parameters.values()
        }
        spec = yaml.safe_load((ROOT / f"{name}.yaml").read_text(encoding="utf-8"))
        assert spec["caption"].rstrip().endswith("?")
        assert len(spec["alt"]) > 60

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_every_knob_runs_in_both_libraries(self, name, library):
        run = worker.namespace(lab_code(name, library))["run"]
        knobs = knobs_of(name)
        for knob in knobs:
            for value in choices(knob):
                answer = run(**({k["name"]: k["default"] for k in knobs} | {knob["name"]: value}))
                figure = answer["figure"] if isinstance(answer, dict) else answer
                assert isinstance(figure, Figure)
                for panel in figure.panels:
                    for line in panel.lines:
                        assert all(y is not None and math.isfinite(y) for y in line.y)
                json.dumps(figure.to_plotly(), allow_nan=False)


def test_the_stack_shows_what_the_page_says():
    scales = worker.namespace(lab_code("normalization/stack"))["scales"]
    values, grads = scales(20, "none", "default", True)
    assert 0.5 < values[-1] / values[9] < 2, "the biases hold the values at a floor"
    assert grads[0] < 1e-4 * grads[-1], "while the gradient vanishes"
    values, _ = scales(20, "none", "default", False)
    assert values[-1] < 1e-3 * values[9], "without biases the values keep falling"
    for norm, init in (("none", "he"), ("rmsnorm", "default"), ("layernorm", "default")):
        values, grads = scales(64, norm, init, True)
        assert 0.1 < values[-1] < 10 and 1e-3 < grads[0] / grads[-1] < 1e3, (norm, init)


def files(name):
    folder = EXERCISES[name]
    return {part: (folder / f"{part}.py").read_text() for part in ("starter", "solution", "check")}


@pytest.mark.parametrize("library", LIBRARIES.values())
@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_the_starter_is_told_to_start(name, library):
    parts = files(name)
    data = data_of(EXERCISES[name])
    checks = worker.check(with_library(parts["solution"], library), parts["check"], library, data)
    assert checks and all(c.passed and not c.message for c in checks), checks
    begun = worker.check(with_library(parts["starter"], library), parts["check"], library, data)
    assert [c.passed for c in begun] == [False] and "Not written yet" in begun[0].message
    (missing,) = worker.check("x = 1", parts["check"], library, data)
    assert not missing.passed and "Define a function" in missing.message


@pytest.mark.parametrize("library", LIBRARIES.values())
@pytest.mark.parametrize(("name", "mutant"), MUTANTS)
def test_a_wrong_solution_is_refused_for_the_right_reason(name, mutant, library):
    code = (EXERCISES[name] / "mutants" / f"{mutant}.py").read_text(encoding="utf-8")
    expected = re.search(r"(?m)^# expect: (.+)$", code)[1]
    phrase = re.search(r"(?m)^# says: (.+)$", code)[1]
    data = data_of(EXERCISES[name])
    checks = worker.check(with_library(code, library), files(name)["check"], library, data)
    failed = {c.name: c.message for c in checks if not c.passed}
    assert expected in failed, f"{mutant} passes {expected!r}"
    assert phrase in failed[expected]
    assert code.startswith('"""')


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "tokenization/bpe"])
def test_a_mistake_that_nobody_foresaw_is_answered_with_numbers(name):
    """The check itself must not fail on results of the right shape."""
    spec = yaml.safe_load((EXERCISES[name] / "exercise.yaml").read_text(encoding="utf-8"))
    function, parts = spec["function"], files(name)
    code = f"{parts['solution']}\n\nright = {function}\n\n"
    code += f"def {function}(*given, **named):\n    return 1.7 * right(*given, **named) - 0.3\n"
    failed = [c for c in worker.check(code, parts["check"], data=data_of(EXERCISES[name]))
              if not c.passed]  # fmt: skip
    assert failed
    assert not [c for c in failed if re.search(r"Error\b", c.message)], failed


def test_wrong_solutions_are_told_apart():
    """Each mistake that has its own check fails that one and, besides gradients, few others."""
    assert len(MUTANTS) >= 8
    for mutant in ("no_float32", "returns_float32", "detached_scale", "nan_at_zero"):
        folder = EXERCISES["normalization/rms_norm"]
        code = (folder / "mutants" / f"{mutant}.py").read_text(encoding="utf-8")
        checks = worker.check(code, files("normalization/rms_norm")["check"])
        assert sum(not c.passed for c in checks) == 1, mutant


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_is_complete(name):
    spec = yaml.safe_load((EXERCISES[name] / "exercise.yaml").read_text(encoding="utf-8"))
    assert len(spec["hints"]) == 3 and 1 <= spec["difficulty"] <= 5 and 1 <= spec["importance"] <= 5
    assert f"def {spec['function']}(" in files(name)["starter"]


class TestTheVerb:
    def test_list(self, capsys):
        assert main(["exercise", "list"]) == 0
        assert "normalization/rms_norm" in capsys.readouterr().out

    @pytest.mark.parametrize("flags", [[], ["--lite"]])
    def test_a_solution_passes(self, flags, capsys):
        solution = str(EXERCISES["normalization/rms_norm"] / "solution.py")
        assert main(["exercise", "normalization/rms_norm", "--file", solution, *flags]) == 0
        out = capsys.readouterr().out
        assert "12 of 12 checks pass" in out
        assert ("minimind_wiki.lite" in out) == bool(flags)

    def test_a_wrong_one_fails_with_the_reason(self, capsys):
        wrong = str(EXERCISES["normalization/rms_norm"] / "mutants" / "eps_outside.py")
        assert main(["exercise", "normalization/rms_norm", "--file", wrong]) == 1
        assert "eps is outside the root" in capsys.readouterr().out

    def test_start_writes_a_file_that_can_be_checked(self, tmp_path, capsys):
        mine = tmp_path / "my.py"
        assert main(["exercise", "normalization/rms_norm", "--start", str(mine)]) == 0
        assert mine.read_text().startswith("import torch\n")
        assert main(["exercise", "normalization/rms_norm", "--file", str(mine)]) == 1
        assert main(["exercise", "normalization/rms_norm", "--start", str(mine)]) == 2
        assert "exists already" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "status", "says"),
        [
            (["normalization/rmsnorm"], 2, "did you mean 'normalization/rms_norm'"),
            (["normalization/rms_norm"], 2, "--file"),
            (["normalization/rms_norm", "--file", "nowhere.py"], 2, "there is no file nowhere.py"),
            (["normalization/rms_norm", "--file", "{bad}"], 1, "cannot be read as text"),
            (["normalization/rms_norm", "--file", "{broken}"], 1, "does not run"),
        ],
    )
    def test_bad_calls(self, arguments, status, says, tmp_path, capsys):
        (tmp_path / "bad.py").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "broken.py").write_text("def rms_norm(x, weight eps): pass\n")
        places = {"bad": tmp_path / "bad.py", "broken": tmp_path / "broken.py"}
        assert main(["exercise", *[a.format(**places) for a in arguments]]) == status
        printed = capsys.readouterr()
        assert says in printed.err
        assert "worker.py" not in printed.out
