"""Documents of the little world: two or three people, a few places, one to three quests.

Eight quests are known: a thing is lost, given, lent, broken, sent, moved, swapped or found. Each
is a short program whose every step has a precondition in `state` and a line in `phrases`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import log

from minimind_wiki.data.world.chooser import Chooser, Weighted, derivations
from minimind_wiki.data.world.state import Event, State
from minimind_wiki.data.world.teller import ANYONE, HER, HIM, SOMEWHERE, Teller
from minimind_wiki.data.world.words import QUESTS, THINGS

_EPISODES = Weighted({1: 5, 2: 4, 3: 1})
_FILLERS = Weighted({0: 5, 1: 4, 2: 1})
_FLIP = Weighted({True: 1, False: 1})
_MOSTLY = Weighted({True: 3, False: 1})


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its truth.

    `logp` (nats) is exact for the derivation that was told, the end of the text included;
    `logp_any` is the same for a reader who does not know which names and plots are held out.
    `sentences` holds, for each sentence, where it ends (characters) and how many of `events` have
    then happened.
    """

    text: str
    logp: float
    logp_any: float
    split: str
    register: str
    events: tuple[Event, ...]
    sentences: tuple[tuple[int, int], ...]

    def states(self) -> Iterator[tuple[str, State]]:
        """Each sentence, with the state after it. One `State` is changed and yielded."""
        state, start, done = State(), 0, 0
        for end, events in self.sentences:
            for event in self.events[done:events]:
                state.apply(event)
            yield self.text[start:end].strip(), state
            start, done = end, events

    def state(self) -> State:
        """The state at the end."""
        state = State()
        for event in self.events:
            state.apply(event)
        return state

    @property
    def bits_per_byte(self) -> float:
        """-log2 of the derivation's probability for each UTF-8 byte."""
        return -self.logp / log(2) / len(self.text.encode())


def tell(chooser: Chooser, split: str = "train") -> Teller:
    """Tell one document; the text is in the chooser."""
    t = Teller(chooser, split)
    s, o = _people(t)
    for episode in range(chooser.draw(_EPISODES)):
        if episode:
            t.gap = "\n\n"
            t.minutes = 450
            t.before = t.things_before = []
            t.line("later_report" if t.register == "report" else "later", S=s)
            t.mark()
        free = [plot for plot in t.words.plots if plot[1] not in t.things]
        everywhere = len(QUESTS) * (len(THINGS) - len(t.things))
        quest, thing = chooser.pick_of(free, everywhere)
        _TOLD[quest](t, s, o, thing)
        _fill(t, s)
    if t.register == "letter":
        chooser.say("\n\n")
        chooser.tell(t.lexicon["bye"])
        chooser.say(f".\n\nYours, {s}")
    elif chooser.draw(_MOSTLY):
        t.line("end_report" if t.register == "report" else "end_tale", S=s, O=o)
    t.mark()
    return t


def make_document(seed: int | str, split: str = "train") -> Document:
    """The document of a seed; the same on every machine.

    >>> make_document(3) == make_document(3)
    True
    """
    chooser = Chooser(f"{split}/{seed}")
    t = tell(chooser, split)
    ends, at, piece = [], 0, 0
    for pieces, events in t.marks:
        at += sum(map(len, chooser.out[piece:pieces]))
        piece = pieces
        ends.append((at, events))
    return Document(
        chooser.text,
        chooser.logp,
        chooser.logp_any,
        split,
        t.register,
        tuple(t.events),
        tuple(ends),
    )


def all_derivations(text: str, split: str = "train") -> list[float]:
    """The log-probability of each way to tell this text (exhaustive); empty if there is none."""
    return derivations(text, partial(tell, split=split))


# ---- who is there


