"""The notes of the village doctor: another register, and a rule base that can be asked.

Illnesses, signs and remedies are invented; none exists and none is advice. They follow rules: the
part of the body gives the first word of the illness and the plant, the kind of sign gives the
second word and the form of the remedy; the dose grows with age, the days with the heat. So a model
that learned the rules can treat pairs of part and sign that no training note shows; these pairs are
split by their checksum, like the people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minimind_wiki.data.world.chooser import Chooser
from minimind_wiki.data.world.questions import NOT_SAID
from minimind_wiki.data.world.shape import Row, chat
from minimind_wiki.data.world.words import IS_HER, split_of, words_of

# part of the body: first word of the illness, plant, times a day
PARTS = {
    "ears": ("Ottal", "bellmurr", 2), "knees": ("Quorrel", "greypell", 3),
    "tongue": ("Brindel", "dunnifoil", 1), "elbows": ("Skarrow", "tarrowhip", 2),
    "nose": ("Pellin", "oakmirth", 3), "toes": ("Hummock", "fennilot", 1),
    "eyelids": ("Lanthor", "wispenroot", 2), "fingers": ("Tessary", "marrowlil", 3),
}  # fmt: skip
# sign: second word of the illness, form of the remedy, what it is measured in, least dose
SIGNS = {
    "humming": ("hum", "syrup", "spoons", 2), "blue": ("blue", "tea", "cups", 1),
    "cold": ("frost", "balm", "dabs", 3), "tingling": ("tingle", "drops", "drops", 4),
    "glowing": ("glow", "powder", "pinches", 2), "creaking": ("creak", "oil", "drops", 5),
    "striped": ("stripe", "paste", "dabs", 2), "itching": ("itch", "broth", "bowls", 1),
}  # fmt: skip
PAIRS = tuple((part, sign) for part in PARTS for sign in SIGNS)
AGES = ((3, 12), (13, 59), (60, 90))  # child, grown-up, old: one measure more for each step
_ASIDES = (
    "Sleeps well.", "Eats with appetite.", "Lives near the mill.", "Walked here without help.",
    "No cough.", "Had the same last winter.", "Is in good spirits.", "Brought a basket of pears.",
)  # fmt: skip
_MEASURE = r"spoons?|cups?|dabs?|drops?|pinch(?:es)?|bowls?"


@dataclass(frozen=True, slots=True)
class Case:
    """A visit: who, how old, which part of the body shows which sign, and the heat (tenths °C)."""

    name: str
    age: int
    part: str
    sign: str
    heat: int

    @property
    def illness(self) -> str:
        """The name that the rules give."""
        return f"{PARTS[self.part][0]} {SIGNS[self.sign][0]}"

    @property
    def remedy(self) -> str:
        """The plant of the part, in the form for the sign."""
        return f"{PARTS[self.part][1]} {SIGNS[self.sign][1]}"

    @property
    def dose(self) -> str:
        """How much and how often."""
        _, _, measure, least = SIGNS[self.sign]
        count = least + sum(self.age >= low for low, _ in AGES[1:])
        one = {"pinches": "pinch"}.get(measure, measure[:-1])
        often = ("once", "twice", "three times")[PARTS[self.part][2] - 1]
        return f"{count} {measure if count > 1 else one} {often} a day"

    @property
    def days(self) -> int:
        """Three days, and two more with a heat of 38.0 or above."""
        return 5 if self.heat >= 380 else 3


def case(c: Chooser, split: str) -> Case:
    """A visit of a split. The pair of part and sign is one that only this split has."""
    part, sign = c.pick([pair for pair in PAIRS if split_of(" ".join(pair)) == split])
    low, high = c.pick(AGES)
    return Case(c.pick(words_of(split).names), c.pick(range(low, high + 1)), part, sign,
                c.pick(range(362, 396)))  # fmt: skip


def _heat(heat: int) -> str:
    return f"{heat // 10}.{heat % 10}"


def note(c: Chooser, seen: Case, treated: bool = True) -> str:
    """The note of a visit, terse or told. Without `treated` it ends before the finding."""
    first = c.pick(_ASIDES)
    asides = [first, c.pick([aside for aside in _ASIDES if aside != first])]
    s, heat = seen, _heat(seen.heat)
    she, her = ("She", "her") if IS_HER[s.name] else ("He", "his")
    if c.pick((True, False)):
        text = (f"Patient: {s.name}, {s.age} years. Complaint: {s.sign} {s.part}. Heat: {heat}. "
                f"{asides[0]}")  # fmt: skip
        end = f" Finding: {s.illness}. Remedy: {s.remedy}, {s.dose}, for {s.days} days."
    else:
        text = (f"{s.name}, {s.age} years old, came to see the doctor about {her} {s.sign} "
                f"{s.part}. {she} told of it quietly. {asides[0]} The heat was {heat}. "
                f"{asides[1]}")  # fmt: skip
        end = (f" It is {s.illness}, and for {her} age that means {s.remedy}: {s.dose} for "
               f"{s.days} days.")  # fmt: skip
    return text + end if treated else text


def medical(c: Chooser, seed: str, split: str) -> Row:
    """Two or three notes as plain text."""
    return {"text": "\n".join(note(c, case(c, split)) for _ in range(c.pick((2, 3))))}


def medical_questions(c: Chooser, seed: str, split: str) -> Row:
    """A visit without its finding, and what the doctor finds and gives; now and then what no note
    says. `new` tells whether the pair of part and sign is one that no training row has."""
    seen = case(c, split)
    text = note(c, seen, treated=False)
    dose = f"{seen.dose} for {seen.days} days"
    asked, answer, short = c.pick((
        ("Which illness is it?", f"It is {seen.illness}.", seen.illness),
        ("Which remedy helps?", f"The remedy is {seen.remedy}.", seen.remedy),
        ("What is the dose, and for how long?", f"Give {dose}.", dose),
        (f"What colour is the hair of {seen.name}?", NOT_SAID, "does not say"),
    ))  # fmt: skip
    return chat(f"{text}\n\n{asked}", answer, gt=[short], new=split != "train")


def read_note(text: str) -> Case:
    """The visit that a note tells of, from its words; ValueError if something is missing."""
    who = re.search(r"(?:Patient: )?([A-Z]\w+), (\d+) years", text)
    signs = re.search(rf"({'|'.join(SIGNS)}) ({'|'.join(PARTS)})\b", text)
    heat = re.search(r"(\d\d)\.(\d)\b", text)
    if not who or not signs or not heat:
        raise ValueError(f"{text!r} is no note of a visit")
    return Case(who[1], int(who[2]), signs[2], signs[1], int(heat[1] + heat[2]))


def _treated(text: str) -> bool:
    """Whether finding, remedy, dose and days of a note follow from its complaint."""
    seen = read_note(text)
    first, plant, often = PARTS[seen.part]
    second, form, measure, least = SIGNS[seen.sign]
    dose = re.search(rf"(\d+) ({_MEASURE}) (once|twice|three times) a day,? for (\d) days", text)
    if not dose:
        return False
    extra = 0 if seen.age < AGES[1][0] else 1 if seen.age < AGES[2][0] else 2
    return (
        f"{first} {second}" in text
        and f"{plant} {form}" in text
        and int(dose[1]) == least + extra
        and measure.startswith(dose[2])
        and dose[3] == {1: "once", 2: "twice", 3: "three times"}[often]
        and int(dose[4]) == (3 if seen.heat < 380 else 5)
    )


def check(row: Row) -> bool:
    """Whether the treatment follows from what the note says, read back from its words."""
    if "text" in row:
        return all(_treated(line) for line in row["text"].split("\n"))
    (asked, answered), (short,) = (m["content"] for m in row["conversations"]), row["gt"]
    text, question = asked.rsplit("\n\n", 1)
    seen = read_note(text)
    if "hair" in question:
        return "hair" not in text and (answered, short) == (NOT_SAID, "does not say")
    full = f"{text} {PARTS[seen.part][0]} {SIGNS[seen.sign][0]} {seen.remedy} "
    if "dose" in question:
        return short in answered and _treated(full + short)
    words = PARTS[seen.part][:2], SIGNS[seen.sign][:2]
    index = int("remedy" in question)
    return short in answered and short == f"{words[0][index]} {words[1][index]}"
