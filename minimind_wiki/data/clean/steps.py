"""Steps with a memory or with several rows out: duplicates, mixing, chunking.

The others are a line each: `Edit("unicode", unicode_text)`, `Filter("quality", …)`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch

from minimind_wiki.data.clean import minhash
from minimind_wiki.data.clean.step import Result, Row
from minimind_wiki.errors import WrongCall


class ExactDuplicates:
    """Drops a row whose words, case and punctuation aside, stood in an earlier row.

    Memory: 16 bytes and a place for each kept row.
    """

    name = "exact"

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}

    def __call__(self, row: Row) -> Result:
        """The row, or that it is a duplicate."""
        text = row.text
        key = minhash.text_key(text) if minhash.words(text) else text.encode("utf-8", "replace")
        if key in self._first:
            return Result([], f"duplicate of {self._first[key]}")
        self._first[key] = f"{row.file}:{row.line}"
        return Result([row])


class NearDuplicates:
    """Drops a row that is like an earlier one, dropped or kept, by MinHash (see `minhash`).

    It sees each row once. A row that links two rows which were both kept is dropped and neither of
    them; `minhash.clusters`, which sees all rows before it decides, would drop the later one too.
    Memory: 8·b·r bytes and b dictionary entries for each row, about 3 KB with the defaults.
    """

    name = "near"

    def __init__(
        self, threshold: float = 0.75, n: int = 5, bands: int = 14, rows: int = 8, seed: int = 0
    ) -> None:
        if not 0 < threshold <= 1:
            raise WrongCall(f"the threshold must lie in (0, 1], not {threshold}.")
        self.threshold, self.n = threshold, n
        self._a, self._b = minhash.permutations(bands * rows, seed)
        self._index = minhash.Bands(bands, rows)
        self._places: list[str] = []

    def __call__(self, row: Row) -> Result:
        """The row, or which earlier row it is like and how much."""
        hashes = minhash.shingles(row.text, self.n)
        if not len(hashes):
            return Result([row])
        sig = minhash.signature(hashes, self._a, self._b)
        best, place = 0.0, ""
        for other in self._index.candidates(sig):
            like = minhash.estimate(sig, self._index.signatures[other])
            if like > best:
                best, place = like, self._places[other]
        self._index.add(sig)
        self._places.append(f"{row.file}:{row.line}")
        if best >= self.threshold:
            return Result([], f"near duplicate of {place} (about {best:.2f})")
        return Result([row])


@dataclass(frozen=True, slots=True)
class Sample:
    """Mixing: how often the rows of each file are taken.

    0.25 keeps a quarter of them, 2.5 gives 2 or 3 copies of each.
    `rates` maps file patterns to rates, the first that fits counts, 1 where none does. What becomes
    of a row depends on seed, file and line alone, so a file added to the mix changes no other.
    """

    rates: Mapping[str, float]
    seed: int = 0
    name: str = field(default="mix", init=False)

    def __post_init__(self) -> None:
        for pattern, rate in self.rates.items():
            if not 0 <= rate < math.inf:
                raise WrongCall(f"the rate of {pattern!r} must be 0 or more, not {rate}.")

    def __call__(self, row: Row) -> Result:
        """As many copies as the rate says; the fraction is decided by a hash."""
        rate = next((r for p, r in self.rates.items() if fnmatch(row.file, p)), 1.0)
        key = f"{self.seed}\0{row.file}\0{row.line}".encode()
        draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
        copies = int(rate) + (draw < rate % 1)
        return Result([row] * copies, "" if copies else f"sampled out at rate {rate:g}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Cuts long `text` rows into pieces of at most `size` characters that join to the same text.

    The cut is after the last paragraph, else sentence, else word that fits. Chats stay whole.
    """

    size: int
    name: str = field(default="chunk", init=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise WrongCall(f"a chunk needs at least 1 character, not {self.size}.")

    def __call__(self, row: Row) -> Result:
        """The row, or its pieces."""
        text = row.data.get("text")
        if not isinstance(text, str) or len(text) <= self.size:
            return Result([row])
        pieces = [p for p in chunks(text, self.size) if p.strip()]
        return Result([replace(row, data={**row.data, "text": p}) for p in pieces])


_CUTS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?])[\"”’')]*\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)


def chunks(text: str, size: int) -> list[str]:
    """Pieces of at most `size` characters whose join is `text`.

    >>> chunks("One two. Three four five.", 12)
    ['One two. ', 'Three four ', 'five.']
    """
    pieces = []
    while len(text) > size:
        cut = size
        for pattern in _CUTS:
            ends = [m.end() for m in pattern.finditer(text, 0, size)]
            if ends:
                cut = ends[-1]
                break
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text] if text else pieces
