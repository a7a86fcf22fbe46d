"""Confirming a record: a part is measured again, and one other number leaves the file as it was."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from minimind_wiki.book import chips, pages, records
from minimind_wiki.book.confirm import noisy_names, of_others, one_of
from minimind_wiki.book.experiment import load_experiment
from minimind_wiki.book.hashing import stale
from minimind_wiki.book.record import all_records, load
from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError, WrongCall

RECORDED = [record.name for record in all_records()]
SOURCE = '''"""How large?"""
import time
from dataclasses import dataclass
from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.law import draw
from ._double import double

@dataclass(frozen=True)
class Settings:
    steps: int = 4
    rate: float = 0.1

experiment = Experiment(
    name="m/e", factors=("scale",), arms={"small": {"scale": 1.0}, "large": {"scale": 3.0}},
    settings=Settings(), quick=Settings(steps=1), primary="level", parallel=False,
    repeat=(("small", 1),), noisy=("*_seconds",),
)

@experiment.measure
def measure(arm, seed, settings):
    ys = [double(draw(arm["scale"], seed, step)) for step in range(settings.steps)]
    values = {"level": ys[-1] + abs(settings.rate - 0.1), "took_seconds": time.perf_counter()}
    return Measurement(values, {"ys": (range(len(ys)), ys)}, None if arm["scale"] < 2 else seed)

@experiment.levels
def levels(settings):
    return {"chance": {"level": draw(0.5, 0, 0)}, "data": {"sha256": "ab"}}

@experiment.claim(quick=True)
def positive(record):
    """It is large."""
    return min(record.seeds("small", "level")) > 0
'''
LAW = """
def draw(scale, seed, step):
    y = scale / (3 + seed + step)
    return y
