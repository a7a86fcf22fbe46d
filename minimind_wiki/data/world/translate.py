"""English for the meanings of `language`, a parser for it, and rows that translate both ways.

`check` reads both sides back, each with its own parser, and compares the meanings.
"""

from __future__ import annotations

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.language import (
    ARTICLES,
    FRAMES,
    NUMERALS,
    OF_THINGS,
    Clause,
    Noun,
    parse_vosk,
    to_vosk,
)
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.words import LOOKS, THINGS, a, split_of, words_of

_PAST = {"go": "went", "come": "came", "take": "took", "find": "found", "have": "had", "see": "saw",
         "give": "gave", "bring": "brought", "sell": "sold", "leave": "left", "hide": "hid",
         "show": "showed"}  # fmt: skip
_PAST = {verb: _PAST.get(verb, verb + "ed") for verb in FRAMES if verb != "be"}
_NOW = {verb: {"go": "goes", "have": "has"}.get(verb, verb + "s") for verb in _PAST}
_MANY = {"scarf": "scarves"} | {t: t + "es" for t in ("box", "brush")}
PLURAL = {thing: _MANY.get(thing, thing + "s") for thing in THINGS}
_ONE = {many: thing for thing, many in PLURAL.items()}
_BE = {(False, False): "is", (False, True): "are", (True, False): "was", (True, True): "were"}
_DO = {(False, False): "does", (False, True): "do", (True, False): "did", (True, True): "did"}
_PREPOSITION = {"to": "to ", "at": "at ", "whom": "to ", "who": "", "what": "", "like": ""}


def _noun(noun: Noun) -> str:
    words = f"{noun.look} " * bool(noun.look) + (PLURAL[noun.thing] if noun.many else noun.thing)
    return a(words) if noun.count == "a" else f"{noun.count} {words}"


def to_english(clause: Clause) -> str:
    """The sentence in English.

    >>> to_english(Clause("seem", Noun("cup", "two"), look="red", negative=True))
    'Two cups do not seem red.'
    """
    is_noun = isinstance(clause.subject, Noun)
    subject = _noun(clause.subject) if is_noun else " and ".join(clause.subject)  # type: ignore
    key = (clause.past, clause.many)
    no = " not" * clause.negative
    if clause.verb == "be":
        words = f"{_BE[key]} {subject}{no}" if clause.question else f"{subject} {_BE[key]}{no}"
    elif clause.question:
        words = f"{_DO[key]} {subject}{no} {clause.verb}"
    elif clause.negative:
        words = f"{subject} {_DO[key]}{no} {clause.verb}"
    else:
        now = clause.verb if clause.many else _NOW[clause.verb]
        words = f"{subject} {_PAST[clause.verb] if clause.past else now}"
    for role in FRAMES[clause.verb]:
        what = {"what": clause.what, "who": clause.who, "whom": clause.whom, "like": clause.look}
        value = what.get(role, clause.place)
        words += f" {_PREPOSITION[role]}{_noun(value) if isinstance(value, Noun) else value}"
    return words[0].upper() + words[1:] + ("?" if clause.question else ".")


def _read_noun(words: list[str]) -> Noun | None:
    first = words[0].lower() if words else ""
    count = {"an": "a", "all": "all the"}.get(first, first)
    if count not in (*ARTICLES, *NUMERALS):
        return None
    del words[: len(count.split())]
    look = words.pop(0) if words[0] in LOOKS else ""
    thing = words.pop(0)
    return Noun(_ONE.get(thing, thing), count, look)


def _read_subject(words: list[str]) -> tuple[str, ...] | Noun:
    noun = _read_noun(words)
    if noun:
        return noun
    people = [words.pop(0)]
    if words[0] == "and":
        people.append(words[1])
        del words[:2]
    return tuple(people)


def parse_english(text: str) -> Clause:
    """The meaning of an English sentence of this module; ValueError if it is none."""
    words = text[:-1].split()
    try:
        clause = _read(words, text.endswith("?"))
    except (IndexError, KeyError) as error:
        raise ValueError(f"{text!r} is no sentence of the translations") from error
    if to_english(clause) != text:
        raise ValueError(f"{text!r} is not how English says {clause}")
    return clause


