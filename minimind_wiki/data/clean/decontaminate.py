"""Rows that quote a benchmark are dropped, so that its score is not a score of memory.

A row is dirty when it shares a run of 13 words with a benchmark's text, case and punctuation aside
(Brown et al. 2020, arXiv:2005.14165, appendix C). Shorter benchmark texts are looked for whole,
down to 8 words; below that a match says nothing, and the text is counted as too short to tell.
GPT-3 cuts 200 characters around a match and keeps the rest; we drop the row, which is stricter. A
paraphrase or a translation passes (Yang et al. 2023, arXiv:2311.04850).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minimind_wiki.data.clean.minhash import shingles, words
from minimind_wiki.data.clean.step import Result, Row
from minimind_wiki.data.corpus import decode, read_bytes
from minimind_wiki.data.schemas import split_lines
from minimind_wiki.errors import MinimindError


class Benchmarks:
    """The n-grams of benchmark texts; one number of 64 bits for each."""

    def __init__(self, n: int = 13, least: int = 8) -> None:
        self.n, self.least = n, least
        self.grams: dict[int, dict[int, str]] = {}  # length in words -> hash -> benchmark
        self.texts, self.too_short = 0, 0

    def add(self, name: str, texts: Iterable[str]) -> None:
        """Take in the texts of one benchmark."""
        for text in texts:
            length = min(self.n, len(words(text)))
            if length < self.least:
                self.too_short += 1
                continue
            self.texts += 1
            grams = self.grams.setdefault(length, {})
            for value in shingles(text, length):
                grams.setdefault(int(value), name)

    def find(self, text: str) -> str | None:
        """The name of a benchmark that the text quotes, with the length of the run, or None."""
        number = len(words(text))
        for length in sorted(self.grams, reverse=True):
            if length > number:
                continue
            grams = self.grams[length]
            for value in shingles(text, length):
                if int(value) in grams:
                    return f"{length} words of {grams[int(value)]}"
        return None


def strings(value: Any) -> Iterator[str]:
    """All strings inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def load_benchmarks(paths: Iterable[Path], n: int = 13) -> Benchmarks:
    """Every string of every row of JSONL files (also .gz); a benchmark is called after its file."""
    found = Benchmarks(n)
    for path in paths:
        for number, line in enumerate(split_lines(decode(path, read_bytes(path))), start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise MinimindError(f"{path}:{number}: not JSON ({error}).") from error
            found.add(path.name.split(".")[0], strings(row))
    return found


class Decontaminate:
    """The step: drops rows that quote a benchmark."""

    name = "decontaminate"

    def __init__(self, benchmarks: Benchmarks) -> None:
        self.benchmarks = benchmarks

    def __call__(self, row: Row) -> Result:
        """The row, or which benchmark it quotes."""
        for text in row.texts():
            if reason := self.benchmarks.find(text):
                return Result([], reason)
        return Result([row])
