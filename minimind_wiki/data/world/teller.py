"""Tells one document: keeps the state, fills the lines, and knows who may be called "she".

A pronoun is used only when nobody else of that gender was named in this sentence or the last, "it"
only when one single thing was. After each sentence the number of events so far is noted, so that
the state after every sentence can be computed from the document alone.
"""

from __future__ import annotations

from minimind_wiki.data.world.chooser import Chooser, Weighted
from minimind_wiki.data.world.phrases import COMPILED, LEXICONS
from minimind_wiki.data.world.state import State
from minimind_wiki.data.world.words import (
    A_TRAIT,
    HER_NAMES,
    HER_RELATIONS,
    HIS_NAMES,
    HIS_RELATIONS,
    IS_HER,
    JOBS,
    LOOKS,
    NAMES,
    PLACES,
    THINGS,
    TRAITS,
    Words,
    a,
    words_of,
)

HER, HIM, ANYONE, SOMEWHERE = "her?", "him?", "anyone?", "place?"
REGISTERS = Weighted({"tale": 4, "report": 2, "letter": 2, "live": 2})
_A_LOOK = tuple(a(look) for look in LOOKS)
_THE_LOOK = tuple("the " + look for look in LOOKS)
_ACTIONS = {"go", "take", "drop", "give", "mend", "ask"}
_THEN = {
    "tale": Weighted(
        {
            "": 5,
            "Then ": 2,
            "After a while, ": 1,
            "A little later, ": 1,
            "Soon ": 1,
            "Before long ": 1,
            "Next, ": 1,
            "At that, ": 1,
            "Shortly after, ": 1,
        }
    ),
    "letter": Weighted(
        {
            "": 5,
            "Then ": 2,
            "After that, ": 1,
            "Later, ": 1,
            "Soon ": 1,
            "A bit later ": 1,
            "Afterwards ": 1,
            "So ": 1,
        }
    ),
    "live": Weighted({"": 4, "Now ": 3, "Then ": 1, "Next, ": 1, "So ": 1, "After a while ": 1}),
}
_STEPS = (4, 5, 8, 10, 12, 15, 20, 25)
_HER_BY_SPLIT = {s: tuple(n for n in words_of(s).names if IS_HER[n]) for s in
                 ("train", "validation", "test")}  # fmt: skip
_HIS_BY_SPLIT = {s: tuple(n for n in words_of(s).names if not IS_HER[n]) for s in _HER_BY_SPLIT}


