"""Our MinHash and bands against datasketch 2: the same numbers, candidates and band shapes."""

from __future__ import annotations

import random

import datasketch
import numpy as np
import pytest
from datasketch.lsh import _optimal_param

from minimind_wiki.data.clean import minhash as mh
from minimind_wiki.data.embedded import embedded_text

K = 128


def texts() -> list[str]:
    """80 passages, each with a copy in which a growing share of words is replaced."""
    rng = random.Random(0)
    tokens = embedded_text().split()[:12_000]
    out = []
    for i in range(80):
        passage = tokens[i * 150 : i * 150 + 150]
        share = i / 800
        copy = [f"new{rng.random()}" if rng.random() < share else word for word in passage]
        out += [" ".join(passage), " ".join(copy)]
    return out


def theirs(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> datasketch.MinHash:
    sketch = datasketch.MinHash(
        num_perm=K, scheme="affine64", permutations=(a, b), hashfunc=lambda value: value
    )
    sketch.update_batch([int(value) for value in hashes])
    return sketch


def test_signatures_estimates_and_candidates_are_datasketchs() -> None:
    a, b = mh.permutations(K, seed=5)
    sets = [mh.shingles(text, 3) for text in texts()]
    ours = [mh.signature(hashes, a, b) for hashes in sets]
    sketches = [theirs(hashes, a, b) for hashes in sets]
    for mine, sketch in zip(ours, sketches, strict=True):
        assert (mine == sketch.hashvalues).all()  # to the bit
    for i in range(0, len(ours), 2):
        assert mh.estimate(ours[i], ours[i + 1]) == sketches[i].jaccard(sketches[i + 1])

    bands, rows = 16, 8
    index, lsh = mh.Bands(bands, rows), datasketch.MinHashLSH(num_perm=K, params=(bands, rows))
    pairs = 0
    for number, (mine, sketch) in enumerate(zip(ours, sketches, strict=True)):
        assert index.candidates(mine) == sorted(lsh.query(sketch))
        pairs += len(index.candidates(mine))
        index.add(mine)
        lsh.insert(number, sketch)
    assert pairs > 30  # the comparison is not about empty answers


def test_the_estimate_is_as_close_to_the_truth_as_datasketchs_own_permutations() -> None:
    a, b = mh.permutations(K, seed=7)
    mine, library = [], []
    for one, two in zip(texts()[::2], texts()[1::2], strict=True):
        x, y = mh.shingles(one, 3), mh.shingles(two, 3)
        true = mh.jaccard(x, y)
        mine.append(mh.estimate(mh.signature(x, a, b), mh.signature(y, a, b)) - true)
        sketches = []
        for hashes in (x, y):
            sketch = datasketch.MinHash(num_perm=K, scheme="affine64", hashfunc=lambda value: value)
            sketch.update_batch([int(value) for value in hashes])
            sketches.append(sketch)
        library.append(sketches[0].jaccard(sketches[1]) - true)
    ours_rms, their_rms = np.sqrt(np.mean(np.square(mine))), np.sqrt(np.mean(np.square(library)))
    assert ours_rms < max(1.5 * their_rms, 0.05)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_the_best_bands_are_datasketchs(threshold: float) -> None:
    assert mh.best_bands(threshold, 64) == _optimal_param(threshold, 64, 0.5, 0.5)
