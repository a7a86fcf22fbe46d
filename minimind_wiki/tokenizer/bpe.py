"""Byte-level byte-pair encoding (Sennrich et al. 2016; over bytes: Radford et al. 2019).

Training starts from the 256 bytes and, again and again, makes the most frequent pair of
neighbours one token. Encoding replays the merges in the order in which they were learned. This is
the form to read; `fast_bpe.py` computes the same and holds for megabytes.

A byte is written as one printable character (GPT-2's table), so that a token is a plain string, as
in tokenizer.json. The ids are Hugging Face's: reserved tokens first, then the bytes in the order of
their characters, then a new token for each merge.

The tie rule, Hugging Face's too: of equally frequent pairs, the one with the smaller ids.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.bytes import _byte_characters
from minimind_wiki.tokenizer.folder import read_bpe, write_folder
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.pretokenize import split
from minimind_wiki.tokenizer.protocol import fingerprint_of

Pair = tuple[int, int]
Progress = Callable[[int, int], None]  # entries so far, entries wanted

CHARACTERS = _byte_characters()  # byte -> character
BYTES = {character: byte for byte, character in enumerate(CHARACTERS)}


def spell(text: str) -> str:
    """The UTF-8 bytes of `text` as characters, one each.

    >>> spell(" né")
    'ĠnÃ©'
    """
    return "".join(CHARACTERS[byte] for byte in text.encode())


def first_entries(reserved: Sequence[str], vocab_size: int) -> dict[str, int]:
    """The vocabulary before the first merge: reserved tokens, then the bytes.

    WrongCall when `vocab_size` does not even hold these, or when a reserved token is such that
    merges could write it: then a text could contain a control token.
    """
    for token in reserved:
        if len(split(token)) < 2:
            raise WrongCall(
                f"the reserved token {token!r} could also be learned from text. Give it a form "
                f"that is cut into several pieces, such as '<|{token.strip() or 'name'}|>'."
            )
    vocabulary: dict[str, int] = {}
    for token in [*reserved, *sorted(CHARACTERS)]:
        vocabulary.setdefault(token, len(vocabulary))
    if vocab_size < len(vocabulary):
        raise WrongCall(
            f"a vocabulary of {vocab_size:,} is too small: {len(reserved)} reserved tokens and 256 "
            f"bytes need {len(vocabulary)} entries. Ask for more, for example {2**9:,}."
        )
    return vocabulary


def count_pairs(words: Sequence[tuple[list[int], int]]) -> dict[Pair, int]:
    """How often each pair of neighbours stands in `words`, which are (ids, times seen)."""
    pairs: defaultdict[Pair, int] = defaultdict(int)
    for ids, times in words:
        for pair in pairwise(ids):
            pairs[pair] += times
    return pairs


def merge(ids: list[int], pair: Pair, new: int) -> list[int]:
    """`ids` with each `pair`, from the left, replaced by `new`.

    >>> merge([1, 1, 1, 2], (1, 1), 9)
    [9, 1, 2]
    """
    if pair[0] not in ids or pair[1] not in ids:  # most words; this looks without a Python loop
        return ids
    merged: list[int] = []
    at = 0
    while at < len(ids):
        found = (ids[at], ids[at + 1]) == pair if at + 1 < len(ids) else False
        merged.append(new if found else ids[at])
        at += 2 if found else 1
    return merged


def train(
    pieces: Mapping[str, int],
    vocab_size: int,
    reserved: Sequence[str] = tuple(CHATML),
    progress: Progress | None = None,
) -> tuple[dict[str, int], list[Pair]]:
    """Learn a vocabulary and its merges from counted pieces (`pretokenize.count_pieces`).

    Fewer than `vocab_size` entries come back when no pair is left. All pairs are counted anew for
    each merge: merges × text, the plain cost that the fast form avoids.
    Errors: WrongCall for too small a `vocab_size`, MinimindError without pieces.
    """
    vocabulary = first_entries(reserved, vocab_size)
    if not pieces:
        raise MinimindError("there is no text to learn a vocabulary from. Give data with text.")
    names = list(vocabulary)
    words = [([vocabulary[c] for c in spell(piece)], times) for piece, times in pieces.items()]
    merges: list[Pair] = []
    while len(vocabulary) < vocab_size:
        pairs = count_pairs(words)
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        token = names[best[0]] + names[best[1]]
        if token not in vocabulary:  # ab+c after a+bc would be a second merge for one entry
            vocabulary[token] = len(names)
            names.append(token)
        merges.append(best)
        words = [(merge(ids, best, vocabulary[token]), times) for ids, times in words]
        if progress:
            progress(len(vocabulary), vocab_size)
    return vocabulary, merges


class BPETokenizer:
    """Text to ids and back with learned merges. The calls are those of `ByteTokenizer`."""

    name = "bpe"
    pad_id, bos_id, eos_id = 0, 1, 2  # the first three reserved tokens, MiniMind's own roles

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[Pair],
        reserved: Mapping[str, bool] = CHATML,
    ) -> None:
        """`reserved`: token -> whether it is left out when decoding (special in HF's sense)."""
        self.vocabulary = dict(vocabulary)
        self.names = sorted(vocabulary, key=self.vocabulary.__getitem__)
        self.vocab_size = len(self.names)
        self.merges = list(merges)
        # (rank, the token that the pair makes); of a pair merged twice the later rank holds.
        self.ranks = {
            (a, b): (rank, self.vocabulary[self.names[a] + self.names[b]])
            for rank, (a, b) in enumerate(merges)
        }
        self.reserved = dict(reserved)
        self.special_ids = {token: self.vocabulary[token] for token in reserved}
        longest_first = sorted(reserved, key=len, reverse=True)
        self._reserved = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`. With `specials`, reserved tokens in it become control tokens.

        Off by default: text from a corpus or a user must not be able to end a turn.
        """
        if not specials:
            return [i for piece in split(text) for i in self._piece(piece)]
        ids: list[int] = []
        at = 0
        for match in self._reserved.finditer(text):
            ids += self.encode(text[at : match.start()])
            ids.append(self.special_ids[match.group()])
            at = match.end()
        return ids + self.encode(text[at:])

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each text."""
        return [self.encode(text) for text in texts]

    def _piece(self, piece: str) -> Sequence[int]:
        """Merge the neighbours of the lowest rank, the leftmost first, until none can be merged."""
        ids = [self.vocabulary[c] for c in spell(piece)]
        while True:
            pairs = pairwise(ids)
            known = [(*self.ranks[pair], at) for at, pair in enumerate(pairs) if pair in self.ranks]
            if not known:
                return ids
            _, new, at = min(known, key=lambda found: (found[0], found[2]))
            ids[at : at + 2] = [new]

    def token_bytes(self, token: int) -> bytes:
        """The bytes of text that the token stands for; none for a reserved token."""
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"id {token} is not in 0..{self.vocab_size - 1}")
        name = self.names[token]
        return b"" if name in self.reserved else bytes(BYTES[c] for c in name)

    def byte_length(self, token: int) -> int:
        """How many bytes of text the token stands for."""
        return len(self.token_bytes(token))

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD.

        Without `specials` the special tokens are left out (`<think>` and its like are not special
        in this sense and stay). ValueError for an id outside the vocabulary.
        """
        text, raw = "", b""
        for token in ids:
            raw += self.token_bytes(token)
            name = self.names[token]
            if name in self.reserved and (specials or not self.reserved[name]):
                text, raw = text + raw.decode("utf-8", errors="replace") + name, b""
        return text + raw.decode("utf-8", errors="replace")

    @cached_property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of(self)

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as `AutoTokenizer` reads them."""
        from tokenizers import models

        ordered = sorted(self.ranks, key=self.ranks.__getitem__)
        merges = [(self.names[a], self.names[b]) for a, b in ordered]
        write_folder(folder, models.BPE(vocab=self.vocabulary, merges=merges), self.reserved, "bpe")

    @classmethod
    def load(cls, folder: str | Path) -> BPETokenizer:
        """The tokenizer of a folder that `save` wrote, or MiniMind's. MinimindError otherwise."""
        vocabulary, merges, reserved = read_bpe(folder)
        return cls(vocabulary, [(vocabulary[a], vocabulary[b]) for a, b in merges], reserved)