"""


class Tree:
    """A repository of one experiment and one module of the package, which the test may change."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.patch = root, monkeypatch
        self.file = root / "experiments" / "m" / "e.py"
        self.record = root / "experiments" / "m" / "records" / "e.json"
        self.write("experiments/m/e.py", SOURCE)
        self.write("experiments/m/_double.py", "def double(x):\n    return 2 * x\n")
        self.package(LAW)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def package(self, text: str) -> None:
        """Put another `minimind_wiki.law` in place: the file that is hashed, and what is called."""
        spec = importlib.util.spec_from_file_location(
            "law", self.write("minimind_wiki/law.py", text)
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.patch.setitem(sys.modules, "minimind_wiki.law", module)

    def own(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def data(self) -> dict:
        return json.loads(self.record.read_text(encoding="utf-8"))

    def refused(self, capsys, *words: str, status: int = 1) -> None:
        """`confirm` fails, says these words, and leaves the record as it is to the byte."""
        before = self.record.read_bytes()
        assert main(["experiment", "confirm", "m/e"]) == status
        said = capsys.readouterr().err
        for word in words:
            assert word in said
        assert self.record.read_bytes() == before
        assert stale(load("m/e", self.root), self.root) is not None


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Tree(tmp_path, monkeypatch)
    assert main(["experiment", "run", "m/e"]) == 0
    return made


def harmless(text: str = LAW) -> str:
    """Other code, the same numbers."""
    return text.replace("seed, step)", "seed, step, spare=None)")


def changed(condition: str, factor: float) -> str:
    """The same numbers but where the condition holds."""
    return LAW.replace("return y", f"return y * {factor} if {condition} else y")


def test_equal_numbers_make_the_record_fresh_and_leave_a_trail(tree, capsys):
    before = tree.data()
    tree.package(harmless())
    assert "experiment confirm m/e" in stale(before, tree.root)
    assert main(["experiment", "confirm", "m/e"]) == 0
    assert "1 of 6 runs repeated, equal to the last digit" in capsys.readouterr().out
    after = tree.data()
    assert stale(after, tree.root) is None
    (entry,) = after.pop("confirmed")
    assert (entry["code"], entry["by"]) == (before["code_hash"], after["code_hash"])
    assert entry["repeated"] == [["small", 1]] and entry["kept"] == ["took_seconds"]
    # All else is as it was measured, the times too.
    assert {**after, "code_hash": before["code_hash"]} == before


def test_a_second_change_adds_to_the_trail_and_a_run_removes_it(tree, capsys):
    for text in (harmless(), harmless() + "\nX = 1\n"):
        tree.package(text)
        assert main(["experiment", "confirm", "m/e"]) == 0
    first, second = tree.data()["confirmed"]
    assert first["by"] == second["code"]
    capsys.readouterr()
    assert main(["experiment", "list"]) == 0 and "confirmed" in capsys.readouterr().out
    assert main(["experiment", "run", "m/e"]) == 0
    assert "confirmed" not in tree.data()
    capsys.readouterr()
    assert main(["experiment", "list"]) == 0 and "fresh" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("condition", "factor", "word"),
    [("step == 3 and seed == 1", 1.00002, "arm small, seed 1: level was 0.285714 and is 0.28572"),
     ("step == 1 and seed == 1", 1.0001, "curve ys at 1.0 was"),  # the middle one of three
     ("step == 1 and seed == 1", 2.0, "curve ys at 1.0 was"),
     ("scale == 0.5", 2.0, "the chance level level was 0.166667 and is 0.333333")],
)  # fmt: skip
def test_another_number_is_refused_and_named(tree, capsys, condition, factor, word):
    tree.package(changed(condition, factor))
    tree.refused(capsys, word, "experiment run m/e")


def test_a_difference_on_another_machine_says_so(tree, capsys):
    data = tree.data()
    data["versions"]["numpy"] = "0.1"
    tree.record.write_text(json.dumps(data), encoding="utf-8")
    tree.package(changed("step == 3", 2.0))
    tree.refused(capsys, "recorded with numpy 0.1, which may be why")


def test_what_is_not_repeated_is_not_seen(tree):
    """The limit of a confirmation, and why the author chooses the runs."""
    tree.package(changed("scale == 3", 2.0))
    assert main(["experiment", "confirm", "m/e"]) == 0
    tree.own('repeat=(("small", 1),)', 'repeat=(("small", 1), ("large", 2))')
    tree.package(changed("scale == 3", 2.0) + "\nX = 1\n")
    assert main(["experiment", "confirm", "m/e"]) == 1


def test_without_a_declaration_the_first_arm_and_seed_are_repeated(tree):
    tree.own('repeat=(("small", 1),), ', "")
    tree.package(harmless())
    assert main(["experiment", "confirm", "m/e"]) == 0
    assert tree.data()["confirmed"][0]["repeated"] == [["small", 0]]


@pytest.mark.parametrize(
    ("old", "new"),
    [("double(draw", "(draw"), ('{"scale": 1.0}', '{"scale": 1.5}'),
     ("steps: int = 4", "steps: int = 5"), ('primary="level"', 'primary="level", seeds=(0, 1)'),
     ("draw(0.5", "draw(0.6")],
)  # fmt: skip
def test_own_code_that_changed_is_refused(tree, capsys, old, new):
    tree.own(old, new)
    tree.refused(capsys, "m/e itself changed", "experiment run m/e")


def test_a_helper_beside_the_experiment_is_own_code(tree, capsys):
    tree.write("experiments/m/_double.py", "def double(x):\n    return x + x\n")
    tree.refused(capsys, "m/e itself changed")


def test_a_setting_that_comes_from_the_package_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = Tree(tmp_path, monkeypatch)
    tree.own("import draw", "import STEPS, draw")
    tree.own("steps: int = 4", "steps: int = STEPS")
    tree.package(LAW + "\nSTEPS = 4\n")
    assert main(["experiment", "run", "m/e"]) == 0
    tree.package(LAW + "\nSTEPS = 5\n")
    tree.refused(capsys, "m/e has other settings than its record")


def test_a_record_without_its_own_hash_is_refused(tree, capsys):
    data = tree.data()
    del data["own_hash"]
    tree.record.write_text(json.dumps(data), encoding="utf-8")
    tree.package(harmless())
    tree.refused(capsys, "cannot be confirmed", "experiment run m/e")


def test_where_the_primary_metric_is_noise_there_is_nothing_to_confirm(tree, capsys):
    tree.own("*_seconds", "*e*")
    tree.package(harmless())
    tree.refused(capsys, "measures time or memory (level)", "experiment run m/e")


def test_wrong_declarations_are_named(tree, capsys):
    tree.package(harmless())
    tree.own("*_seconds", "*_second")
    tree.refused(capsys, "noisy names '*_second'", "took_seconds", status=2)
    tree.own('("small", 1)', '("smal", 1)')
    tree.refused(capsys, "did you mean 'small'", status=2)
    tree.own('("smal", 1)', '("small", 7)')
    tree.refused(capsys, "the repeated seed 7 of arm 'small' is none of its seeds", status=2)
    assert main(["experiment", "confirm"]) == 2
    assert main(["experiment", "confirm", "m/e", "--quick"]) == 2


def test_a_fresh_record_is_left_alone(tree, capsys):
    before = tree.record.read_bytes()
    assert main(["experiment", "confirm", "m/e"]) == 0
    assert "nothing to confirm" in capsys.readouterr().out
    assert tree.record.read_bytes() == before


def test_a_swept_arm_is_repeated_at_the_value_that_the_record_chose(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tree = Tree(tmp_path, monkeypatch)
    tree.own("parallel=False,", 'parallel=False, sweep=Sweep("rate", (0.3, 0.2, 0.4), "level"),')
    assert main(["experiment", "run", "m/e"]) == 0
    assert tree.data()["sweeps"]["small"]["best"] == 0.2
    tree.package(harmless())
    assert main(["experiment", "confirm", "m/e"]) == 0  # at 0.1, the default, the level is another
    assert "1 of 10 runs repeated" in capsys.readouterr().out


def test_another_divergence_is_a_difference(tree, capsys):
    data = tree.data()
    data["divergence"]["small"][1] = 7
    tree.record.write_text(json.dumps(data), encoding="utf-8")
    tree.package(harmless())
    tree.refused(capsys, "arm small, seed 1: diverged at step 7, now at None")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [('"ys": {', '"zs": {', "the curve ys is new"), ('"level": {', '"other": {', "level was None"),
     ('"x": [0.0, 1.0', '"x": [0.5, 1.0', "the curve ys has a point at 0.0 now"),
     ('"x": [0.0, 1.0, 2.0, 3.0]', '"x": [0.0, 1.0, 2.0]', "the curve ys has a point at 3.0 now"),
     ('"x": [0.0, 1.0, 2.0, 3.0]', '"x": [0.0, 1.0, 2.0, 3.0, 4.0]', "a point at 4.0 no more")],
)  # fmt: skip
def test_other_names_and_points_are_differences(tree, capsys, old, new, said):
    text = tree.record.read_text(encoding="utf-8")
    assert old in text
    tree.record.write_text(text.replace(old, new), encoding="utf-8")
    tree.package(harmless())
    tree.refused(capsys, said)


def test_a_point_must_be_one_of_the_seeds(tmp_path):
    assert one_of(None, None, None, None, 3) and not one_of(None, 1.0, 1.0, 1.0, 3)
    assert not one_of(1.0, None, None, None, 3)
    assert one_of(1.0, 1.0, 1.0, 1.0, 1) and not one_of(1.00001, 1.0, 1.0, 1.0, 1)
    assert one_of(2.0, 1.5, 1.0, 2.0, 2) and not one_of(1.5, 1.5, 1.0, 2.0, 2)
    # 1, 7/3 and 4, and the mean and the one between rounded to six digits
    assert one_of(2.33333, 2.44444, 1.0, 4.0, 3) and not one_of(2.3334, 2.44444, 1.0, 4.0, 3)
    assert one_of(1.1, 2.0, 1.0, 4.0, 4) and not one_of(4.1, 2.0, 1.0, 4.0, 4)


def test_a_point_that_a_run_has_not_must_be_one_of_others():
    """Two seeds of three lie as far above their mean as below it; three hardly ever do."""
    assert of_others((1.5, 1.0, 2.0), 3) and not of_others((1.6, 1.0, 2.0), 3)
    assert of_others((1.0, 1.0, 1.0), 2) and not of_others((1.5, 1.0, 2.0), 2)
    assert not of_others((1.0, 1.0, 1.0), 1) and not of_others(None, 3)
    assert of_others((1.6, 1.0, 2.0), 4) and not of_others((None, None, None), 3)


def test_the_page_of_records_tells_it(tree):
    tree.package(harmless())
    assert main(["experiment", "confirm", "m/e"]) == 0
    pages.use_root(tree.root)
    try:
        records._checked.cache_clear()
        text = chips.records_table()  # a strict build takes the record
    finally:
        pages.use_root(None)
        records._checked.cache_clear()
    assert "<dt>Confirmed</dt><dd>1 of 6 runs repeated, equal to the last digit" in text
    assert "not compared: took_seconds" in text


@pytest.mark.parametrize("name", RECORDED)
def test_every_experiment_of_the_book_names_its_noise_rightly(name):
    try:
        noisy_names(load_experiment(name), load(name))
    except WrongCall:
        raise
    except MinimindError as error:
        assert "measures time or memory" in str(error)


@pytest.mark.parametrize("name", RECORDED)
def test_every_record_of_the_book_can_tell_its_own_code(name):
    assert load(name).data["own_hash"]
