"""Faults of scans and of wrong decodings, put into a clean text.

Scans: shapes that are read for each other, lines of one width, divided words, words broken apart,
page numbers. Encodings: UTF-8 read as Windows-1252, full-width letters, ligatures, odd spaces,
invisible characters, accents apart from their letters.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata

from minimind_wiki.data.world.chooser import Chooser

CONFUSIONS = (("rn", "m"), ("m", "rn"), ("l", "1"), ("O", "0"), ("o", "0"), ("I", "l"), ("e", "c"),
              ("h", "b"), ("cl", "d"))  # fmt: skip
_LIGATURES = (("ffi", "ﬃ"), ("fi", "ﬁ"), ("fl", "ﬂ"), ("ff", "ﬀ"))
_ODD = ("\u00a0", "\u200b", "\u00ad", "\u2009", "\ufeff")


def confuse(c: Chooser, text: str, rate: float) -> str:
    """Misread a share `rate` of the words, one shape each."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if c._random() < rate:
            fits = [pair for pair in CONFUSIONS if pair[0] in word]
            if fits:
                old, new = c.pick(fits)
                words[at] = word.replace(old, new, 1)
    return " ".join(words)


def _lines(c: Chooser, paragraph: str, width: int) -> list[str]:
    """Lines of at most `width` characters; long words at a line's end are divided now and then."""
    lines = textwrap.wrap(paragraph, width, break_on_hyphens=False)
    for at in range(len(lines) - 1):
        first, _, rest = lines[at + 1].partition(" ")
        if rest and re.fullmatch("[a-z]{6,}", first) and c.pick(range(2)):
            cut = c.pick(range(3, len(first) - 2))
            lines[at] += f" {first[:cut]}-"
            lines[at + 1] = f"{first[cut:]} {rest}"
    return lines


def scan(c: Chooser, text: str) -> str:
    """The text as a scan gives it."""
    width, rate, page = c.pick((48, 60, 72)), c.pick((0.0, 0.01, 0.03, 0.06)), c.pick(range(2, 300))
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        for line in paragraph.split("\n"):
            lines += _lines(c, confuse(c, line, rate), width)
        lines.append("")
    lines.pop()
    number = c.pick(("{}", "- {} -", "Page {}", "[{}]"))
    out: list[str] = []
    for at, line in enumerate(lines):
        if at and at % 24 == 0:
            out += ["", number.format(page + at // 24), ""]
        if line and c._random() < rate:  # a word broken apart
            line = re.sub(r"\b([a-z]{3})([a-z]{3,})\b", r"\1 \2", line, count=1)
        out.append(line)
    return "\n".join(out)


def curled(text: str) -> str:
    """With typographic quotes and dashes, which is what a wrong decoding shows.

    >>> curled('"It\\'s here," she said.')
    '“It’s here,” she said.'
    """
    text = re.sub(r'"(?=\S)(?<![\w.,!?])', "“", text).replace('"', "”")
    return text.replace("'", "’").replace(" - ", " — ")


def mojibake(text: str) -> str:
    """UTF-8 bytes read as Windows-1252; its five holes are read as Latin-1, as browsers do.

    >>> mojibake("café ’")
    'cafÃ© â€™'
    """
    return "".join(
        bytes([b]).decode("latin-1" if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "cp1252")
        for b in text.encode()
    )


def width_faults(c: Chooser, text: str) -> str:
    """Full-width words, ligatures, odd spaces, invisible characters, accents apart."""
    words = unicodedata.normalize("NFD", text).split(" ")
    for at, word in enumerate(words):
        chance = c._random()
        if chance < 0.06 and word.isalpha():
            words[at] = "".join(chr(ord(x) + 0xFEE0) if "!" <= x <= "~" else x for x in word)
        elif chance < 0.12:
            words[at] = word + c.pick(_ODD[1:3])
        elif chance < 0.4:
            for plain, joined in _LIGATURES:
                words[at] = words[at].replace(plain, joined)
    out = words[0]
    for word in words[1:]:
        out += (c.pick(("\u00a0", "\u2009")) if c._random() < 0.05 else " ") + word
    return out
