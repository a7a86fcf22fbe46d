"""The state of a village, and the events that change it.

An event is a tuple: its kind and what it concerns. `State.apply` checks the event's preconditions,
so a story that contradicts itself cannot be told. Everyone at a place sees what happens to things
there; `belief` keeps what each person last saw or was told, so it can become false.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Event = tuple[str, ...]


@dataclass(slots=True)
class State:
    """Who is where, who holds what, what lies where, what is broken, and who believes what.

    `belief[person][thing]` is a place or a person. `relation[a, b]` says what b is to a.
    """

    at: dict[str, str] = field(default_factory=dict)
    holder: dict[str, str] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    owner: dict[str, str] = field(default_factory=dict)
    relation: dict[tuple[str, str], str] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    trait: dict[str, str] = field(default_factory=dict)
    belief: dict[str, dict[str, str]] = field(default_factory=dict)

    def place_of(self, thing: str) -> str:
        """Where a thing is, whether it lies there or someone there holds it."""
        held = self.holder.get(thing)
        return self.at[held] if held else self.lies[thing]

    def held_by(self, person: str) -> list[str]:
        """The things that a person holds, in the order they came."""
        return [thing for thing, holder in self.holder.items() if holder == person]

    def apply(self, event: Event) -> None:
        """Let the event happen. ValueError, naming the event, if its precondition fails."""
        handler = _HANDLERS.get(event[0])
        if handler is None or not handler(self, *event[1:]):
            raise ValueError(f"{event} cannot happen here")

    def _seen(self, thing: str) -> None:
        """All who are where the thing is now know where it is."""
        where = self.place_of(thing)
        told = self.holder.get(thing) or where
        for person, place in self.at.items():
            if place == where:
                self.belief[person][thing] = told


def _person(state: State, person: str, place: str) -> bool:
    if person in state.at:
        return False
    state.at[person] = place
    state.belief[person] = {}
    for thing in [*state.holder, *state.lies]:
        if state.place_of(thing) == place:
            state._seen(thing)
    return True


def _fact(state: State, person: str, kind: str, value: str) -> bool:
    (state.job if kind == "job" else state.trait)[person] = value
    return kind in ("job", "trait")


def _relation(state: State, person: str, other: str, what: str) -> bool:
    state.relation[person, other] = what
    return person != other


def _lies(state: State, thing: str, place: str) -> bool:
    if thing in state.lies or thing in state.holder:
        return False
    state.lies[thing] = place
    state._seen(thing)
    return True


def _holds(state: State, person: str, thing: str) -> bool:
    if thing in state.lies or thing in state.holder or person not in state.at:
        return False
    state.holder[thing] = person
    state._seen(thing)
    return True


def _owns(state: State, person: str, thing: str) -> bool:
    state.owner[thing] = person
    return person in state.at


def _go(state: State, person: str, place: str) -> bool:
    if state.at.get(person, place) == place:
        return False
    state.at[person] = place
    for thing in [*state.holder, *state.lies]:
        if state.place_of(thing) == place:
            state._seen(thing)
        elif state.belief[person].get(thing) == place:
            del state.belief[person][thing]  # one sees that it is not there
    return True


def _take(state: State, person: str, thing: str) -> bool:
    if state.lies.get(thing) != state.at[person]:
        return False
    del state.lies[thing]
    state.holder[thing] = person
    state._seen(thing)
    return True


def _drop(state: State, person: str, thing: str) -> bool:
    if state.holder.get(thing) != person:
        return False
    del state.holder[thing]
    state.lies[thing] = state.at[person]
    state._seen(thing)
    return True


def _give(state: State, person: str, thing: str, other: str) -> bool:
    if state.holder.get(thing) != person or state.at[person] != state.at[other] or person == other:
        return False
    del state.holder[thing]
    state.holder[thing] = other
    state._seen(thing)
    return True


def _tell(state: State, person: str, thing: str, other: str) -> bool:
    known = state.belief[person].get(thing)
    if known is None or state.at[person] != state.at[other]:
        return False
    state.belief[other][thing] = known
    return True


def _knows(state: State, person: str, thing: str) -> bool:
    state.belief[person][thing] = state.holder.get(thing) or state.lies[thing]
    return True


def _break(state: State, thing: str) -> bool:
    state.broken.add(thing)
    return True


def _mend(state: State, person: str, thing: str) -> bool:
    if thing not in state.broken or state.holder.get(thing) != person:
        return False
    state.broken.discard(thing)
    return True


_HANDLERS: dict[str, Callable[..., bool]] = {
    "person": _person, "fact": _fact, "relation": _relation, "lies": _lies, "holds": _holds,
    "owns": _owns, "go": _go, "take": _take, "drop": _drop, "give": _give, "tell": _tell,
    "break": _break, "mend": _mend, "knows": _knows,
}  # fmt: skip