def _people(t: Teller) -> tuple[str, str]:
    if t.register == "letter":
        t.c.say("From ")
        t.narrator = s = t._new_person(ANYONE)
        t.c.say(" to ")
        friend = t._new_person(ANYONE)
        t.c.say(f".\n\nDear {friend},\n\n")
        t.c.tell(t.lexicon["dear"])
        t.c.say(".")
        t.gap = " "
        roles = t.line("intro_letter", S=s, P=SOMEWHERE)
    else:
        if t.register == "report":
            t.c.say("Village report.\n\n")
        t.minutes = 450
        roles = t.line("intro_" + ("report" if t.register == "report" else "tale"),
                       S=ANYONE, P=SOMEWHERE)  # fmt: skip
        s = roles["S"]
    t.event("person", s, roles["P"])
    t.learn()
    t.mark()
    o = _meet(t, s)
    t.gap, t.before = "\n\n", []
    return s, o


def _meet(t: Teller, s: str) -> str:
    """Another person enters, here or elsewhere."""
    o = t.c.pick((HER, HIM))
    if t.c.draw(_FLIP):
        o = t.line("other_here", S=s, O=o)["O"]
        place = t.state.at[s]
    else:
        roles = t.line("other_away", S=s, O=o, P=SOMEWHERE)
        o, place = roles["O"], roles["P"]
    t.event("person", o, place)
    t.learn(o)
    t.mark()
    return o


# ---- steps


def _do(t: Teller, name: str, event: tuple[str, ...] = (), /, **roles: str) -> dict[str, str]:
    """A line, what it says has happened, and the end of the sentence."""
    roles = t.line(name, **roles)
    if event:
        t.event(*event)
    t.mark()
    return roles


def _go(t: Teller, s: str, place: str) -> None:
    here = t.state.at[s]
    if place == here:
        return
    place = t.line("go", S=s, P=place, Q=here)["P"]
    t.event("go", s, place)
    t.mark()


def _join(t: Teller, s: str, o: str) -> None:
    """One goes to where the other is."""
    _go(t, s, t.state.at[o])
    _fill(t, s)


def _fill(t: Teller, s: str) -> None:
    """Up to two sentences that change nothing."""
    for _ in range(t.c.draw(_FILLERS)):
        here = t.state.at[s]
        others = [p for p, place in t.state.at.items() if place == here and p != s]
        if others and t.c.draw(_FLIP):
            _do(t, "together", S=s, O=t.c.pick(others))
        else:
            _do(t, "alone", S=s)


def _give(t: Teller, s: str, thing: str, o: str) -> None:
    _do(t, "give", ("give", s, thing, o), S=s, O=o, T=thing)
    if t.c.draw(_FLIP):
        _do(t, "thanks", S=o, O=s)


# ---- the quests: s is the main person, o the other


def _lost(t: Teller, s: str, o: str, thing: str) -> None:
    _do(t, "wants", S=s, T=thing)
    if t.c.draw(_FLIP):
        _do(t, "not_here", S=s, T=thing, P=t.state.at[s])
    _join(t, s, o)
    _do(t, "ask", S=s, O=o, T=thing)
    if t.c.draw(_MOSTLY):
        place = t.line("tell", S=s, O=o, P=SOMEWHERE)["P"]
        t.event("lies", thing, place)
        t.event("knows", o, thing)
        t.event("tell", o, thing, s)
        t.mark()
        _go(t, s, place)
    else:
        _do(t, "unknown", S=s, O=o)
        _go(t, s, SOMEWHERE)
        t.event("lies", thing, t.state.at[s])
    _do(t, "there", S=s, T=thing)
    _do(t, "take", ("take", s, thing), S=s, T=thing)


def _gift(t: Teller, s: str, o: str, thing: str) -> None:
    _do(t, "gift_plan", S=s, O=o, T=thing)
    if t.c.draw(_FLIP):
        place = t.line("lies", T=thing, P=SOMEWHERE)["P"]
        t.event("lies", thing, place)
        t.mark()
        _go(t, s, place)
        _do(t, "take", ("take", s, thing), S=s, T=thing)
    else:
        _do(t, "holds", ("holds", s, thing), S=s, T=thing)
    _fill(t, s)
    _join(t, s, o)
    _give(t, s, thing, o)


