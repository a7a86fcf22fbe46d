"""Feedback without people: a critic and a reviser better answers, and a judge prefers one of two.

Constitutional AI (Bai et al. 2022, arXiv:2212.08073) writes its rules down once. A model criticises
its answer by a rule and revises it, the revisions are learned as examples, and preferences for a
reward model come from a judge that reads the rules. Here each of the three is a function, so a
model can take the place of any; the world's own are programs, which know the truth of the document
and hold to the rubric of its preference rows (`row_checks.rubric`). A program makes no mistakes, so
its noise is added on purpose, and stated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from minimind_wiki.data.world.questions import Question, questions
from minimind_wiki.data.world.row_checks import PADS, RUDE, WORDY, rubric
from minimind_wiki.data.world.shape import Row, chat, say
from minimind_wiki.data.world.story import make_document
from minimind_wiki.errors import MinimindError, WrongCall

Critic = Callable[[str, str], list[str]]  # prompt, answer -> rules that it breaks, the first first
Reviser = Callable[[str, str, str], str]  # prompt, answer, rule -> a better answer
Judge = Callable[[str, str, str], float]  # prompt, two answers -> probability that the first wins

CONSTITUTION = {
    "polite": "Make no rude remark.",
    "brief": "Leave out what was not asked for.",
    "true": "Say what the text says, and nothing else.",
    "complete": "Answer in a whole sentence.",
}  # manners first: each revision keeps as much of the answer as it can


@dataclass(frozen=True, slots=True)
class Revised:
    """An answer after its revisions: the rules that were applied, in order, and whether the critic
    had nothing left to say."""

    answer: str
    rules: tuple[str, ...]
    settled: bool


def improve(prompt: str, answer: str, critic: Critic, reviser: Reviser, rounds: int = 8) -> Revised:
    """Criticise and revise by one rule at a time, at most `rounds` times.

    It stops unsettled when a revision gives an answer that was there before: it would go in rings.
    """
    seen, rules = {answer}, list[str]()
    for _ in range(rounds):
        broken = critic(prompt, answer)
        if not broken:
            break
        revised = reviser(prompt, answer, broken[0])
        if revised in seen:
            return Revised(answer, tuple(rules), False)
        answer = revised
        seen.add(answer)
        rules.append(broken[0])
    return Revised(answer, tuple(rules), not critic(prompt, answer))


def revision_rows(prompt: str, answer: str, revised: Revised) -> dict[str, Row]:
    """What can be learned from a revision: `sft`, the revised answer; `preference`, that it is
    better than the first. Empty where nothing was revised or the critic was not content.

    >>> sorted(revision_rows("Where?", "There, you fool.", Revised("There.", ("Be kind.",), True)))
    ['preference', 'sft']
    """
    if not revised.settled or revised.answer == answer:
        return {}
    return {
        "sft": chat(prompt, revised.answer),
        "preference": _pair(prompt, revised.answer, answer),
    }


def _pair(prompt: str, better: str, worse: str) -> Row:
    asked = say("user", prompt)
    return {
        "chosen": [asked, say("assistant", better)],
        "rejected": [asked, say("assistant", worse)],
    }


# ---- the world's own critic, reviser and judge


def question_in(prompt: str, key: str, split: str = "train") -> Question:
    """The question that a prompt of the world asks. Row n of `make_rows` has the key "<seed>.<n>".

    MinimindError when the document of that key is another, or has no such question.
    """
    text, _, asked = prompt.rpartition("\n\n")
    document = make_document(key, split)
    found = [q for q in questions(document) if q.text == asked]
    if document.text != text or len(found) != 1:
        raise MinimindError(
            f"the prompt is not that of row {key!r} ({split}), so its truth is unknown. Give the "
            "row's own seed, number and split."
        )
    return found[0]


def rubric_critic(question: Question) -> Critic:
    """A critic that names the rules of CONSTITUTION that an answer to this question breaks."""

    def critic(prompt: str, answer: str) -> list[str]:
        met = rubric(answer, question)
        return [rule for point, rule in CONSTITUTION.items() if not met[point]]

    return critic


def rubric_reviser(question: Question) -> Reviser:
    """A reviser that takes out what is rude or idle, and says the truth in a sentence if it must.

    WrongCall for a rule that is not of CONSTITUTION.
    """

    def reviser(prompt: str, answer: str, rule: str) -> str:
        if rule not in CONSTITUTION.values():
            raise WrongCall(f"{rule!r} is no rule of the constitution.")
        phrases = {CONSTITUTION["polite"]: RUDE, CONSTITUTION["brief"]: (*WORDY, *PADS)}
        if not any(phrase in answer for phrase in phrases.get(rule, ())):
            return question.answer
        for phrase in phrases[rule]:
            answer = answer.replace(phrase, "")
        return " ".join(answer.split())

    return reviser


def rubric_judge(question: Question) -> Judge:
    """A judge for whom truth comes first, and then the number of the rubric's points.

    It answers 1, 0, or 1/2 for a tie.
    """

    def judge(prompt: str, first: str, second: str) -> float:
        ranks = [(met["true"], sum(met.values())) for met in
                 (rubric(answer, question) for answer in (first, second))]  # fmt: skip
        return 0.5 if ranks[0] == ranks[1] else float(ranks[0] > ranks[1])

    return judge


def noisy(judge: Judge, noise: float, seed: int = 0) -> Judge:
    """The judge, who says the contrary with probability `noise` (0 to 1).

    Chance is drawn from the seed, the prompt and the two answers, whatever their order: the same
    pair gets the same label whenever it is asked for, and asking twice is no way around the noise.
    """
    if not 0 <= noise <= 1:
        raise WrongCall(f"noise is {noise}; give a share from 0 to 1.")

    def mistaken(prompt: str, first: str, second: str) -> float:
        chance = random.Random(repr((seed, prompt, *sorted((first, second))))).random()
        p = judge(prompt, first, second)
        return 1 - p if chance < noise else p

    return mistaken


# ---- preferences


@dataclass(slots=True)
class FeedbackReport:
    """What became of the pairs. `swayed`: the judge preferred whichever answer stood first (or
    second) when they were shown in both orders."""

    pairs: int = 0
    ties: int = 0
    swayed: int = 0

    def line(self) -> str:
        """For people."""
        return (
            f"{self.pairs:,} pairs; {self.ties:,} tied and gave no preference; in {self.swayed:,} "
            "the order decided."
        )


def preference(prompt: str, first: str, second: str, judge: Judge) -> tuple[float, bool]:
    """The probability that the first is better, and whether the order decided.

    The mean of both orders, because judges favour a place (RLAIF, Lee et al. 2023,
    arXiv:2309.00267). WrongCall for a judge whose answer is no probability.
    """
    shown, turned = judge(prompt, first, second), judge(prompt, second, first)
    for p in (shown, turned):
        if not 0 <= p <= 1:
            raise WrongCall(f"the judge answered {p}, which is no probability.")
    swayed = (shown - 0.5) * (turned - 0.5) > 0
    return 0.5 + (shown - turned) / 2, swayed


def label(
    pairs: Iterable[tuple[str, str, str]], judge: Judge, report: FeedbackReport | None = None
) -> Iterator[Row]:
    """Preference rows for (prompt, answer, answer), with the `probability` of the chosen one.

    Ties, equal answers among them, give no row and are counted in the report.
    """
    report = report or FeedbackReport()
    for prompt, first, second in pairs:
        p, swayed = preference(prompt, first, second, judge)
        report.pairs += 1
        report.swayed += swayed
        if p == 0.5 or first == second:
            report.ties += 1
        elif p > 0.5:
            yield {**_pair(prompt, first, second), "probability": p}
        else:
            yield {**_pair(prompt, second, first), "probability": 1 - p}
