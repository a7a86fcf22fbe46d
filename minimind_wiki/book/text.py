"""The text that experiments train on: TinyShakespeare when it is there, else the embedded corpus.

The record says which it was and its hash, so a number can never pass for one from other text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """name: which corpus, in words. sha256: of the UTF-8 text. text: all of it."""

    name: str
    sha256: str
    text: str

    def described(self) -> dict[str, str | int]:
        """What a record keeps of it, under "data"."""
        return {"name": self.name, "sha256": self.sha256, "characters": len(self.text)}


def real_text() -> Text:
    """TinyShakespeare from `MINIMIND_DATA` or the cache, else the embedded corpus; no network."""
    from minimind_wiki.data.corpus import load_corpus

    corpus = load_corpus()
    text = "\n".join(corpus.documents)
    return Text(corpus.name, hashlib.sha256(text.encode()).hexdigest(), text)
