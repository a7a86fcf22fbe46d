"""The hashes: code changes them, comments and layout do not, views have their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from minimind_wiki.book.hashing import code_hash, modules, own_hash, stale, view_hash

SOURCE = '''"""How large?"""
from dataclasses import dataclass
from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.model.norm import rms_norm
from minimind_wiki.lite.plot import Figure
from ._helper import double

@dataclass(frozen=True)
class Settings:
    steps: int = 3

FACTOR = 2
LABEL = "shown only"
experiment = Experiment(name="m/e", factors=("a",), arms={"x": {"a": 1, "title": "An arm"}},
                        settings=Settings(), quick=Settings(steps=1), primary="value")

def helper(x):
    # a comment
    return FACTOR * x + len({"title": 0})

@experiment.measure
def measure(arm, seed, settings):
    """What it measures."""
    return Measurement({"value": rms_norm(helper(double(settings.steps)))})

@experiment.claim()
def large(record):
    """It is large."""
    return record.value("x", "value") > 1

@experiment.figure()
def drawn(record):
    """A figure."""
    return Figure(title=LABEL)
'''


@pytest.fixture
def tree(tmp_path):
    files = {
        "experiments/m/e.py": SOURCE,
        "experiments/m/_helper.py": "def double(x):\n    return 2 * x\n",
        "minimind_wiki/__init__.py": "",
        "minimind_wiki/model/__init__.py": "import something_heavy\n",
        "minimind_wiki/model/norm.py": "from minimind_wiki.model.base import eps\n"
        "def rms_norm(x):\n    return x * eps\n",
        "minimind_wiki/model/base.py": "eps = 1e-6\n",
        "minimind_wiki/book/experiment.py": "class Experiment: ...\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hashes(tree: Path, old: str = "", new: str = "", file: str = "experiments/m/e.py"):
    path = tree / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text)
    both = [h(tree / "experiments/m/e.py", tree) for h in (code_hash, view_hash)]
    path.write_text(text)
    return both


UNCHANGED = [
    ("    # a comment", "    # another comment, longer"),
    ('    """What it measures."""', '    """Said in other words."""'),
    ("return FACTOR * x", "return FACTOR  *  (\n        x\n    )"),
]
CODE = [
    ("FACTOR = 2", "FACTOR = 3"),
    ('{"title": 0}', '{"title": 0, "role": 1}'),  # only an arm's title is a name
    ("return FACTOR * x", "return FACTOR + x"),
    ("steps: int = 3", "steps: int = 4"),
    ('"a": 1', '"a": 2'),
    ("helper(double(settings.steps))", "double(settings.steps)"),
]
VIEW = [
    ("> 1", "> 2"),
    ('"""It is large."""', '"""It is very large."""'),
    ('"shown only"', '"something else"'),
    ('"title": "An arm"', '"title": "The arm"'),
    ('"""How large?"""', '"""How very large?"""'),
]


@pytest.mark.parametrize(("old", "new"), UNCHANGED)
def test_comments_docstrings_and_layout_change_nothing(tree, old, new):
    assert hashes(tree, old, new) == hashes(tree)


@pytest.mark.parametrize(("old", "new"), CODE)
def test_code_changes_the_code_hash(tree, old, new):
    assert hashes(tree, old, new)[0] != hashes(tree)[0]


@pytest.mark.parametrize(("old", "new"), VIEW)
def test_views_change_only_the_view_hash(tree, old, new):
    code, view = hashes(tree, old, new)
    assert code == hashes(tree)[0] and view != hashes(tree)[1]


def test_a_helper_that_only_the_view_imports_is_view(tree):
    path, helper = tree / "experiments/m/e.py", tree / "experiments/m/_drawn.py"
    drawn = SOURCE.replace("from ._helper", "from ._drawn import panel\nfrom ._helper")
    path.write_text(drawn.replace("Figure(title=LABEL)", "Figure(panel(LABEL))"))
    helper.write_text("from minimind_wiki.model.norm import eps\ndef panel(x):\n    return x\n")
    code, view = hashes(tree)
    old, new = "return x", "return 2 * x"
    code_then, view_then = hashes(tree, old, new, "experiments/m/_drawn.py")
    assert code_then == code and view_then != view
    # The package beneath it is no view, and what measuring imports is hashed once, as code.
    for file, old, new in (("minimind_wiki/model/norm.py", "x * eps", "x + eps"),
                           ("experiments/m/_helper.py", "2 * x", "3 * x")):  # fmt: skip
        code_then, view_then = hashes(tree, old, new, file)
        assert code_then != code and view_then == view


def test_quick_settings_do_not_make_a_full_record_stale(tree):
    assert hashes(tree, "quick=Settings(steps=1)", "quick=Settings(steps=2)")[0] == hashes(tree)[0]


def test_what_is_repeated_and_what_is_noise_is_no_code(tree):
    declared = 'primary="value", repeat=(("x", 0),), noisy=("seconds",)'
    assert hashes(tree, 'primary="value"', declared) == hashes(tree)


@pytest.mark.parametrize("name", ["repeat", "noisy"])
def test_an_arm_and_a_setting_may_bear_their_names(tree, name):
    for old, new in (('"a": 1', f'"a": 1, "{name}": 1'), ("Settings()", f"Settings({name}=1)")):
        assert hashes(tree, old, new)[0] != hashes(tree)[0]


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [("experiments/m/e.py", *CODE[0], True), ("experiments/m/e.py", *VIEW[0], False),
     ("experiments/m/_helper.py", "2 * x", "3 * x", True),
     ("minimind_wiki/model/norm.py", "x * eps", "x + eps", False)],
)  # fmt: skip
def test_own_code_lies_beside_the_experiment(tree, file, old, new, changes):
    path = tree / "experiments/m/e.py"
    before = own_hash(path, tree)
    (tree / file).write_text((tree / file).read_text().replace(old, new, 1))
    assert (own_hash(path, tree) != before) is changes


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [("minimind_wiki/model/norm.py", "x * eps", "x + eps", True),
     ("minimind_wiki/model/base.py", "1e-6", "1e-5", True),
     ("experiments/m/_helper.py", "2 * x", "3 * x", True),
     ("minimind_wiki/model/norm.py", "def rms_norm(x):", "def rms_norm(x):  # said", False),
     ("minimind_wiki/book/experiment.py", "...", "y = 1", False)],
)  # fmt: skip
def test_imported_modules_count_transitively_and_the_book_does_not(tree, file, old, new, changes):
    assert (hashes(tree, old, new, file)[0] != hashes(tree)[0]) is changes


def test_only_what_the_measurement_imports_counts(tree):
    names = set(modules(tree / "experiments/m/e.py", tree))
    assert names == {
        "minimind_wiki.model.norm",
        "minimind_wiki.model.base",
        "experiments.m._helper",
    }


def test_stale_says_what_to_run(tree):
    code, view = hashes(tree)
    record = {"experiment": "m/e", "code_hash": code, "view_hash": view, "seconds": 5.0}
    assert stale(record, tree) is None
    older = {**record, "code_hash": "x"}
    assert "experiment run m/e" in stale(older, tree)
    assert "experiment confirm m/e" not in stale(older, tree)
    mine = own_hash(tree / "experiments/m/e.py", tree)
    assert "experiment confirm m/e" in stale({**older, "own_hash": mine}, tree)
    assert "experiment render m/e" in stale({**record, "view_hash": "x"}, tree)
    assert "no experiment file" in stale({**record, "experiment": "m/gone"}, tree)


def test_the_check_of_the_site_needs_no_torch():
    code = (
        "import sys\n"
        "from minimind_wiki.book.hashing import stale\n"
        "from minimind_wiki.book.record import all_records, repo_root\n"
        "[stale(record, repo_root()) for record in all_records()]\n"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
