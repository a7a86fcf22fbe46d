"""What a vocabulary costs and what it buys, on texts of several kinds.

*Bytes per token*: how much text one step of the model reads. *Fertility* (Rust et al. 2021,
arXiv:2012.15613): tokens per word, where a word is what stands between spaces, and each Chinese
character is one. *Embedding share*: the part of the model's parameters that the vocabulary takes.
*Digits*: in how many ways numbers of one length are
cut; where 2024 is one token and 2025 is two, the model cannot learn one way to add (Singh & Strouse
2024, arXiv:2402.14903).
Losses of models with different vocabularies compare per byte, never per token.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from minimind_wiki.errors import MinimindError

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_HAN}]|[^\\s{_HAN}]+")


class Compared(Protocol):
    """What is compared: less than a whole `protocol.Tokenizer`."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The ids of `text`."""

    def decode(self, ids: Sequence[int], specials: bool = False) -> str:
        """The text of `ids`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenizer on one text. `exact`: decoding gives the text again, to the character."""

    tokenizer: str
    text: str
    vocab_size: int
    bytes: int
    words: int
    tokens: int
    exact: bool
    embedding_share: float

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text for each token."""
        return self.bytes / self.tokens

    @property
    def fertility(self) -> float:
        """Tokens for each word."""
        return self.tokens / self.words


def count_words(text: str) -> int:
    """Words between spaces; each Chinese character is a word.

    >>> count_words("It's 安娜 home.")
    4
    """
    return sum(1 for _ in _WORD.finditer(text))


def embedding_share(vocab_size: int, hidden_size: int, body: int, tied: bool = True) -> float:
    """Parameters of the embedding over all; `body` are the model's others.

    MiniMind's 26M model with 6,400 entries, and with a vocabulary of Llama 3's size:

    >>> body = 25_829_888 - 6400 * 512
    >>> [round(embedding_share(v, 512, body), 2) for v in (6400, 128_256)]
    [0.13, 0.74]
    """
    tables = vocab_size * hidden_size * (1 if tied else 2)
    return tables / (tables + body)


def compare(
    tokenizers: Mapping[str, Compared],
    texts: Mapping[str, str],
    hidden_size: int,
    body: int,
    tied: bool = True,
) -> list[Row]:
    """A row for each text and tokenizer, by text. MinimindError for a text without a word."""
    rows = []
    for name, text in texts.items():
        words = count_words(text)
        if not words:
            raise MinimindError(f"{name} has no words in it, so there is nothing to compare.")
        for label, tokenizer in tokenizers.items():
            ids = list(tokenizer.encode(text))
            size = tokenizer.vocab_size
            rows.append(
                Row(
                    tokenizer=label,
                    text=name,
                    vocab_size=size,
                    bytes=len(text.encode()),
                    words=words,
                    tokens=len(ids),
                    exact=tokenizer.decode(ids) == text,
                    embedding_share=embedding_share(size, hidden_size, body, tied),
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class Digits:
    """How numbers of four digits are cut. `ways`: lengths of the parts -> how many numbers."""

    ways: Mapping[tuple[int, ...], int]

    @property
    def per_token(self) -> float:
        """Digits for each token."""
        tokens = sum(len(way) * count for way, count in self.ways.items())
        return 4 * sum(self.ways.values()) / tokens


def digits(tokenizer: Compared) -> Digits:
    """Each number from 1000 to 9999 after a space, as it stands in a text."""
    ways: Counter[tuple[int, ...]] = Counter()
    for number in range(1000, 10_000):
        parts = [tokenizer.decode([token]) for token in tokenizer.encode(f" {number}")]
        lengths = (sum(character.isdigit() for character in part) for part in parts)
        ways[tuple(length for length in lengths if length)] += 1
    return Digits(dict(ways.most_common()))


def digits_table(tokenizers: Mapping[str, Compared]) -> str:
    """A line for each tokenizer: digits a token, ways to cut, and the commonest way."""
    width = max(map(len, tokenizers))
    lines = ["Digits of the numbers 1000 to 9999:"]
    for label, tokenizer in tokenizers.items():
        found = digits(tokenizer)
        way, count = next(iter(found.ways.items()))
        total, ways = sum(found.ways.values()), len(found.ways)
        lines.append(
            f"  {label.ljust(width)}  {found.per_token:.2f} digits a token, cut in {ways} "
            f"way{'s' * (ways > 1)}, {count / total:.0%} of them as {'+'.join(map(str, way))}"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text, a line each."""
    head = ("text", "tokenizer", "vocabulary", "bytes", "tokens", "bytes/token", "tokens/word",
            "embedding", "exact")  # fmt: skip
    cells = [head]
    for row in rows:
        cells.append((
            row.text, row.tokenizer, f"{row.vocab_size:,}", f"{row.bytes:,}", f"{row.tokens:,}",
            f"{row.bytes_per_token:.2f}", f"{row.fertility:.2f}", f"{row.embedding_share:.1%}",
            "yes" if row.exact else "no",
        ))  # fmt: skip
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = []
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines)