def _loan(t: Teller, s: str, o: str, thing: str) -> None:
    t.line("loan_plan", S=s, O=o, T=thing)
    t.event("holds", o, thing)
    t.event("owns", s, thing)
    t.mark()
    _join(t, s, o)
    _do(t, "loan_ask", S=s, O=o, T=thing)
    _give(t, o, thing, s)


def _repair(t: Teller, s: str, o: str, thing: str) -> None:
    _do(t, "holds", ("holds", s, thing), S=s, T=thing)
    _do(t, "broken", ("break", thing), S=s, T=thing)
    _join(t, s, o)
    _do(t, "mend_ask", S=s, O=o, T=thing)
    _do(t, "give", ("give", s, thing, o), S=s, O=o, T=thing)
    _do(t, "mend", ("mend", o, thing), S=o, T=thing)
    _give(t, o, thing, s)


def _errand(t: Teller, s: str, o: str, thing: str) -> None:
    _join(t, s, o)
    _do(t, "holds", ("holds", o, thing), S=o, T=thing)
    roles = t.line("errand", S=s, O=o, N=ANYONE, P=SOMEWHERE, T=thing)
    n, place = roles["N"], roles["P"]
    t.event("person", n, place)
    t.mark()
    _do(t, "give", ("give", o, thing, s), S=o, O=s, T=thing)
    _go(t, s, place)
    _fill(t, s)
    _give(t, s, thing, n)


def _moved(t: Teller, s: str, o: str, thing: str) -> None:
    home = t.state.at[s]
    _do(t, "holds", ("holds", s, thing), S=s, T=thing)
    _do(t, "drop", ("drop", s, thing), S=s, T=thing, P=home)
    _go(t, s, SOMEWHERE)
    _go(t, o, home)
    _do(t, "take", ("take", o, thing), S=o, T=thing)
    _go(t, o, SOMEWHERE)
    _do(t, "drop", ("drop", o, thing), S=o, T=thing, P=t.state.at[o])
    _do(t, "moved_why", S=s)
    if t.c.draw(_FLIP):
        _do(t, "thinks", S=s, T=thing, P=home)
    if t.c.draw(_FLIP):
        _fill(t, s)
        _do(t, "back", ("go", s, home), S=s, P=home)
        _do(t, "not_here", S=s, T=thing, P=home)


def _swap(t: Teller, s: str, o: str, thing: str) -> None:
    _do(t, "holds", ("holds", s, thing), S=s, T=thing)
    other = t.other_thing()
    _do(t, "holds", ("holds", o, other), S=o, T=other)
    _join(t, s, o)
    _do(t, "swap_ask", S=s, O=o, T=other, U=thing)
    _do(t, "swap_yes", S=o)
    _do(t, "give", ("give", s, thing, o), S=s, O=o, T=thing)
    _give(t, o, other, s)


def _found(t: Teller, s: str, o: str, thing: str) -> None:
    _go(t, s, SOMEWHERE)
    _do(t, "spies", ("lies", thing, t.state.at[s]), S=s, T=thing)
    _do(t, "take", ("take", s, thing), S=s, T=thing)
    _do(t, "whose", S=s, T=thing)
    _join(t, s, o)
    _do(t, "ask_owner", S=s, O=o, T=thing)
    _do(t, "mine", ("owns", o, thing), S=o, T=thing)
    _give(t, s, thing, o)


_TOLD: dict[str, Callable[[Teller, str, str, str], None]] = {
    "lost": _lost, "gift": _gift, "loan": _loan, "repair": _repair, "errand": _errand,
    "moved": _moved, "swap": _swap, "found": _found,
}  # fmt: skip
