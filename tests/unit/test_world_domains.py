"""The doctor's notes and the programs: gold that follows from rules that can be asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.interpreter import CannotRun, run
from minimind_wiki.data.world.medical import PAIRS, PARTS, SIGNS, Case, case, note, read_note
from minimind_wiki.data.world.programs import by_doc, program, same
from minimind_wiki.data.world.rows import check_row, make_rows
from minimind_wiki.data.world.words import SPLITS, split_of


def test_the_rules_of_the_doctor() -> None:
    """One case by hand, and the three steps of age and two of heat."""
    seen = Case("Loena", 7, "ears", "blue", 380)
    assert (seen.illness, seen.remedy, seen.dose, seen.days) == (
        "Ottal blue", "bellmurr tea", "1 cup twice a day", 5,
    )  # fmt: skip
    ages = {age: Case("Loena", age, "toes", "glowing", 379).dose for age in (12, 13, 59, 60)}
    assert ages == {12: "2 pinches once a day", 13: "3 pinches once a day",
                    59: "3 pinches once a day", 60: "4 pinches once a day"}  # fmt: skip
    assert Case("Loena", 7, "ears", "blue", 379).days == 3
    words = [w for part in PARTS.values() for w in part[:2]]
    assert len(set(words)) == len(words) == 2 * len(PARTS)


@pytest.mark.parametrize("split", SPLITS)
def test_notes_are_read_back_and_their_pairs_belong_to_the_split(split: str) -> None:
    c = Chooser(f"notes {split}")
    pairs = set()
    for _ in range(1200):
        seen = case(c, split)
        for treated in (True, False):
            assert read_note(note(c, seen, treated)) == seen
        assert seen.illness not in note(c, seen, treated=False)
        pairs.add((seen.part, seen.sign))
    assert pairs == {pair for pair in PAIRS if split_of(" ".join(pair)) == split} and len(pairs) > 2
    if split == "train":  # so that what is asked in the test can be put together
        assert {p for p, _ in pairs} == set(PARTS) and {s for _, s in pairs} == set(SIGNS)


@pytest.mark.parametrize("kind", ["medical", "medical_questions", "code", "code_questions"])
def test_wrong_gold_is_found(kind: str) -> None:
    rows = list(make_rows(kind, 150, seed=21, split="test"))
    changes = [("5 days", "6 days"), ("3 days", "4 days"), ("twice a", "once a"), ("tea", "oil"),
               ("Ottal", "Pellin"), ("hum", "itch"), ("drops", "dabs"), (" + ", " - "),
               ("The text does not say", "It is red")]  # fmt: skip
    found = 0
    for row in rows:
        assert check_row(kind, row)
        if "text" in row:
            texts = [row["text"].replace(a, b) for a, b in changes[:7]] if kind == "medical" else [
                row["text"][:-1] + str((int(row["text"][-1]) + 1) % 10)
                if row["text"][-1].isdigit() else row["text"][:-1] + ", 1]",
                row["text"].replace('"""\n', ' Then dance."""\n'),
            ]  # fmt: skip
            wrong = [{**row, "text": text} for text in texts if text != row["text"]]
        else:
            answer = row["conversations"][1]["content"]
            others = [answer.replace(a, b) for a, b in changes]
            others += [
                answer.replace("add ", "add 1"),
                answer + "1" if answer.isdigit() else answer,
            ]
            wrong = [{**row, "conversations": [row["conversations"][0], {"content": other}]}
                     for other in others if other != answer]  # fmt: skip
        for bad in wrong:
            assert not check_row(kind, bad), bad
        found += len(wrong)
    assert found > 50


def test_python_itself_agrees_with_every_output(tmp_path) -> None:
    """Python's own doctest runs the rows: a third way beside interpreter and doc line."""
    texts = [row["text"] for row in make_rows("code", 150, seed=22)]
    parts = []
    for n, text in enumerate(texts):
        source, shown = text.split("\n\n", 1)
        name = source[4 : source.index("(")]
        source, shown = source.replace(name, f"f{n}"), shown.replace(name, f"f{n}")
        inside = "\n".join(f"    {line}" for line in ["", *shown.split("\n"), ""])
        parts.append(source.replace('."""', "." + inside + '"""'))
    file = tmp_path / "programs.py"
    file.write_text("\n\n\n".join(parts), encoding="utf-8")
    command = [sys.executable, "-m", "doctest", "-v", str(file)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert "300 passed" in out.splitlines()[-1] or "300 passed" in out
    assert "0 failed" in out
    file.write_text("\n\n\n".join(parts).replace("+ 3", "+ 4"), encoding="utf-8")
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 1


def test_programs_of_the_splits_are_other_programs() -> None:
    bodies = {}
    for split in SPLITS:
        c = Chooser(f"programs {split}")
        made = [program(c, split) for _ in range(300)]
        assert all(same(p.source, p.doc) for p in made)
        bodies[split] = {p.source.split("\n", 2)[2] for p in made}
    assert not bodies["train"] & bodies["test"] and not bodies["train"] & bodies["validation"]
    assert len(bodies["train"]) > 250


def test_a_program_by_another_hand_is_judged_by_what_it_does() -> None:
    doc = "Multiply by 2, then make it at most 9."
    assert same("def f(x):\n    return min(9, x + x)\n", doc)
    assert not same("def f(x):\n    return min(9, x * 3)\n", doc)
    assert not same("def f(x):\n    return undefined\n", doc)
    assert not same("no program", doc) and not same("def f(x):\n    return [x]", doc)
    assert same("def g(xs):\n    n = 0\n    for y in xs:\n        n += 1\n    return n",
                "Count them.")  # fmt: skip
    with pytest.raises(ValueError, match="no step"):
        by_doc("Dance.", 3)


@pytest.mark.parametrize("source", [
    "def f(x):\n    import os", "def f(x):\n    return x.real", "def f(x):\n    return open('a')",
    "def f(x):\n    return __import__('os')", "def f(x):\n    return f(x)", "def f(x) return",
    "def f(x):\n    while x: x = x", "def f(x):\n    return x ** x", "def g(x):\n    return 1",
    "def f(x, y):\n    return 1", "def f(x):\n    return 'a' * 999999999", "lambda: 1",
    "def f(x):\n    return " + "(" * 300 + "1" + ")" * 300, "def f(x):\n    return x // 0",
    "def f(x):\n    for i in x:\n        x = i", "def f(x):\n    return max([])",
    "def f(x):\n    y = [1]\n" + "    y = y + y\n" * 40 + "    return y",
    "def f(x):\n    x = 9\n" + "    x = x * x\n" * 40 + "    return x",
    "def f(x):\n    y = [[a for b in [1, 2, 3] for a in [1]] for c in [1]]\n    return y",
    "def f(x):\n" + "    x = x + 1\n" * 900 + "    return x", "def f(*x):\n    return x",
    "def f(x):\n    return 1" + " + 1" * 2400, "def f(x):\n    f = 1\n    return f[0]",
    "def f(x):\n    y = [" + "1, " * 60 + "]\n    for a in y:\n     for b in y:\n      x = b",
    "@f\ndef f(x): return 'a' - 1", "def f(x):\n    return '" + "a" * 20_000 + "'",
])  # fmt: skip
def test_the_interpreter_runs_nothing_else_and_always_ends(source: str) -> None:
    with pytest.raises(CannotRun):
        run(source, "f(3)")
    with pytest.raises(CannotRun):
        run("def f(x):\n    return x", "f(3).real")
