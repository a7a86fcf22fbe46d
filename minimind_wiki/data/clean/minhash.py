"""Near duplicates by MinHash and locality-sensitive hashing, written out plainly.

A text becomes the set of its shingles (runs of n words). Two sets' Jaccard similarity
s = |A ∩ B| / |A ∪ B| is the probability that a random order of all shingles puts the same one first
in both (Broder 1997, "On the resemblance and containment of documents"). k such orders give a
signature of k numbers; the share of equal numbers estimates s with standard error √(s(1−s)/k).
Cutting signatures into b bands of r numbers and looking only at pairs that agree in a whole band
finds a pair with probability 1 − (1 − sʳ)ᵇ, without comparing all pairs (Leskovec, Rajaraman &
Ullman, *Mining of Massive Datasets*, chapter 3).
The defaults (5 words, 14 bands of 8) are FineWeb's (Penedo et al. 2024, arXiv:2406.17557).
Shapes: S shingles, K permutations. `tests/parity/test_minhash.py` holds this equal to datasketch.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from minimind_wiki.errors import WrongCall

_UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿"  # kana and Han: written without spaces, so each is a word
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_BLOCK = 4096  # shingles per block: bounds the K × S table to a few MB whatever the text's length


def words(text: str) -> list[str]:
    """Lower-case words after NFKC; a Chinese or Japanese character counts as one word.

    >>> words("The Ｃat's 猫猫")
    ['the', 'cat', 's', '猫', '猫']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def text_key(text: str) -> bytes:
    """16 bytes that are equal for texts with equal words: the key for exact duplicates.

    >>> text_key("Hello,  world") == text_key("hello world!")
    True
    """
    return hashlib.blake2b(
        " ".join(words(text)).encode("utf-8", "replace"), digest_size=16
    ).digest()


def mix64(x: np.ndarray) -> np.ndarray:
    """MurmurHash3's 64-bit finalizer (Appleby): a bijection in which each bit moves every other."""
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xFF51AFD7ED558CCD)
    x = x ^ (x >> np.uint64(33))
    x = x * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def shingles(text: str, n: int = 5) -> np.ndarray:
    """The set of 64-bit hashes of all runs of `n` words, sorted, (S,) uint64.

    A text of fewer words is one shingle; a text without words has none.
    """
    if n < 1:
        raise WrongCall(f"a shingle needs at least 1 word, not {n}.")
    tokens = [_word_hash(word) for word in words(text)]
    if not tokens:
        return np.empty(0, dtype=np.uint64)
    row = np.array(tokens, dtype=np.uint64)
    n = min(n, len(row))
    hashes = np.zeros(len(row) - n + 1, dtype=np.uint64)
    for at in range(n):  # order matters: mix before the next word comes in
        hashes = mix64(hashes + row[at : at + len(hashes)])
    return np.unique(hashes)


