"""A curriculum is its stages one after the other, at any step and after resuming."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from minimind_wiki.data.curriculum import Curriculum, Stage, growing
from minimind_wiki.data.loader import Loader
from minimind_wiki.data.packing import Batch
from minimind_wiki.data.shards import ShardWriter
from minimind_wiki.errors import MinimindError, WrongCall

STAGES = (Stage(5, 16, 8, longest=16), Stage(4, 32, 4, shortest=17), Stage(2, 64, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with ShardWriter(tmp_path / "00000.tokens", "t", 5000) as shard:
        for size in rng.integers(1, 60, 150):
            shard.add(rng.integers(1, 5000, size))
    return tmp_path


def same(first: Batch, second: Batch) -> bool:
    names = ("ids", "labels", "positions", "documents")
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)


def test_the_stages_follow_one_another_and_the_last_goes_on(folder: Path) -> None:
    curriculum = Curriculum(folder, STAGES, seed=3)
    shapes = [curriculum.at(step).ids.shape for step in range(20)]
    assert shapes == [(8, 16)] * 5 + [(4, 32)] * 4 + [(2, 64)] * 11
    for step in range(5):
        assert curriculum.at(step).documents.max() >= 1
        assert np.bincount(curriculum.at(step).documents[0])[1:].max() <= 16
    second = Loader(folder, 32, 4, seed=3 * 3 + 1, shortest=17)
    assert same(curriculum.at(7), second.at(2))


def test_any_step_can_be_read_first_and_resuming_is_exact(folder: Path) -> None:
    whole = list(islice(Curriculum(folder, STAGES, seed=1), 16))
    assert all(same(Curriculum(folder, STAGES, seed=1).at(s), whole[s]) for s in (15, 8, 4, 0))
    first = Curriculum(folder, STAGES, seed=1)
    got = list(islice(first, 7))
    state = json.loads(json.dumps(first.state()))
    other = Curriculum(folder, STAGES, seed=5)
    other.at(8)
    other.resume(state)
    assert all(map(same, whole, got + list(islice(other, 9))))
    with pytest.raises(MinimindError, match="started on other data"):
        Curriculum(folder, STAGES[1:]).resume(state)


def test_growing_keeps_the_places_of_a_batch(folder: Path) -> None:
    stages = growing((16, 32, 64), 3, 256)
    assert {s.row_length * s.batch_size for s in stages} == {256}
    with pytest.raises(WrongCall, match="no whole number of rows"):
        growing((48,), 3, 256)
    with pytest.raises(WrongCall, match="at least one stage"):
        Curriculum(folder, [])
