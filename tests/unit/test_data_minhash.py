"""MinHash by its own laws: unbiased estimates, bands on their curve, stable clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.data.clean import minhash as mh
from minimind_wiki.errors import WrongCall


def sets_of_similarity(shared: int, own: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    items = rng.integers(0, 1 << 63, size=shared + 2 * own, dtype=np.uint64)
    return np.sort(items[: shared + own]), np.sort(np.r_[items[:shared], items[shared + own :]])


@pytest.mark.parametrize(("shared", "own"), [(100, 400), (300, 100), (900, 50)])
def test_the_estimate_is_unbiased_and_within_its_standard_error(shared: int, own: int) -> None:
    a, b = mh.permutations(256, seed=1)
    errors = []
    for seed in range(30):
        x, y = sets_of_similarity(shared, own, seed)
        true = mh.jaccard(x, y)
        assert true == shared / (shared + 2 * own)
        errors.append(mh.estimate(mh.signature(x, a, b), mh.signature(y, a, b)) - true)
    sigma = (true * (1 - true) / 256) ** 0.5
    assert abs(np.mean(errors)) < 4 * sigma / 30**0.5
    assert np.sqrt(np.mean(np.square(errors))) < 1.5 * sigma


def test_consecutive_integers_are_no_special_case() -> None:
    """Without the mixing, a·h + b would leave them evenly spaced and bias the estimate."""
    a, b = mh.permutations(512)
    x, y = np.arange(1000, dtype=np.uint64), np.arange(500, 1500, dtype=np.uint64)
    got = mh.estimate(mh.signature(x, a, b), mh.signature(y, a, b))
    assert got == pytest.approx(1 / 3, abs=0.08)


def test_the_bands_find_pairs_as_often_as_the_formula_says() -> None:
    a, b = mh.permutations(112, seed=3)
    found = 0
    for seed in range(300):
        index = mh.Bands()
        x, y = sets_of_similarity(200, 50, seed)  # similarity 2/3
        index.add(mh.signature(x, a, b))
        found += bool(index.candidates(mh.signature(y, a, b)))
    expected = mh.found_probability(2 / 3, 14, 8)
    assert abs(found / 300 - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


def test_a_long_text_gives_the_same_signature_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = mh.permutations(16)
    hashes = np.arange(5000, dtype=np.uint64)
    whole = mh.signature(hashes, a, b)
    monkeypatch.setattr(mh, "_BLOCK", 7)
    assert (mh.signature(hashes, a, b) == whole).all()


def test_shingles_are_the_set_of_word_runs_in_order() -> None:
    assert len(mh.shingles("a b c d e f", 5)) == 2
    assert len(mh.shingles("a a a a a a a", 5)) == 1
    assert len(mh.shingles("too short", 5)) == 1
    assert len(mh.shingles("…!", 5)) == 0
    assert len(mh.shingles("床前明月光疑是", 5)) == 3
    assert mh.shingles("a b", 2)[0] != mh.shingles("b a", 2)[0]
    assert mh.shingles("a b", 2)[0] == mh.shingles("A, B.", 2)[0]


def test_clusters_keep_the_first_and_join_through_a_third() -> None:
    base = [f"word{i}" for i in range(60)]
    one = " ".join(base)
    two = " ".join([*base[:57], "x", "y", "z"])
    three = " ".join(["u", "v", "w", *base[3:57], "x", "y", "z"])
    other = " ".join(f"other{i}" for i in range(60))
    sigs = mh.signatures_of([one, other, two, three, "", ""])
    assert mh.clusters(sigs[:4], threshold=0.75) == [0, 1, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
@settings(max_examples=50, deadline=None)
def test_union_find_equals_the_plain_closure(pairs: list[tuple[int, int]]) -> None:
    sets, plain = mh.UnionFind(20), [{i} for i in range(20)]
    for x, y in pairs:
        sets.join(x, y)
        merged = plain[x] | plain[y]
        for item in merged:
            plain[item] = merged
    assert [sets.root(i) for i in range(20)] == [min(group) for group in plain]


def test_wrong_calls_are_named() -> None:
    with pytest.raises(WrongCall, match="between 0 and 1"):
        mh.best_bands(1.5, 128)
    with pytest.raises(WrongCall, match="at least 1"):
        mh.Bands(0, 3)
    with pytest.raises(WrongCall, match="at least 1 word"):
        mh.shingles("a", 0)
    with pytest.raises(WrongCall, match="need more than 4"):
        mh.Bands(2, 3).add(np.zeros(4, dtype=np.uint64))
