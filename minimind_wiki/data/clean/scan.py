"""Text out of scans: page numbers, hard line ends, divided words, digits read for letters.

Only text that looks like a scan is touched: in prose a line ends in the midst of a sentence, while
the lines of a poem or a list begin anew. What needs to know words (rn for m, c for e, words broken
apart) is left as it is: without a dictionary `modern` and `modem` are equally good.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

_NUMBER = re.compile(r"\W{0,3}(?:page )?\d{1,4}\W{0,3}", re.I)
_GOES_ON = re.compile(r"[\w,;-]$")
_SHAPES = (
    (re.compile(r"(?<=[A-Za-z])0(?=[a-z])|(?<=[a-z])0\b|\b0(?=[fnr]\b)"), "o"),
    (re.compile(r"\b0(?=[a-z]{2})"), "O"),
    (re.compile(r"(?<=[A-Za-z])1(?=[a-z])|(?<=[a-z])1\b|\b1(?=[aeiou][a-z])"), "l"),
    (re.compile(r"\bl\b(?!['’])"), "I"),
)


def looks_like_scan(text: str) -> bool:
    """Whether a third of at least four line ends stand in the midst of a sentence.

    That is: the line ends in a word, a comma or a hyphen, and the next begins with a small letter.
    """
    lines = text.split("\n")
    pairs = [(a, b) for a, b in pairwise(lines) if a.strip() and b.strip()]
    midst = sum(bool(_GOES_ON.search(a)) and b[0].islower() for a, b in pairs)
    return len(pairs) >= 4 and midst >= len(pairs) / 3


def _without_page_numbers(lines: list[str]) -> tuple[list[str], int]:
    """Drop a number that stands alone, with the blank lines around it when a sentence goes on."""
    out: list[str] = []
    dropped = 0
    for at, line in enumerate(lines):
        alone = all(not 0 <= i < len(lines) or not lines[i].strip() for i in (at - 1, at + 1))
        if line.strip() and alone and _NUMBER.fullmatch(line.strip()):
            dropped += 1
            while out and not out[-1].strip():
                out.pop()
            if out and not _GOES_ON.search(out[-1]):
                out.append("")
        elif line.strip() or (out and out[-1].strip() and not _ends_page(lines, at)):
            out.append(line)
    return out, dropped


def _ends_page(lines: list[str], at: int) -> bool:
    """Whether the blank line at `at` follows a page number: what to do was decided there."""
    return at > 0 and bool(_NUMBER.fullmatch(lines[at - 1].strip()))


def repair_scan(text: str) -> tuple[str, Counter[str]]:
    """The text as paragraphs of one line each; text that does not look like a scan stays.

    >>> repair_scan("The vil-\\nlage lay by the\\nsea, far from a\\nroad. No-\\nbody\\ncame.")[0]
    'The village lay by the sea, far from a road. Nobody came.'
    """
    if not looks_like_scan(text):
        return text, Counter()
    lines, numbers = _without_page_numbers(text.split("\n"))
    text, divided = re.subn(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])", "", "\n".join(lines))
    width = max(map(len, lines))
    joined, paragraphs = 0, [""]
    for line in text.split("\n"):
        last = paragraphs[-1]
        if line.strip() and last.strip() and (_GOES_ON.search(last[-1]) or len(last) > width * 0.6):
            paragraphs[-1] += " " + line.strip()
            joined += 1
        else:
            paragraphs.append(line)
    out = "\n".join(paragraphs[1:])
    shapes = 0
    for pattern, letter in _SHAPES:
        out, number = pattern.subn(letter, out)
        shapes += number
    return out, +Counter({
        "page number dropped": numbers, "divided word joined": divided, "line joined": joined,
        "digit read for a letter": shapes,
    })  # fmt: skip
