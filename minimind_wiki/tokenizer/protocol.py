"""The one face that every tokenizer has, and its fingerprint.

Training, inference and data see only this: whether the ids come from bytes, from the merges written
here or from Hugging Face's library is the folder's affair (`load.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """Text to ids and back."""

    @property
    def name(self) -> str:
        """What it is, to be shown."""

    @property
    def fingerprint(self) -> str:
        """`fingerprint_of` it: equal when the ids mean the same, whichever library runs."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    @property
    def pad_id(self) -> int:
        """The id that fills up a batch."""

    @property
    def bos_id(self) -> int:
        """The id that begins a document or a turn."""

    @property
    def eos_id(self) -> int:
        """The id that ends a document or a turn."""

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`; reserved tokens in it are data unless `specials` is given."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts; the library takes all cores for them."""

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD."""

    def byte_length(self, token: int) -> int:
        """Bytes of text that the token stands for; 0 for a reserved one.

        Summed over `encode(text)` this is `len(text.encode())`, so that a loss per token becomes a
        loss per byte.
        """

    def token_bytes(self, token: int) -> bytes:
        """The bytes of text that the token stands for; none for a reserved one.

        A character of several bytes may be spread over tokens, so these need not be UTF-8.
        """

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `AutoTokenizer` reads them."""


def text_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """A whole document: the bos id, its text, the eos id (MiniMind's pretraining rows).

    The first makes the document's beginning something to be predicted, and gives a sample a place
    to start from; the second says where to stop.
    """
    return [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]


PROBE = (
    "The quick (brown) fox's 1,234 jumps; naïve café — 你好，世界！\n\tdef f(x): return x ** 2 🙂"
)


def fingerprint_of(tokenizer: Tokenizer) -> str:
    """sha256 of what the tokenizer does: each id's text, and the ids of a probe in three scripts.

    It stands in the header of token shards (`minimind_wiki.data.shards`).
    """
    table = [tokenizer.decode([i], specials=True) for i in range(tokenizer.vocab_size)]
    shown = [table, tokenizer.eos_id, list(map(int, tokenizer.encode(PROBE)))]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()
