"""The house rules that a program can check: who imports whom, file sizes, forbidden constructs."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "minimind_wiki"

# room -> the rooms it may import, besides itself and `errors`; `book`, `verbs`, `cli` import all.
ARROWS = {
    "model": set(),
    "tokenizer": set(),
    "data": {"tokenizer"},
    "lite": set(),
    "infer": {"model", "tokenizer"},
    "serve": {"infer", "model", "tokenizer"},
    "train": {"data", "tokenizer", "model", "infer", "evaluate"},
    "evaluate": {"data", "tokenizer", "model", "infer"},
    "interpret": {"model", "infer"},
    "webui": {"data", "serve", "train"},
}


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks or would track, so that build products do not count."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).is_file()]


def our_imports(source: str) -> set[str]:
    """The rooms of minimind_wiki that a source imports, also inside functions.

    >>> sorted(our_imports("from minimind_wiki.data import x\\nimport minimind_wiki.model.norm"))
    ['data', 'model']
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "minimind_wiki":
                names = [f"minimind_wiki.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("minimind_wiki.")}
    return found


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_arrows_run_one_way(room: str) -> None:
    allowed = ARROWS[room] | {room, "errors", "__version__"}
    for file in (PACKAGE / room).rglob("*.py"):
        extra = our_imports(file.read_text(encoding="utf-8")) - allowed
        assert not extra, f"{file.relative_to(ROOT)} may not import {sorted(extra)}"


def test_no_file_is_over_400_lines() -> None:
    files = tracked("*.py", "*.ts", "*.mjs", "*.css", "*.c", "*.html", "*.md", "*.yml", "Makefile")
    assert len(files) > 50
    long = {
        str(f.relative_to(ROOT)): n
        for f in files
        if (n := len(f.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_no_code_is_run_from_a_string_and_nothing_is_pickled() -> None:
    """exec runs the reader's own code in lite; nowhere else, and nothing unpickles."""
    exec_allowed = {PACKAGE / "lite" / "worker.py", PACKAGE / "verbs" / "exercise.py"}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "eval", file
                assert node.func.id != "exec" or file in exec_allowed, file
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"bare except in {file}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "dill", "cloudpickle"} & set(names), file


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a machine and no folder beside the project in what readers get.

    `.ci/run` is the one file that may look beside the checkout for local copies of data.
    """
    for file in tracked("*.py", "*.md", "*.yml", "*.yaml", "*.toml", "*.ts", "*.json", "Makefile"):
        if file == Path(__file__) or file.name == "package-lock.json":
            continue
        text = file.read_text(encoding="utf-8")
        for word in ("/work/", "/root/", "../shared"):
            assert word not in text, f"{file.relative_to(ROOT)} names {word!r}"


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock


def test_the_repository_stays_small() -> None:
    """DESIGN: at most 60 MB without history; models and records together at most 20 MB."""
    sizes = {f: f.stat().st_size for f in tracked()}
    assert sum(sizes.values()) < 60e6
    records = [n for f, n in sizes.items() if {"records", "models"} & set(f.parts)]
    assert sum(records) < 20e6