class Teller:
    """One document as it is being told, by a chooser, in the words of a split."""

    def __init__(self, chooser: Chooser, split: str) -> None:
        self.c = chooser
        self.words: Words = words_of(split)
        self.register: str = chooser.draw(REGISTERS)
        tense = self.register == "live"
        self.lines, self.lexicon = COMPILED[tense], LEXICONS[tense]
        self.state = State()
        self.events: list[tuple[str, ...]] = []
        self.marks: list[tuple[int, int]] = []  # after each sentence: pieces said, events so far
        self.narrator = ""
        self.gap = ""
        self.minutes = 0
        self.used: set[str] = set()
        self.used_places: set[str] = set()
        self.things: dict[str, str] = {}  # noun -> "red lamp"; named things only
        self.before: list[str] = []  # people named in the last sentence
        self.now: list[str] = []  # people named in this sentence
        self.things_before: list[str] = []
        self.things_now: list[str] = []
        self.roles: dict[str, str] = {}
        self.facts: list[tuple[str, ...]] = []

    # ---- what happens

    def event(self, *event: str) -> None:
        """Let something happen; ValueError if it cannot."""
        self.state.apply(event)
        self.events.append(event)

    def mark(self) -> None:
        """A sentence ends here."""
        self.marks.append((len(self.c.out), len(self.events)))

    # ---- how it is told

    def line(self, name: str, /, **roles: str) -> dict[str, str]:
        """Say one line; a role may be HER, HIM, ANYONE or SOMEWHERE and is then new.

        Returns the roles, the new ones filled. The facts told (trait, job, relation) become events
        of the state only when the caller has placed the people, with `learn`.
        """
        c = self.c
        if self.gap:
            c.say(self.gap)
        self.gap = " "
        options = self.lines[name]
        line = c.pick(options)
        connected = line.connects and name in _ACTIONS and self._connect()
        self.roles = roles
        self.now, self.things_now = [], []
        for part in line.parts:
            if type(part) is str:
                c.say(part)
            else:
                slot, form, capital = part
                self._fill(slot, form, capital and not connected)
                connected = False
        self.before = [] if line.crowd else self.now
        self.things_before = self.things_now
        return roles

    def _connect(self) -> bool:
        if self.register == "report":
            self.minutes += self.c.pick(_STEPS)
            self.c.say(f"At {self.minutes // 60}:{self.minutes % 60:02d}, ")
            return True
        word = self.c.draw(_THEN[self.register])
        if word:
            self.c.say(word)
        return bool(word)

    def _fill(self, slot: str, form: str, capital: bool) -> None:
        if form and slot in ("S", "O", "N"):
            self._person(slot, form, capital)
        elif slot in ("P", "Q"):
            place = self.roles[slot]
            if place == SOMEWHERE:
                words = self.words.places
                place = self.c.tell_new(words, self.used_places, len(PLACES))
                self.used_places.add(place)
                self.roles[slot] = place
            else:
                self.c.say(place)
        elif slot in ("T", "U"):
            self._thing(slot, form, capital)
        elif slot in ("trait", "job"):
            person = "O" if "O" in self.roles else "S"  # its name may stand later in the line
            if slot == "trait":
                told = self.c.tell(A_TRAIT)
                self.facts.append((person, "trait", TRAITS[A_TRAIT.index(told)]))
            else:
                self.facts.append((person, "job", self.c.tell(JOBS)))
        elif slot == "relation":
            told = self.c.tell(HER_RELATIONS if self.roles["O"] == HER else HIS_RELATIONS)
            self.facts.append(("S", "relation", told))
        else:
            self.c.tell(self.lexicon[slot])

    def _clear(self, person: str, named: list[str] | None = None) -> bool:
        """Whether a pronoun could only mean this person, of those named in these two sentences."""
        seen = self.before + self.now if named is None else named
        if person not in seen:
            return False
        her = IS_HER[person]
        return all(p == person or p == self.narrator or IS_HER[p] != her for p in seen)

    def _person(self, role: str, form: str, capital: bool) -> None:
        person, c = self.roles[role], self.c
        if person in (HER, HIM, ANYONE):
            person = self._new_person(person)
            self.roles[role] = person
            self.now.append(person)
            return
        if form == "name":
            c.say(person)
            self.now.append(person)
            return
        if person == self.narrator:
            c.say({"s": "I", "he": "I", "his": "My" if capital else "my"}.get(form, "me"))
            self.now.append(person)
            return
        her = IS_HER[person]
        if form == "n":
            c.say(person)
            self.now.append(person)
            return
        word = ({"s": "she", "he": "she", "his": "her", "o": "her", "him": "her"} if her else
                {"s": "he", "he": "he", "his": "his", "o": "him", "him": "him"})[form]  # fmt: skip
        if capital:
            word = word[0].upper() + word[1:]
        name = person + "'s" if form == "his" else person
        if not self._clear(
            person, self.now if form in ("his", "he") and person in self.now else None
        ):
            c.say(name)
        elif form in ("s", "o") and (form == "s" or person not in self.now):
            c.tell((name, word))
        else:
            c.say(word)
        self.now.append(person)

    def _new_person(self, which: str) -> str:
        split = self.words.split
        if which == ANYONE:
            options, total = self.words.names, len(NAMES)
        elif which == HER:
            options, total = _HER_BY_SPLIT[split], len(HER_NAMES)
        else:
            options, total = _HIS_BY_SPLIT[split], len(HIS_NAMES)
        used = self.used if which == ANYONE else {
            n for n in self.used if IS_HER[n] == (which == HER)}  # fmt: skip
        name = self.c.tell_new(options, used, total)
        self.used.add(name)
        return name

    def _thing(self, slot: str, form: str, capital: bool) -> None:
        noun, c = self.roles[slot], self.c
        if noun not in self.things:
            if form == "his":
                self._person("S", "his", capital)
                c.say(" ")
                look = c.tell(LOOKS)
            else:
                options = _A_LOOK if form == "a" else _THE_LOOK
                if capital:
                    c.say(options[0][0].upper())
                    options = tuple(o[1:] for o in options)
                told = c.tell(options)
                look = LOOKS[options.index(told)]
            c.say(" " + noun)
            self.things[noun] = look + " " + noun
        else:
            the = "The " if capital else "the "
            seen = self.things_before + self.things_now
            if form != "a" and noun in seen and all(n == noun for n in seen):
                c.tell((the + self.things[noun], the + noun, "It" if capital else "it"))
            else:
                c.tell((the + self.things[noun], the + noun))
        self.things_now.append(noun)

    def other_thing(self) -> str:
        """A kind of thing that was not named yet; not said, and free of the plot's split."""
        return self.c.pick([t for t in THINGS if t not in self.things])

    def learn(self, other: str = "") -> None:
        """Turn the facts told into events; `other` is whom a relation was told of."""
        for role, kind, value in self.facts:
            person = self.roles[role]
            if kind == "relation":
                self.event("relation", person, other, value)
            else:
                self.event("fact", person, kind, value)
        self.facts = []
