"""Questions about a document, with gold answers that the state of the world gives.

`hops` counts the facts that must be joined; `distance` the sentences told since the last event that
the answer rests on: a move of the person asked for, what put a thing where it is (and the moves of
who holds it), or the sentence that tells a job or a relation. What merely names the person does not
count. An unanswerable question asks for something that the text does not say; its distance is the
length of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
    told = _Told(document)
    places = {event[2] for event in document.events if event[0] in ("person", "go", "lies")}
    found: list[Question] = []

    def add(kind: str, text: str, answer: str, short: str, hops: int, *rests_on: int) -> None:
        since = len(document.sentences) - max(rests_on)
        found.append(Question(kind, text, answer, short, hops, since))

    for person, place in state.at.items():
        came = told.move[person]
        text = f"Where is {person} at the end?"
        add("person", text, f"{person} is at {place}.", place, 1, came)
        before = _place_before(document, person)
        if before:
            text = f"Where was {person} before going to {place}?"
            add("before", text, f"{person} was at {before}.", before, 2, came)
    for thing in [*state.holder, *state.lies]:
        place, holder, act = state.place_of(thing), state.holder.get(thing), told.act[thing]
        text, answer = f"Where is the {thing} at the end?", f"The {thing} is at {place}."
        # who holds a thing carries it along, so the holder's moves count too
        rests_on = (act, told.move[holder]) if holder else (act,)
        add("thing", text, answer, place, len(rests_on), *rests_on)
        answer = f"{holder} has the {thing}." if holder else f"Nobody has the {thing}."
        add("holder", f"Who has the {thing} at the end?", answer, holder or "Nobody", 1, act)
        for person in state.at:
            belief = state.belief[person].get(thing)
            if belief in places and belief != place:
                text = f"Where does {person} think the {thing} is?"
                answer = f"{person} thinks that the {thing} is at {belief}."
                add("belief", text, answer, str(belief), 2, told.belief[person, thing])
    for (person, other), relation in state.relation.items():
        kin = told.relation[person, other]
        text = f"Who is {person}'s {relation}?"
        add("relation", text, f"{person}'s {relation} is {other}.", other, 1, kin)
        place, job = state.at[other], state.job[other]
        text = f"Where is {person}'s {relation} at the end?"
        answer = f"{person}'s {relation} is at {place}."
        add("kin_place", text, answer, place, 2, kin, told.move[other])
        text = f"What is the job of {person}'s {relation}?"
        add("kin_job", text, f"{person}'s {relation} is a {job}.", job, 2, kin, told.job[other])
    for person, job in state.job.items():
        text = f"What is {person}'s job?"
        add("job", text, f"{person} is a {job}.", job, 1, told.job[person])
    return [*found, *_unanswerable(document)]


class _Told:
    """The number (from 1) of the sentence that last told each thing that an answer can rest on.

    `move`: of a person; `act`: what put a thing where it is or into a hand; `job`: of a person;
    `relation`: of a pair; `belief`: what made a person's belief about a thing what it is.
    """

    def __init__(self, document: Document) -> None:
        self.move: dict[str, int] = {}
        self.act: dict[str, int] = {}
        self.job: dict[str, int] = {}
        self.relation: dict[tuple[str, str], int] = {}
        self.belief: dict[tuple[str, str], int] = {}
        believed: dict[tuple[str, str], str] = {}
        done = 0
        for number, ((_, events), (_, state)) in enumerate(
            zip(document.sentences, document.states(), strict=True), start=1
        ):
            for what, *about in document.events[done:events]:
                if what in ("person", "go"):
                    self.move[about[0]] = number
                elif what == "lies":
                    self.act[about[0]] = number
                elif what in ("holds", "take", "drop", "give"):
                    self.act[about[1]] = number
                elif what == "fact" and about[1] == "job":
                    self.job[about[0]] = number
                elif what == "relation":
                    self.relation[about[0], about[1]] = number
            now = {(p, t): where for p, b in state.belief.items() for t, where in b.items()}
            changed = (pair for pair, where in now.items() if believed.get(pair) != where)
            self.belief.update(dict.fromkeys(changed, number))
            believed, done = now, events


def _place_before(document: Document, person: str) -> str:
    """Where a person came from to the last place; empty without a move, or if it is not one place.

    Who came twice to the same place from different ones was at both before going there.
    """
    places = [e[2] for e in document.events if e[0] in ("person", "go") and e[1] == person]
    origins = {here for here, there in pairwise(places) if there == places[-1]}
    return origins.pop() if len(origins) == 1 else ""


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