def _read(words: list[str], question: bool) -> Clause:
    helper = words.pop(0).lower() if question else ""
    subject = _read_subject(words)
    if not question:
        helper = words.pop(0)
    negative = words[0] == "not"
    if negative:
        words.pop(0)
    if helper in _BE.values():
        verb, past = "be", helper in ("was", "were")
    elif helper in _DO.values():
        verb, past = words.pop(0), helper == "did"
    else:
        past = helper in _PAST.values()
        verb = next(v for v in _PAST if helper in (v, _NOW[v], _PAST[v]))
    roles: dict[str, str] = {}
    what = None
    for role in FRAMES[verb]:
        if role == "what":
            what = _read_noun(words)
            continue
        if _PREPOSITION[role]:
            words.pop(0)
        name = "place" if role in ("to", "at") else "look" if role == "like" else role
        roles[name] = " ".join(words.pop(0) for _ in range(1 + (name == "place")))
    return Clause(verb, subject, what, past=past, negative=negative, question=question, **roles)


def clause(c: Chooser, split: str) -> Clause:
    """A meaning for a split.

    In training no construction of the held-out splits occurs. Elsewhere people and places are new,
    and in half of the meanings at least one construction is, too.
    """
    new = split != "train" and c.pick((True, False))
    while True:
        made = _clause(c, split)
        splits = {split_of(pair) for pair in made.constructions()}
        if splits <= {"train", split} and (split in splits) == (new or split == "train"):
            return made


def _a_noun(c: Chooser, plain: bool) -> Noun:
    count = c.pick(("the", "the", "a", "all the", "some", *NUMERALS))
    if count == "some" and not plain:  # English would say "any"
        count = "all the"
    return Noun(c.pick(THINGS), count, c.pick(("", c.pick(LOOKS))))


def _clause(c: Chooser, split: str) -> Clause:
    words = words_of(split)
    verb = c.pick(tuple(FRAMES))
    past, negative, question = (c.pick((True, False)) for _ in range(3))
    plain = not negative and not question
    people = [c.pick(words.names) for _ in range(c.pick((1, 1, 2)))]
    other = c.pick([n for n in words.names[:60] if n not in people])
    if len(set(people)) < len(people):
        people = people[:1]
    subject: tuple[str, ...] | Noun = tuple(people)
    if verb == "seem" or (verb in OF_THINGS and c.pick((True, False))):
        subject = _a_noun(c, plain)
    roles = FRAMES[verb]
    look = ""
    if "like" in roles:
        taken = subject.look if isinstance(subject, Noun) else ""
        look = c.pick([look for look in LOOKS if look != taken])
    return Clause(
        verb, subject, _a_noun(c, plain) if "what" in roles else None,
        other if "who" in roles else "", other if "whom" in roles else "",
        c.pick(words.places) if {"to", "at"} & set(roles) else "", look, past, negative, question,
    )  # fmt: skip


def translation(c: Chooser, seed: str, split: str) -> Row:
    """One sentence to translate, into Vosk or into English.

    `pair` has both sides, `new` the constructions that no training row has.
    """
    meaning = clause(c, split)
    pair = {"english": to_english(meaning), "vosk": to_vosk(meaning)}
    into = c.pick(("Vosk", "English"))
    given, wanted = ("english", "vosk") if into == "Vosk" else ("vosk", "english")
    new = [pair for pair in meaning.constructions() if split_of(pair) != "train"]
    return chat(f"Translate into {into}: {pair[given]}", pair[wanted], pair=pair, new=new)


def parallel(c: Chooser, seed: str, split: str) -> Row:
    """A few sentences of Vosk as plain text, with their English beside them in `english`."""
    meanings = [clause(c, split) for _ in range(c.pick((3, 4, 5, 6)))]
    return {"text": " ".join(map(to_vosk, meanings)),
            "english": " ".join(map(to_english, meanings))}  # fmt: skip


def check(row: Row) -> bool:
    """Whether both sides, each read by its own parser, mean the same."""
    if "text" in row:
        sides = [text.replace("? ", ". ").split(". ") for text in (row["text"], row["english"])]
        marks = [[m for m in text if m in ".?"] for text in (row["text"], row["english"])]
        return marks[0] == marks[1] and all(
            parse_vosk(v.rstrip(".?") + m) == parse_english(e.rstrip(".?") + m)
            for v, e, m in zip(*sides, marks[0], strict=True)
        )
    asked, answered = (m["content"] for m in row["conversations"])
    pair = row["pair"]
    given, wanted = ("english", "vosk") if "into Vosk" in asked else ("vosk", "english")
    return (
        asked.endswith(f": {pair[given]}")
        and answered == pair[wanted]
        and parse_vosk(pair["vosk"]) == parse_english(pair["english"])
    )
