"""Vosk, the second language of the world: small, regular, and unlike English where it counts.

One meaning (`Clause`) is said in both languages, so a translation is exact. Vosk puts the verb last
and the adjective behind its noun; nouns and their adjectives take number and case, verbs take
tense, number and negation, a question ends in a particle, and after a numeral the noun stays in the
singular. Endings are always the same: whoever knows stem and ending knows the form. So some pairs
of stem and ending can be kept for the test, as SCAN does with its primitives (Lake & Baroni 2018,
arXiv:1711.00350): who has learned rules translates them, who has learned words does not.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import product

from minimind_wiki.data.world.words import _WHAT, _WHERE, IS_HER, LOOKS, NAMES, PLACES, THINGS

NUMERALS = ("two", "three", "four", "five")
ARTICLES = ("the", "a", "all the", "some")  # `all the` and `some` are plural, `the` and `a` are not
# verb: what it takes besides the subject, in English order, and its irregular forms
FRAMES: dict[str, tuple[str, ...]] = {
    "go": ("to",), "walk": ("to",), "come": ("to",), "be": ("at",), "seem": ("like",),
    "take": ("what",), "find": ("what",), "clean": ("what",), "want": ("what",),
    "have": ("what",), "see": ("what",), "give": ("what", "whom"), "bring": ("what", "whom"),
    "show": ("what", "whom"), "sell": ("what", "whom"), "leave": ("what", "at"),
    "hide": ("what", "at"), "help": ("who",), "greet": ("who",),
}  # fmt: skip
OF_THINGS = ("be", "seem")  # verbs that things may be the subject of
_SYLLABLES = [a + b for a, b in product("bdfghjklmnprstvz", "aeiou")]
_LAST = "klmnrstv"


@dataclass(frozen=True, slots=True)
class Noun:
    """Things as a sentence names them: `count` is an article or a numeral, `look` may be empty."""

    thing: str
    count: str
    look: str = ""

    @property
    def many(self) -> bool:
        """Whether it is more than one."""
        return self.count not in ("the", "a")


@dataclass(frozen=True, slots=True)
class Clause:
    """A meaning. The subject is one or two people, or a `Noun`; empty is what the verb lacks."""

    verb: str
    subject: tuple[str, ...] | Noun
    what: Noun | None = None
    who: str = ""
    whom: str = ""
    place: str = ""
    look: str = ""
    past: bool = False
    negative: bool = False
    question: bool = False

    @property
    def many(self) -> bool:
        """Whether the subject is more than one."""
        return self.subject.many if isinstance(self.subject, Noun) else len(self.subject) > 1

    def constructions(self) -> list[str]:
        """The pairs of a stem and what is done with it; they decide the split of a sentence.

        >>> Clause("seem", Noun("cup", "two"), look="red", past=True).constructions()
        ['seem past', 'cup numeral subject', 'red predicate']
        """
        how = "past" if self.past else "present"
        how += " not" * self.negative + " asked" * self.question
        found = [f"{self.verb} {how}"]
        for noun, role in ((self.subject, "subject"), (self.what, "object")):
            if isinstance(noun, Noun):
                number = "numeral" if noun.count in NUMERALS else "plural" if noun.many else "one"
                found.append(f"{noun.thing} {number} {role}")
                if noun.look:
                    found.append(f"{noun.look} {number} {role}")
        return [*found, f"{self.look} predicate"] if self.look else found


def _lexicon(words: list[str], syllables: int, taken: set[str]) -> dict[str, str]:
    """A pronounceable stem for each word: its checksum chooses, a stem in use is passed over."""
    made = {}
    for word in words:
        number = zlib.crc32(f"vosk {word}".encode())
        while True:
            rest, stem = number, ""
            for _ in range(syllables):
                rest, index = divmod(rest, len(_SYLLABLES))
                stem += _SYLLABLES[index]
            stem += _LAST[rest % len(_LAST)]
            if stem not in taken and not (
                stem.endswith(("ur", "an"))  # as verbs end
                or any((stem + ending).title() in NAMES for ending in ("", "i"))
            ):
                break
            number = zlib.crc32(f"vosk {number}".encode())
        taken.add(stem)
        made[word] = stem
    return made


_taken: set[str] = set()
STEMS = _lexicon([*FRAMES, *NUMERALS], 1, _taken)
PARTS = _lexicon([*_WHERE, *_WHAT], 1, _taken)
STEMS |= _lexicon([*THINGS, *LOOKS], 2, _taken)

SOME, AND, ASK = "en", "u", "ki"
_NUMBERS, _CASES = ("", "i"), {"subject": "", "object": "a"}


def place_name(place: str) -> str:
    """A place in Vosk, a compound with its head first: Fox Hill is 'hill-fox'."""
    first, second = place.split()
    return (PARTS[second] + PARTS[first]).capitalize()


VOSK_PLACES = {place: place_name(place) for place in PLACES}
_PLACE_OF = {name: place for place, name in VOSK_PLACES.items()}


def _noun(noun: Noun, case: str) -> list[str]:
    ending = _CASES[case]
    numeral = noun.count in NUMERALS
    ending = ("i" if noun.many and not numeral else "") + ending
    words = [STEMS[noun.count]] if numeral else [SOME] if noun.count in ("a", "some") else []
    words.append(STEMS[noun.thing] + ending)
    return [*words, STEMS[noun.look] + ending] if noun.look else words


def to_vosk(clause: Clause) -> str:
    """The sentence in Vosk.

    >>> to_vosk(Clause("greet", ("Milo", "Tala"), who="Sara", past=True, question=True))
    "Milo u Tala Sara'a kimuris ki?"
    """
    if isinstance(clause.subject, Noun):
        words = _noun(clause.subject, "subject")
    else:
        words = f" {AND} ".join(clause.subject).split()
    if clause.whom:
        words.append(f"{clause.whom}'e")
    if clause.who:
        words.append(f"{clause.who}'a")
    if clause.what:
        words += _noun(clause.what, "object")
    if clause.place:
        words.append(
            VOSK_PLACES[clause.place] + ("'u" if FRAMES[clause.verb][-1] == "to" else "'o")
        )
    if clause.look:
        words.append(f"{STEMS[clause.look]}un")
    words.append(verb_form(clause.verb, clause.past, clause.negative, clause.many))
    text = " ".join([*words, ASK] if clause.question else words)
    return text[0].upper() + text[1:] + ("?" if clause.question else ".")


def verb_form(verb: str, past: bool, negative: bool, many: bool) -> str:
    """Negation, stem, tense and number, in this order."""
    return "o" * negative + STEMS[verb] + ("ur" if past else "an") + "is" * many


_EITHER = (False, True)
_VERBS = {
    verb_form(verb, past, no, many): (verb, past, no)
    for verb, past, no, many in product(FRAMES, _EITHER, _EITHER, _EITHER)
}
_FORMS = {
    STEMS[word] + number + case: (word, number, role)
    for word, number, (role, case) in product([*THINGS, *LOOKS], _NUMBERS, _CASES.items())
}
_ESSIVE = {f"{STEMS[look]}un": look for look in LOOKS}
_COUNTS = {STEMS[word]: word for word in NUMERALS}
_KNOWN = [*_VERBS, *_FORMS, *_ESSIVE, *_COUNTS, SOME, AND, ASK]
if len(set(_KNOWN)) != len(_KNOWN):
    raise AssertionError("two forms of Vosk are spelled alike")


class NotVosk(ValueError):
    """The text is no sentence of Vosk."""


def _read_noun(words: list[str], role: str) -> Noun | None:
    """Take a noun of this role from the front of `words`; None if there is none."""
    start = words[0] if words else ""
    marked = start in _COUNTS or start == SOME
    word, number, found = _FORMS.get(words[1] if marked and len(words) > 1 else start, ("", "", ""))
    if found != role or word not in THINGS:
        return None
    del words[: 1 + marked]
    look = ""
    if words and _FORMS.get(words[0], ("", "", ""))[1:] == (number, role):
        look = _FORMS[words[0]][0]
        if look in LOOKS:
            words.pop(0)
        else:
            look = ""
    if start in _COUNTS:
        return Noun(word, _COUNTS[start], look) if not number else None
    count = ("some" if number else "a") if marked else "all the" if number else "the"
    return Noun(word, count, look)


def parse_vosk(text: str) -> Clause:
    """The meaning of a sentence of Vosk; NotVosk, a ValueError, if it is none.

    The sentence is said again and compared, so nothing that is not exact passes.
    """
    words = text[:-1].split()
    if words and words[0] not in NAMES:
        words[0] = words[0][:1].lower() + words[0][1:]
    question = bool(words) and words[-1] == ASK
    if question:
        words.pop()
    last = words.pop() if words else ""
    if last not in _VERBS:
        raise NotVosk(f"{text!r} does not end in a verb of Vosk")
    verb, past, negative = _VERBS[last]
    subject: tuple[str, ...] | Noun | None = _read_noun(words, "subject")
    if subject is None:
        pair = len(words) > 2 and words[1] == AND
        subject = (words[0], words[2]) if pair else tuple(words[:1])
        del words[: 3 if pair else 1]
    cases = {"e": "", "a": "", "u": "", "o": ""}
    what, look, rest = None, "", words
    while rest:
        stem, mark, case = rest[0].partition("'")
        if mark and case in cases:
            cases[case] = stem
            rest.pop(0)
        elif rest[0] in _ESSIVE:
            look = _ESSIVE[rest.pop(0)]
        elif (what := _read_noun(rest, "object")) is None:
            raise NotVosk(f"{rest[0]!r} in {text!r} is no word of Vosk")
    place = _PLACE_OF.get(cases["u"] or cases["o"], "")
    clause = Clause(verb, subject, what, cases["a"], cases["e"], place, look, past,
                    negative, question)  # fmt: skip
    people = [name for name in (clause.who, clause.whom) if name]
    people += [] if isinstance(subject, Noun) else subject or [""]
    if not IS_HER.keys() >= set(people) or to_vosk(clause) != text:
        raise NotVosk(f"{text!r} is not how Vosk says {clause}")
    return clause