def permutations(k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """k maps h → a·h + b mod 2⁶⁴, as (a, b), each (K,) uint64. Odd a makes each a bijection."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    a, b = rng.integers(0, 1 << 64, size=(2, k), dtype=np.uint64)
    return a | np.uint64(1), b


def signature(hashes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest image of the set under each permutation, (K,) uint64.

    The hashes are mixed once before: a·h + b alone keeps structure (consecutive integers would
    stay evenly spaced), and the estimate would be biased. The empty set gives the largest number.
    """
    least = np.full(len(a), np.iinfo(np.uint64).max, dtype=np.uint64)
    mixed = mix64(hashes)
    for start in range(0, len(mixed), _BLOCK):
        images = a[:, None] * mixed[None, start : start + _BLOCK] + b[:, None]  # K × S, wraps
        least = np.minimum(least, images.min(axis=1))
    return least


def estimate(first: np.ndarray, second: np.ndarray) -> float:
    """Estimated Jaccard similarity of the sets behind two signatures."""
    return float(np.mean(first == second))


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """The exact similarity of two sets of hashes (each sorted and unique); 1 for two empty sets."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - common
    return common / union if union else 1.0


def found_probability(similarity: float, bands: int, rows: int) -> float:
    """How likely a pair of that similarity agrees in at least one band.

    >>> round(found_probability(0.8, 14, 8), 3), round(found_probability(0.5, 14, 8), 3)
    (0.924, 0.053)
    """
    return 1 - (1 - similarity**rows) ** bands


def best_bands(threshold: float, k: int) -> tuple[int, int]:
    """(bands, rows) with b·r ≤ k that err least around `threshold`.

    The error is the area of false positives below the threshold plus that of misses above it
    (datasketch's criterion with equal weights), by the midpoint rule.
    """
    if not 0 < threshold < 1 or k < 1:
        raise WrongCall(
            f"the threshold must lie between 0 and 1 and k be ≥ 1, not {threshold}, {k}."
        )
    steps = (np.arange(2000) + 0.5) / 2000
    low, high = steps * threshold, threshold + steps * (1 - threshold)

    def error(bands: int, rows: int) -> float:
        below = float(np.mean(1 - (1 - low**rows) ** bands)) * threshold
        return below + float(np.mean((1 - high**rows) ** bands)) * (1 - threshold)

    shapes = [(b, r) for b in range(1, k + 1) for r in range(1, k // b + 1)]
    return min(shapes, key=lambda shape: error(*shape))


class Bands:
    """The index: for each band, which signatures have which r numbers in it.

    Memory: the signatures (8·b·r bytes each) and b dictionary entries for each.
    """

    def __init__(self, bands: int = 14, rows: int = 8) -> None:
        if bands < 1 or rows < 1:
            raise WrongCall(f"bands and rows must be at least 1, not {bands} and {rows}.")
        self.bands, self.rows = bands, rows
        self.signatures: list[np.ndarray] = []
        self._buckets: list[defaultdict[bytes, list[int]]] = [
            defaultdict(list) for _ in range(bands)
        ]

    def _keys(self, sig: np.ndarray) -> list[bytes]:
        if len(sig) < self.bands * self.rows:
            raise WrongCall(f"{self.bands} bands of {self.rows} need more than {len(sig)} numbers.")
        return [sig[i * self.rows : (i + 1) * self.rows].tobytes() for i in range(self.bands)]

    def candidates(self, sig: np.ndarray) -> list[int]:
        """Numbers of the earlier signatures that agree with `sig` in a whole band, ascending."""
        found: set[int] = set()
        for bucket, key in zip(self._buckets, self._keys(sig), strict=True):
            found.update(bucket.get(key, ()))
        return sorted(found)

    def add(self, sig: np.ndarray) -> int:
        """Keep a signature; returns its number, counting from 0."""
        number = len(self.signatures)
        for bucket, key in zip(self._buckets, self._keys(sig), strict=True):
            bucket[key].append(number)
        self.signatures.append(sig)
        return number


class UnionFind:
    """Disjoint sets whose root is their smallest member (path halving; Tarjan 1975).

    >>> sets = UnionFind(5); sets.join(3, 1); sets.join(4, 3); [sets.root(i) for i in range(5)]
    [0, 1, 2, 1, 1]
    """

    def __init__(self, size: int = 0) -> None:
        self.parent = list(range(size))

    def grow(self) -> int:
        """Add one set with one new member, and return that member."""
        self.parent.append(len(self.parent))
        return len(self.parent) - 1

    def root(self, item: int) -> int:
        """The smallest member of the item's set."""
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]
            item = self.parent[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Unite two sets."""
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low


def clusters(
    signatures: Sequence[np.ndarray], threshold: float, bands: int = 14, rows: int = 8
) -> list[int]:
    """For each text the number of the first text of its cluster (its own: keep it).

    Pairs found by the bands whose estimate reaches `threshold` are joined, also through a third.
    """
    index, sets = Bands(bands, rows), UnionFind(len(signatures))
    for number, sig in enumerate(signatures):
        for other in index.candidates(sig):
            if estimate(sig, index.signatures[other]) >= threshold:
                sets.join(number, other)
        index.add(sig)
    return [sets.root(number) for number in range(len(signatures))]


def signatures_of(
    texts: Iterable[str], n: int = 5, k: int = 112, seed: int = 0
) -> list[np.ndarray]:
    """The signature of each text, (K,) uint64."""
    a, b = permutations(k, seed)
    return [signature(shingles(text, n), a, b) for text in texts]
