"""Plain sentences in other languages than English, for pages that a language filter should drop.

`foreign.json` has three columns of phrases of ours for each language; a sentence takes one phrase
of each. Polish is there because the language filter has no list of Polish words.
"""

from __future__ import annotations

import json
from pathlib import Path

from minimind_wiki.data.world.chooser import Chooser

# language -> who, does (what), when (or where) -> phrases
_COLUMNS: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)
LANGUAGES = tuple(_COLUMNS)


def sentence(c: Chooser, language: str) -> str:
    """One sentence in `language`, one of LANGUAGES."""
    who, does, when = (c.pick(phrases) for phrases in _COLUMNS[language].values())
    return f"{who}{does}，{when}。" if language == "zh" else f"{who} {does} {when}."


def passage(c: Chooser, language: str, sentences: int) -> str:
    """So many sentences, five a paragraph."""
    space = "" if language == "zh" else " "
    told = [sentence(c, language) for _ in range(sentences)]
    return "\n\n".join(space.join(told[i : i + 5]) for i in range(0, len(told), 5))
