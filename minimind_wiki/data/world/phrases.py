"""Compiles the sentences of `lines` and `fillers` into parts that are filled without searching.

A part is a string or a slot; both tenses are compiled once, when the module is loaded. Each line
also gets a pattern of its fixed words, with which the parser sees at once that a line cannot have
given a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minimind_wiki.data.world.fillers import FILLERS
from minimind_wiki.data.world.lexicon import LEXICON
from minimind_wiki.data.world.lines import LINES, SHORT

_SLOT = re.compile(r"\{([^}]+)\}")
_TENSE = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
_PEOPLE = ("S", "O", "N")
_ANY = r"[\w' -]+?"  # no slot is filled with a sign that ends a clause
_THEN = r"(?:At [\d:]+, |[A-Z][a-z ]+, )?"


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence ready to fill. A part is a string, or (slot, form, capital).

    `connects`: the sentence starts with a person, so that "Then" may stand before it. `crowd`: a
    stranger is named, so that a pronoun in the next sentence could mean the stranger.
    """

    parts: tuple[str | tuple[str, str, bool], ...]
    connects: bool
    crowd: bool
    pattern: re.Pattern[str]

    def fits(self, text: str, place: int) -> bool:
        """Whether the fixed words of this line can be found in the text from a place on."""
        return self.pattern.match(text, place) is not None


def compile_line(text: str, present: bool) -> Line:
    """Parts of a line in one tense.

    >>> compile_line("{S} [went|goes] to {P}.", True).parts
    (('S', 's', True), ' goes to ', ('P', '', False), '.')
    """
    text = _tensed(_SLOT.sub(_written_out, text), present)
    parts: list[str | tuple[str, str, bool]] = []
    for index, piece in enumerate(_SLOT.split(text)):
        if index % 2 == 0:
            if piece:
                parts.append(piece)
            continue
        before = parts[-1] if parts else ""
        capital = piece.endswith("^") or not parts
        capital = capital or (isinstance(before, str) and before.endswith((". ", "? ", "! ")))
        slot, _, form = piece.rstrip("^").partition(".")
        if slot in _PEOPLE:
            form = form or "s"
        elif slot in LEXICON:
            slot += "^" * capital
        parts.append((slot, form, capital))
    slots = [part[0] for part in parts if isinstance(part, tuple)]
    first = parts[0]
    pattern = "".join(re.escape(part) if isinstance(part, str) else _ANY for part in parts)
    return Line(
        tuple(parts),
        isinstance(first, tuple) and first[0] in _PEOPLE,
        not {"folk", "folk^"}.isdisjoint(slots),
        re.compile(pattern if isinstance(first, str) else _THEN + pattern),
    )


def _written_out(slot: re.Match[str]) -> str:
    """A short form written out; its first slot takes over the capital."""
    name = slot[1]
    full = SHORT.get(name.rstrip("^"))
    if full is None:
        return slot[0]
    if not name.endswith("^"):
        return full
    return full.replace("}", "^}", 1) if full[0] == "{" else full[0].upper() + full[1:]


def _tensed(text: str, present: bool) -> str:
    return _TENSE.sub(r"\2" if present else r"\1", text)


COMPILED = [
    {
        name: tuple(compile_line(text, present) for text in lines)
        for name, lines in (LINES | FILLERS).items()
    }
    for present in (False, True)
]
LEXICONS = [
    {
        key + mark: tuple((w[0].upper() + w[1:] if mark else w) for w in words)
        for key, plain in LEXICON.items()
        for words in (tuple(_tensed(w, present) for w in plain),)
        for mark in ("", "^")
    }
    for present in (False, True)
]
