"""The embedded corpus: a village in simple English, written by a small seeded grammar.

It exists so that everything trains without a download and without a licence to read. People walk
between places, pick things up, put them down and give them away; the generator keeps the state of
the world while it tells, so each tale is consistent and closes with a question whose answer
follows from it. Only `random.Random.random` is used, the one method whose sequence Python
promises to keep, so the same seed gives the same bytes on every version and machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

SEED = 1
TALES = 300

PEOPLE = {
    "Mira": ("she", "her"), "Tom": ("he", "his"), "Ana": ("she", "her"), "Old Jorn": ("he", "his"),
    "Pip": ("he", "his"), "Lena": ("she", "her"), "Oskar": ("he", "his"), "Ruth": ("she", "her"),
}  # fmt: skip
PLACES = ("the mill", "the well", "the bakery", "the bridge", "the orchard", "the market",
          "the barn", "the river", "the school", "the hill")  # fmt: skip
THINGS = ("lamp", "basket", "key", "drum", "kettle", "rope", "hat", "book", "shovel", "bell")
LOOKS = ("red", "blue", "old", "small", "heavy", "new", "green", "wooden")
SKIES = ("It is a warm morning", "It is raining", "The sun is low", "The wind is cold",
         "Snow lies on the roofs", "It is market day", "The stars are out")  # fmt: skip
MOODS = ("tired", "happy", "hungry", "quiet", "proud", "late", "curious")
REASONS = {
    "tired": "because the way was long", "happy": "because a friend is near",
    "hungry": "because there was no bread", "quiet": "because nobody asked",
    "proud": "because the work is done", "late": "because the bell has rung",
    "curious": "because the door was open",
}  # fmt: skip
WISHES = ("go home", "light a fire", "bake bread", "sing a song", "mend the roof",
          "count the geese", "write a letter", "cross the river")  # fmt: skip


class Village:
    """One tale: who is where, who holds what, and the sentences told so far."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.people = self._some(list(PEOPLE), 2 + int(rng.random() * 2))
        self.places = self._some(PLACES, 3)
        self.things = [f"{self._one(LOOKS)} {t}" for t in self._some(THINGS, 2)]
        self.at = {person: self._one(self.places) for person in self.people}
        self.holder: dict[str, str | None] = dict.fromkeys(self.things)
        self.lies = {thing: self._one(self.places) for thing in self.things}
        self.told: list[str] = []
        self.subject = ""

    def _one(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def _some(self, options: Sequence[str], count: int) -> list[str]:
        left = list(options)
        return [left.pop(int(self.rng.random() * len(left))) for _ in range(count)]

    def _name(self, person: str) -> str:
        """The name, or a pronoun when the sentence before spoke of the same person."""
        again = person == self.subject and self.rng.random() < 0.6
        self.subject = person
        return PEOPLE[person][0].capitalize() if again else person

    def tell(self) -> str:
        """The tale as one paragraph, closed by a question and its answer."""
        first = self.people[0]
        self.told.append(f"{self._one(SKIES)}, and {first} is at {self.at[first]}.")
        for person in self.people[1:]:
            self.told.append(f"{person} is at {self.at[person]}.")
        for thing in self.things:
            self.told.append(f"The {thing} lies at {self.lies[thing]}.")
        for _ in range(5 + int(self.rng.random() * 5)):
            self._event(self._one(self.people))
        return " ".join([*self.told, self._question()])

    def _event(self, person: str) -> None:
        here = self.at[person]
        lying = [t for t in self.things if self.holder[t] is None and self.lies[t] == here]
        held = [t for t in self.things if self.holder[t] == person]
        near = [p for p in self.people if p != person and self.at[p] == here]
        dice = self.rng.random()
        if lying and dice < 0.6:
            thing = self._one(lying)
            self.told.append(f"{self._name(person)} picks up the {thing}.")
            self.holder[thing] = person
        elif held and near and dice < 0.75:
            thing, other = self._one(held), self._one(near)
            self.told.append(f"{self._name(person)} gives the {thing} to {other}.")
            self.told.append(f'"Thank you, {person}," says {other}.')
            self.holder[thing], self.subject = other, other
        elif held and dice < 0.85:
            thing = self._one(held)
            self.told.append(f"{self._name(person)} puts the {thing} down at {here}.")
            self.holder[thing], self.lies[thing] = None, here
        elif near and dice < 0.6:
            wish, name = self._one(WISHES), self._name(person)
            says = f"{name.lower() if name in ('He', 'She') else name} says to {self._one(near)}"
            self.told.append(f'"I want to {wish}," {says}.')
        elif dice < 0.25:
            mood = self._one(MOODS)
            self.told.append(f"{self._name(person)} is {mood} {REASONS[mood]}.")
        else:
            there = self._one([p for p in self.places if p != here])
            load = f" with the {held[0]}" if held else ""
            self.told.append(f"{self._name(person)} walks from {here} to {there}{load}.")
            self.at[person] = there

    def _question(self) -> str:
        dice = self.rng.random()
        if dice < 0.4:
            person = self._one(self.people)
            return f"Where is {person}? At {self.at[person]}."
        thing = self._one(self.things)
        holder = self.holder[thing]
        if dice < 0.7:
            place = self.at[holder] if holder else self.lies[thing]
            return f"Where is the {thing}? At {place}."
        return f"Who has the {thing}? {holder or 'Nobody'}."


def embedded_text(tales: int = TALES, seed: int = SEED) -> str:
    """The corpus as one text: `tales` paragraphs with an empty line after each.

    >>> embedded_text(1).split(". ")[-2:]
    ['He walks from the market to the orchard', 'Where is the red shovel? At the bakery.\\n\\n']
    """
    rng = random.Random(seed)
    return "".join(Village(rng).tell() + "\n\n" for _ in range(tales))
