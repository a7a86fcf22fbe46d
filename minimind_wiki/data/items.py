"""Benchmarks as common items: a question with choices, or one with answers that count as right.

`{"task", "question", "choices", "answer": index}` and `{"task", "question", "answers"}`. Each
benchmark is read in the form of its publisher and in that of llm-foundry (`query, choices, gold`),
in which many of them are passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def choice(task: str, question: str, choices: list[str], right: int) -> list[Row]:
    """One multiple-choice item."""
    return [{"task": task, "question": question, "choices": choices, "answer": right}]


def answer(task: str, question: str, answers: list[str]) -> list[Row]:
    """One item whose answer is a text or a number; each of `answers` is right."""
    return [{"task": task, "question": question, "answers": answers}]


def foundry(task: str) -> Callable[[Row], list[Row]]:
    """`{query, choices, gold}` of a task."""

    def read(row: Row) -> list[Row]:
        return choice(task, row["query"], list(row["choices"]), row["gold"])

    return read


def hellaswag(row: Row) -> list[Row]:
    """HellaSwag `{ctx, endings, label}`; the label is a string on the hub."""
    return choice("hellaswag", row["ctx"], list(row["endings"]), int(row["label"]))


def arc(row: Row) -> list[Row]:
    """ARC `{question, choices: {text, label}, answerKey}`; labels are letters or digits.

    >>> arc({"question": "?", "choices": {"text": ["a", "b"], "label": ["1", "2"]},
    ...      "answerKey": "2"})[0]["answer"]
    1
    """
    if "query" in row:
        return foundry("arc")(row)
    choices = row["choices"]
    right = list(choices["label"]).index(row["answerKey"])
    return choice("arc", row["question"], list(choices["text"]), right)


def mmlu(row: Row) -> list[Row]:
    """MMLU `{subject, question, choices, answer: index}`."""
    task = f"mmlu/{row.get('subject') or 'all'}"
    return choice(task, row["question"], list(row["choices"]), int(row["answer"]))


def letters(task: str) -> Callable[[Row], list[Row]]:
    """C-Eval and CMMLU: `{question, A, B, C, D, answer: letter}`, in either case of the keys."""

    def read(row: Row) -> list[Row]:
        question = row["question"] if "question" in row else row["Question"]
        right = row["answer"] if "answer" in row else row["Answer"]
        name = f"{task}/{row.get('subject') or 'all'}"
        return choice(name, question, [row[key] for key in "ABCD"], "ABCD".index(right.strip()))

    return read


def piqa(row: Row) -> list[Row]:
    """PIQA `{goal, sol1, sol2, label}`."""
    return choice("piqa", row["goal"], [row["sol1"], row["sol2"]], int(row["label"]))


def winogrande(row: Row) -> list[Row]:
    """WinoGrande: two whole sentences that differ in one name, so there is no question.

    In the publisher's form `_` marks the place, `answer` is "1" or "2".
    """
    if "sentence" in row:
        filled = [row["sentence"].replace("_", row[key]) for key in ("option1", "option2")]
        return choice("winogrande", "", filled, int(row["answer"]) - 1)
    filled = [f"{context} {row['continuation']}" for context in row["context_options"]]
    return choice("winogrande", "", filled, row["gold"])


def truthfulqa(row: Row) -> list[Row]:
    """TruthfulQA mc1: one true choice. It stands first as published: shuffle before showing."""
    targets = row["mc1_targets"]
    if "choices" in targets:  # the hub's form
        texts, labels = list(targets["choices"]), list(targets["labels"])
    else:
        texts, labels = list(targets), list(targets.values())
    return choice("truthfulqa", row["question"], texts, labels.index(1))


def truthfulqa_open(row: Row) -> list[Row]:
    """TruthfulQA, generation: every answer that counts as true."""
    return answer("truthfulqa_open", row["Question"], row["Correct Answers"].split("; "))


def lambada(row: Row) -> list[Row]:
    """LAMBADA: the last word of a passage."""
    return answer("lambada", row["context"], [row["continuation"]])


def triviaqa(row: Row) -> list[Row]:
    """TriviaQA with its aliases."""
    return answer("triviaqa", row["context"], list(dict.fromkeys([row["answer"], *row["aliases"]])))


def svamp(row: Row) -> list[Row]:
    """SVAMP `{Body, Question, Answer}`; whole numbers without their `.0`.

    >>> svamp({"Body": "I had 5 eggs", "Question": "How many?", "Answer": 5.0})[0]["answers"]
    ['5']
    """
    body, value = row["Body"].rstrip(), float(row["Answer"])
    joined = f"{body}{'' if body.endswith(('.', '?', '!')) else '.'} {row['Question']}"
    return answer("svamp", joined, [f"{value:.0f}" if value.is_integer() else repr(value)])


def nq(row: Row) -> list[Row]:
    """NQ-Open `{question, answer: […]}`."""
    return answer("nq_open", row["question"], list(row["answer"]))


def squad(row: Row) -> list[Row]:
    """A paragraph of SQuAD's form: one item a question, with the paragraph before it."""
    return [
        item
        for qa in row["qas"]
        for item in answer(
            "squad",
            f"{row['context']}\n\n{qa['question']}",
            list(dict.fromkeys(a["text"] for a in qa["answers"])),
        )
    ]


def pubmedqa(row: Row) -> list[Row]:
    """PubMedQA in llm-foundry's form: yes, no or maybe."""
    return choice("pubmedqa", row["context"], options := ["yes", "no", "maybe"],
                  options.index(row["continuation"]))  # fmt: skip


def fairytale(row: Row) -> list[Row]:
    """A question of FairytaleQA; its passage is in another file (`cor_section` says which)."""
    answers = [row[f"answer{n}"] for n in range(1, 7) if row.get(f"answer{n}")]
    return answer("fairytaleqa", row["question"], answers)


READERS: dict[str, tuple[Callable[[Row], list[Row]], str]] = {
    "hellaswag": (hellaswag, "choice"), "arc": (arc, "choice"), "mmlu": (mmlu, "choice"),
    "ceval": (letters("ceval"), "choice"), "cmmlu": (letters("cmmlu"), "choice"),
    "piqa": (piqa, "choice"), "winogrande": (winogrande, "choice"),
    "truthfulqa": (truthfulqa, "choice"), "pubmedqa": (pubmedqa, "choice"),
    "boolq": (foundry("boolq"), "choice"), "openbookqa": (foundry("openbookqa"), "choice"),
    "commonsenseqa": (foundry("commonsenseqa"), "choice"),
    "truthfulqa_open": (truthfulqa_open, "answer"), "lambada": (lambada, "answer"),
    "triviaqa": (triviaqa, "answer"), "svamp": (svamp, "answer"), "nq_open": (nq, "answer"),
    "squad": (squad, "answer"), "fairytaleqa": (fairytale, "answer"),
}  # fmt: skip
