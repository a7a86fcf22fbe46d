"""Text of five kinds, each as a part to learn from and a part to measure on, which is other text.

A fold takes another tenth of each as the held-out part. What is not on a machine is replaced by
what the package generates, and the record names what was read, with its hash.
"""

import hashlib
import os
import random
from functools import lru_cache
from pathlib import Path

from minimind_wiki.book.text import real_text
from minimind_wiki.data.corpus import read_documents
from minimind_wiki.data.registry import data_folders
from minimind_wiki.data.world import make_document
from minimind_wiki.tokenizer.samples import SAMPLES, mixed_text

FOLDS = 10


def english() -> list[str]:
    """TinyShakespeare, or the embedded corpus, in paragraphs."""
    return [part + "\n\n" for part in real_text().text.split("\n\n")]


def village() -> list[str]:
    """The little world."""
    return [make_document(f"kinds.{number}").text + "\n\n" for number in range(600)]


def chinese() -> list[str]:
    """Chapters of four classic novels (public domain), in paragraphs; where they are not here, two
    paragraphs of our own, shuffled, of which no part is new."""
    places = [folder / "lm" / "zh_classics.train.jsonl.gz" for folder in data_folders()]
    if found := [file for file in places if file.exists()]:
        text = "\n".join(read_documents(found[0])[::4])
    else:
        lines = mixed_text(4000).splitlines()
        text = "\n".join(line for line in lines if set(line) & set(SAMPLES["Chinese"]) - set("\n "))
    return [line + "\n" for line in text.splitlines()]


def code() -> list[str]:
    """Modules of Python's own standard library, up to 25 kB each."""
    files = sorted(Path(os.__file__).parent.glob("[a-z]*.py"))
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return [text for text in texts if len(text) < 25_000]


def numbers() -> list[str]:
    """Sums, dates, prices and readings, drawn by a seed."""
    rng = random.Random(0)

    def upto(most: int) -> int:
        return int(rng.random() * most)

    lines = []
    for _ in range(6000):
        a, b = upto(10 ** (1 + upto(4))), upto(10 ** (1 + upto(4)))
        day = f"{1900 + upto(130)}-{1 + upto(12):02}-{1 + upto(28):02}"
        price = f"{upto(10_000) / 100:.2f} at {upto(24):02}:{upto(60):02}"
        lines += [f"{a} + {b} = {a + b}\n", f"{day}, {price}\n"]
    return lines


SOURCES = {"English": english, "village": village, "Chinese": chinese, "code": code,
           "numbers": numbers}  # fmt: skip


@lru_cache(maxsize=1)
def read() -> dict[str, list[str]]:
    return {kind: source() for kind, source in SOURCES.items()}


def split(kind: str, fold: int, most: int) -> tuple[str, str]:
    """What is learned from, about `most` characters of it, and what is measured on."""
    parts = read()[kind]
    held = {index for index in range(len(parts)) if _place(index) == fold % FOLDS}
    rest = "".join(part for index, part in enumerate(parts) if index not in held)
    return rest[:most], "".join(parts[index] for index in sorted(held))[: most // 4]


def _place(index: int) -> int:
    """Which fold holds a part out; scattered, so that no rhythm of the source gets in."""
    return random.Random(index).randrange(FOLDS)


def described() -> dict[str, str]:
    """Hash of all text of each kind, and the plays' name."""
    hashes = {f"{kind}_sha256": hashlib.sha256("".join(parts).encode()).hexdigest()
              for kind, parts in read().items()}  # fmt: skip
    own = SAMPLES["Chinese"][:12] in "".join(read()["Chinese"])
    return {"English": real_text().name, "Chinese": "our samples" if own else "zh_classics",
            "code": "Python's standard library"} | hashes  # fmt: skip
