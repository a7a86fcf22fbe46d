"""Records of benchmarks: kept with their command, and refused when they no longer hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind_wiki.book import benches, pages, record
from minimind_wiki.errors import MinimindError


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one benchmark and its record."""
    monkeypatch.setattr(record, "repo_root", lambda: tmp_path)
    monkeypatch.setattr(pages, "root", lambda: tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "race.py").write_text("print(1)\n")
    return benches.keep("race", "python bench/race.py --record", 2, {"torch": "9<1"}, {"a.b": 1.25})


def test_a_number_says_where_it_comes_from(kept: Path) -> None:
    html = benches.bench("race", "a.b", ".1f")
    assert html.endswith(">1.2</span>")
    for word in ("python bench/race.py --record", "2 threads", "torch 9&lt;1",
                 json.loads(kept.read_text())["created"]):  # fmt: skip
        assert word in html


def test_what_is_not_there_is_named(kept: Path) -> None:
    with pytest.raises(MinimindError, match=r"a\.c.*a\.b"):
        benches.bench("race", "a.c")
    with pytest.raises(MinimindError, match=r"rase.*race"):
        benches.bench("rase", "a.b")


def test_a_benchmark_that_changed_must_run_again(kept: Path) -> None:
    (kept.parents[1] / "race.py").write_text("print(2)\n")
    with pytest.raises(MinimindError, match=r"run python bench/race\.py --record"):
        benches.bench("race", "a.b")
