"""Grammar items: a sentence of a held-out text against the same with one fault.

The faults cannot be seen between neighbouring words: a sentence in the wrong tense, which is in
order by itself, or "he" where the only person about is a woman. Each fault is also the right answer
of as many items, so that a taste for one tense or one pronoun gains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minimind_wiki.data.world.fillers import FILLERS
from minimind_wiki.data.world.lexicon import LEXICON
from minimind_wiki.data.world.lines import LINES
from minimind_wiki.data.world.story import Document
from minimind_wiki.data.world.words import IS_HER
from minimind_wiki.evaluate.tricks import Item

_PAIR = re.compile(r"\[(\w+)\|(\w+)\]")
_TO_PRESENT = {
    past: present
    for texts in (*LINES.values(), *FILLERS.values(), *LEXICON.values())
    for text in texts
    for past, present in _PAIR.findall(text)
    if past not in ("then", "soon")
}
_TO_PAST = {present: past for past, present in _TO_PRESENT.items()}
_QUOTE = re.compile(r'("[^"]*")')
_SWAP = {"he": "she", "she": "he", "He": "She", "She": "He", "his": "her", "her": "his"}
_PRONOUN = re.compile(r"\b([Hh]e|[Ss]he|(?:his|her)(?= (?:hands|way|head)\b))\b")
_SKIPPED = re.compile(r"\bto the left\b|\bI\b")  # no verb; "I wants", which two words betray
MEMORY = 3  # sentences before in which nobody of the other gender may be named


def other_tense(sentence: str, present: bool) -> str:
    """The sentence with each verb outside quotations in the other tense; empty without a verb.

    >>> other_tense('"It is here," Mila said, and ran to Fox Hill.', present=False)
    '"It is here," Mila says, and runs to Fox Hill.'
    """
    verbs = _TO_PAST if present else _TO_PRESENT
    parts = _QUOTE.split(sentence)
    if any(_SKIPPED.search(part) for part in parts[::2]):
        return ""
    parts[::2] = [re.sub(r"\w+", lambda m: verbs.get(m[0], m[0]), part) for part in parts[::2]]
    changed = "".join(parts)
    return changed if changed != sentence else ""


def other_gender(sentence: str, names: set[str]) -> tuple[str, bool]:
    """The sentence with one pronoun of the other gender, and whether the right one is female.

    Empty where there is no pronoun, or where `names` (all who may be meant) are not of its gender.

    >>> other_gender("Then she ran to Fox Hill.", {"Mila"})
    ('Then he ran to Fox Hill.', True)
    """
    outside = _QUOTE.sub(lambda m: " " * len(m[0]), sentence)
    hit = _PRONOUN.search(outside)
    if not hit:
        return "", False
    her = hit[1].lower() in ("she", "her")
    if any(IS_HER[name] != her for name in names):
        return "", her
    return sentence[: hit.start()] + _SWAP[hit[1]] + sentence[hit.end() :], her


def _faults(document: Document) -> Iterator[tuple[int, int, str, str]]:
    """(kind, number, sentence, the same with a fault) for the sentences that can have one."""
    sentences = [sentence for sentence, _ in document.states()]
    named = [{n for n in re.findall(r"\b[A-Z][a-z]+\b", s) if n in IS_HER} for s in sentences]
    present = document.register == "live"
    for number in range(3, len(sentences) - 1):
        sentence = sentences[number]
        wrong = other_tense(sentence, present)
        if wrong:
            yield int(present), number, sentence, wrong
        if document.register == "letter":
            continue
        wrong, her = other_gender(sentence, set().union(*named[number - MEMORY : number + 1]))
        if wrong:
            yield 2 + her, number, sentence, wrong


def grammar_items(documents: Iterable[Document]) -> Iterator[Item]:
    """Items in fours: past is right, present is right, he is right, she is right.

    Each document gives at most one item, of the kind that has waited longest.
    """
    waiting: list[list[Item]] = [[], [], [], []]
    for document in documents:
        found: dict[int, Item] = {}
        for kind, number, right, wrong in _faults(document):
            end = document.sentences[number - 1][0]
            before, after = document.text[:end], document.text[end:]
            gap = after[: len(after) - len(after.lstrip())]
            found[kind] = Item("grammar", before, (right, wrong), (right, ""), gap)
        if found:
            kind = min(found, key=lambda k: (len(waiting[k]), -k))
            waiting[kind].append(found[kind])
        if all(waiting):
            yield from [items.pop(0) for items in waiting]
