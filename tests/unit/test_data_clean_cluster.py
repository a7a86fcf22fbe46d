"""Our steps in a datatrove pipeline, run on this machine: the same rows and clusters as ours."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("datatrove", reason="datatrove is not installed")
pytest.importorskip("orjson", reason="datatrove's JSONL reader needs orjson")

from minimind_wiki.data.clean import cluster, minhash
from minimind_wiki.data.clean.normalize import extract_html
from minimind_wiki.data.clean.step import Edit, Filter, Row
from minimind_wiki.data.clean.steps import Chunk
from minimind_wiki.data.world.pages import raw_pages
from minimind_wiki.errors import MinimindError, WrongCall

TASKS = 2


def steps() -> list:
    short = Filter("short", lambda text: "short" if len(text) < 300 else None)
    return [Edit("html", extract_html), short]


def ours(texts: list[str]) -> tuple[list[str], list[str]]:
    """What our steps keep, and what `short` drops ("" for what `html` left nothing of)."""
    kept, dropped = [], []
    for text in texts:
        rows = [Row({"text": text})]
        for step in steps():
            text = rows[0].text if step.name == "short" and rows else ""
            rows = [new for row in rows for new in step(row).rows]
        (kept.append(rows[0].text) if rows else dropped.append(text))
    return kept, dropped


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    root = tmp_path_factory.mktemp("cluster")
    (root / "in").mkdir()
    texts = [row["text"] for row in raw_pages("cluster", 300)]
    parts = [texts[:150], texts[150:]]
    for number, part in enumerate(parts):
        lines = (json.dumps({"text": text, "id": f"{number}.{i}"}) for i, text in enumerate(part))
        (root / "in" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    cluster.run(cluster.build(root / "in", root / "work", steps(), tasks=TASKS, workers=1))
    return root / "work", parts


def read(folder: Path) -> list[list[dict]]:
    return [[json.loads(line) for line in path.read_text().splitlines()]
            for path in sorted(folder.glob("*.jsonl"))]  # fmt: skip


def test_the_steps_keep_and_drop_the_same_rows_with_the_reason(
    done: tuple[Path, list[list[str]]],
) -> None:
    work, parts = done
    kept = read(work / "kept")
    assert [[row["text"] for row in rows] for rows in kept] == [ours(part)[0] for part in parts]
    dropped = [
        row for name in ("html", "short") for rows in read(work / "dropped" / name) for row in rows
    ]
    assert sorted(
        row["text"] for row in dropped if row["metadata"]["filter_reason"] == "short"
    ) == (sorted(text for part in parts for text in ours(part)[1] if text))
    reasons = {row["metadata"]["filter_reason"] for row in dropped}
    assert reasons == {"short", "nothing was left"}


def test_the_clusters_are_those_that_our_bands_find(done: tuple[Path, list[list[str]]]) -> None:
    work, parts = done
    kept = [ours(part)[0] for part in parts]
    places = [(task, i) for task, part in enumerate(kept) for i in range(len(part))]
    roots = minhash.clusters(
        minhash.signatures_of([text for part in kept for text in part]), threshold=0.0
    )
    mine: dict[int, set] = defaultdict(set)
    for place, root in zip(places, roots, strict=True):
        mine[root].add(place)
    theirs: dict[int, set] = defaultdict(set)
    for place, number in cluster.clusters(work, TASKS).items():
        theirs[number].add(place)
    expected = {frozenset(group) for group in mine.values() if len(group) > 1}
    assert {frozenset(group) for group in theirs.values()} == expected
    across = [group for group in expected if len({task for task, _ in group}) == 2]
    assert len(expected) > 5 and across, "the test needs clusters within and across tasks"
    clean = [row for rows in read(work / "clean") for row in rows]
    assert len(clean) == len(mine)


def test_the_executor_is_chosen_by_its_name(tmp_path: Path) -> None:
    options = {"slurm": {"partition": "cpu", "time": "1:00:00"}, "ray": {}, "local": {}}
    for name, more in options.items():
        made = cluster.build(tmp_path, tmp_path / "w", steps(), executor=name, tasks=3, **more)
        assert [type(one).__name__.lower().startswith(name) for one in made] == [True] * 4
        assert [one.tasks for one in made] == [3, 14, 1, 3]
        assert [one.depends for one in made] == [None, *made[:3]]
    with pytest.raises(WrongCall, match="did you mean 'slurm'"):
        cluster.build(tmp_path, tmp_path, executor="slurn")


def test_a_step_that_gives_several_rows_is_refused() -> None:
    from datatrove.data import Document

    with pytest.raises(MinimindError, match="several rows"):
        cluster.StepFilter(Chunk(3)).filter(Document(text="one two three", id="0"))
