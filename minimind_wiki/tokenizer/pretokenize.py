r"""Pre-tokenization: text is cut into pieces before any merge, and no merge crosses a cut.

The cut is GPT-2's (Radford et al. 2019), as Hugging Face's `ByteLevel` has it:

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

An English contraction; letters, digits or signs, each with the one space before them; then spaces,
of which the last is left to the word that follows. Without the cut a frequent "dog." and "dog!"
would each become tokens. `re` knows no \p{L}, so the classes are written out from Python's own
Unicode tables. They may be older or newer than a library's: a letter that one of them does not
know yet counts there as a sign, and then the cut (never the text) differs.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

# Unicode's White_Space. Python's own \s also takes the separators U+001C–001F, which are not in it.
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def _members(kind: str) -> str:
    r"""All characters of a general category ("L" or "N") as ranges of a character class.

    >>> _members("N")[:3]
    '0-9'
    """
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == kind:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges)


@cache
def pattern() -> re.Pattern[str]:
    """GPT-2's pattern for `re`; built once, in about a third of a second."""
    letter, number = _members("L"), _members("N")
    return re.compile(
        f"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+| ?[^{SPACE}{letter}{number}]+"
        f"|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+"
    )


def split(text: str) -> list[str]:
    """The pieces of `text`, in order; joined they are the text again.

    >>> split("It's 12 o'clock,  Ana!")
    ['It', "'s", ' 12', ' o', "'", 'clock', ',', ' ', ' Ana', '!']
    """
    return pattern().findall(text)


def count_pieces(texts: Iterable[str]) -> Counter[str]:
    """How often each piece occurs in `texts`: all that a trainer has to know of them."""
    pieces: Counter[str] = Counter()
    for text in texts:
        pieces.update(split(text))
    return pieces
