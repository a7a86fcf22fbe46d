"""Questions about a document, with gold answers that the state of the world gives.

`hops` counts the facts that must be joined; `distance` the sentences told since the last event that
the answer rests on. An unanswerable question asks for something that the text does not say.
"""

from __future__ import annotations

from dataclasses import dataclass

from minimind_wiki.data.world.story import Document
from minimind_wiki.data.world.words import THINGS, words_of

NOT_SAID = "The text does not say."


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its gold answer: `answer` as a sentence, `short` the words that decide."""

    kind: str
    text: str
    answer: str
    short: str
    hops: int
    distance: int


def questions(document: Document) -> list[Question]:
    """All questions of the known kinds about the end of a document; fixed order."""
    state = document.state()
    last = _last_mentions(document)
    end = len(document.sentences)
    places = {event[2] for event in document.events if event[0] in ("person", "go", "lies")}
    found: list[Question] = []

    def add(kind: str, text: str, answer: str, short: str, hops: int, *about: str) -> None:
        since = end - max((last[name] for name in about if name in last), default=0)
        found.append(Question(kind, text, answer, short, hops, since))

    for person, place in state.at.items():
        add(
            "person", f"Where is {person} at the end?", f"{person} is at {place}.", place, 1, person
        )
        before = _place_before(document, person)
        if before:
            text = f"Where was {person} before going to {place}?"
            add("before", text, f"{person} was at {before}.", before, 2, person)
    for thing in [*state.holder, *state.lies]:
        place, holder = state.place_of(thing), state.holder.get(thing)
        text, answer = f"Where is the {thing} at the end?", f"The {thing} is at {place}."
        about = (thing, holder) if holder else (thing,)
        add("thing", text, answer, place, len(about), *about)
        answer = f"{holder} has the {thing}." if holder else f"Nobody has the {thing}."
        add("holder", f"Who has the {thing} at the end?", answer, holder or "Nobody", 1, thing)
        for person in state.at:
            belief = state.belief[person].get(thing)
            if belief in places and belief != place:
                text = f"Where does {person} think the {thing} is?"
                answer = f"{person} thinks that the {thing} is at {belief}."
                add("belief", text, answer, str(belief), 2, person)
    for (person, other), relation in state.relation.items():
        text = f"Who is {person}'s {relation}?"
        add("relation", text, f"{person}'s {relation} is {other}.", other, 1)
        place, job = state.at[other], state.job[other]
        text = f"Where is {person}'s {relation} at the end?"
        add("kin_place", text, f"{person}'s {relation} is at {place}.", place, 2, other)
        text = f"What is the job of {person}'s {relation}?"
        add("kin_job", text, f"{person}'s {relation} is a {job}.", job, 2)
    for person, job in state.job.items():
        add("job", f"What is {person}'s job?", f"{person} is a {job}.", job, 1)
    return [*found, *_unanswerable(document)]


def _last_mentions(document: Document) -> dict[str, int]:
    """The number of the sentence in which each person or thing last took part in an event."""
    last: dict[str, int] = {}
    done = 0
    for number, (_, events) in enumerate(document.sentences, start=1):
        for event in document.events[done:events]:
            last.update(dict.fromkeys(event[1:], number))
        done = events
    return last


def _place_before(document: Document, person: str) -> str:
    """Where a person was before the last move; empty if there was none."""
    places = [e[2] for e in document.events if e[0] in ("person", "go") and e[1] == person]
    return places[-2] if len(places) > 1 else ""


def _unanswerable(document: Document) -> list[Question]:
    """Questions about what was never told."""
    number = sum(document.text.encode())
    words, state = words_of(document.split), document.state()
    stranger = next(n for n in words.names[number % 50 :] if n not in document.text)
    thing = next(t for t in THINGS[number % 20 :] if t not in document.text)
    person = next(iter(state.at))
    end = len(document.sentences)
    texts = (
        f"Where is {stranger} at the end?", f"Who has the {thing} at the end?",
        f"How old is {person}?", f"What is {stranger}'s job?", f"Where is the {thing} at the end?",
    )  # fmt: skip
    return [Question("unanswerable", t, NOT_SAID, "does not say", 0, end) for t in texts]
