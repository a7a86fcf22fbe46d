"""The skeleton's parts work: its check accepts the solution and refuses the mutants."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind_wiki.book import library, skeleton
from minimind_wiki.lite import worker


def results(book: Path, name: str) -> dict[str, bool]:
    folder = book / "snippets/alpha/write_it"
    code = (folder / name).read_text(encoding="utf-8")
    checks = worker.check(code, (folder / "check.py").read_text(encoding="utf-8"))
    return {check.name: check.passed for check in checks}


def test_solution_passes_and_starter_does_not(book: Path) -> None:
    assert all(results(book, "solution.py").values())
    assert not any(results(book, "starter.py").values())


@pytest.mark.parametrize("name", ["squares", "in_place"])
def test_mutants_are_refused_by_the_check_they_name(book: Path, name: str) -> None:
    text = (book / f"snippets/alpha/write_it/mutants/{name}.py").read_text(encoding="utf-8")
    expected = text.split("# expect: ")[1].splitlines()[0]
    assert results(book, f"mutants/{name}.py")[expected] is False


def test_what_a_published_module_may_not_keep(book: Path) -> None:
    assert skeleton.left_over() == [], "a draft may say TODO"
    page = book / "docs/en/modules/alpha/index.md"
    page.write_text(page.read_text(encoding="utf-8").replace("draft: true\n", ""))
    assert library.module_page_status("alpha") == "written"
    assert any("index.md" in line for line in skeleton.left_over())
