"""Do worked steps teach a model to solve what bare answers do not?

The same word problems (who leaves at 12:15 and walks for 75 minutes, when do they arrive?) are
taught in three forms: the bare answer, the answer after worked steps, and the answer after the same
steps as a thought, which the template sets apart. Equally many problems in equally many optimizer
steps, each seen once. But a worked answer has more tokens to learn from, so a fourth model gets
bare answers of so many more problems that it is trained on equally many tokens. Each form at its
own best learning rate.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.examine import arithmetic

from ._lessons import BASE, Row, bars, learned, lessons, more, of_the_base, paid, taught


@dataclass(frozen=True, slots=True)
class Settings:
    """Optimizer steps, problems in each, their rate; rows measured meanwhile, items at the end."""

    steps: int = 200
    problems: int = 16
    learning_rate: float = 1e-2
    windows: int = 64
    items: int = 200
    texts: int = 48


def arm(title: str, role: str, form: str, tokens: str = "its own") -> dict:
    return {"title": title, "role": role, "form": form, "tokens": tokens}


experiment = Experiment(
    name="post-training/steps",
    factors=("form", "tokens"),
    arms={
        "answers": arm("answers", "none", "answer"),
        "more_answers": arm("more answers", "a", "answer", "as many as worked"),
        "worked": arm("worked", "model", "worked"),
        "thought": arm("thought", "b", "thought"),
    },
    settings=Settings(),
    quick=Settings(steps=2, windows=4, items=4, texts=2),
    sweep=Sweep("learning_rate", (5e-3, 1e-2, 2e-2), "loss", quick=(1e-2,), beyond=(2.5e-3, 4e-2)),
    primary="accuracy",
    budget=1800.0,
    repeat=(("answers", 0), ("thought", 0)),
    noisy=("seconds",),
)  # fmt: skip


def problems(split: str, seed: int = 0) -> Iterator[Row]:
    """Word problems about the time of an arrival, with worked steps."""
    rows = make_rows("arithmetic", None, seed, split)
    return (row for row in rows if " walks for " in row["conversations"][0]["content"])


def numbers(row: Row) -> tuple[str, ...]:
    """Those of the problem, by which it is the same problem with other names."""
    return tuple(re.findall(r"\d+", row["conversations"][0]["content"]))


def told(row: Row, form: str) -> Row:
    """The problem with its answer in one of the forms."""
    user, assistant = row["conversations"]
    steps, mark, answer = assistant["content"].rpartition("The answer is")
    say = {"answer": {"content": mark + answer}, "worked": {"content": assistant["content"]},
           "thought": {"content": mark + answer, "reasoning_content": steps.strip()}}  # fmt: skip
    return {"conversations": [user, {"role": "assistant", **say[form]}]}


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    tokenizer = load_tokenizer(BASE)
    rows = lessons(problems("train", seed), partial(told, form=arm["form"]), settings.steps,
                   settings.problems, tokenizer, arm["tokens"] == "its own")  # fmt: skip
    held = [told(row, arm["form"]) for row in islice(problems("validation"), settings.windows)]
    found = taught(rows, held, settings.problems, learning_rate=settings.learning_rate, seed=seed,
                   context_length=512)  # fmt: skip
    asked = list(islice(problems("test"), settings.items))
    met = {numbers(row) for row in rows}
    thinks = arm["form"] == "thought"
    solved = arithmetic(found.model, tokenizer, asked, max_new_tokens=64, thinking=thinks)
    values = {
        "accuracy": solved.score.accuracy, "tokens": solved.tokens,
        "loss": found.state.held_out["loss"][-1],
        "met": mean(numbers(row) in met for row in asked),  # in training, with other names
        "steps": len(rows) / settings.problems, "learned": learned(tokenizer, rows) / 1000,
        "text_loss": paid(found.model, tokenizer, settings.texts), "seconds": found.state.seconds,
    }  # fmt: skip
    if thinks:  # the thought is closed before it begins
        hasty = arithmetic(found.model, tokenizer, asked, max_new_tokens=64)
        values |= {"hasty": hasty.score.accuracy, "hasty_tokens": hasty.tokens}
    held_out = found.state.held_out
    return Measurement(values, {"loss": (held_out["step"], held_out["loss"])})


@experiment.levels
def levels(settings: Settings):
    return of_the_base(settings.texts)


@experiment.claim()
def steps_solve_more(record):
    """In equally many optimizer steps, worked rows teach to solve more than bare answers, with
    every seed."""
    return more(record, "worked", "answers")


@experiment.claim()
def it_is_not_the_tokens(record):
    """Worked rows teach more also than bare answers with as many tokens to learn from, with every
    seed."""
    return more(record, "worked", "more_answers")


@experiment.claim()
def thoughts_serve_as_well(record):
    """Steps that are set apart as a thought solve more than bare answers with as many tokens, with
    every seed."""
    return more(record, "thought", "more_answers")


@experiment.claim()
def a_closed_thought_solves_less(record):
    """Where its thought is closed before it begins, the model that learned to think solves less,
    with every seed."""
    open_, closed = record.seeds("thought", "accuracy"), record.seeds("thought", "hasty")
    return max(closed) < min(open_), f"{mean(closed):.1%} against {mean(open_):.1%}"


@experiment.claim()
def steps_cost_tokens(record):
    """An answer with steps is at least twice as long as a bare one, with every seed."""
    worked, bare = record.seeds("worked", "tokens"), record.seeds("answers", "tokens")
    return min(worked) > 2 * max(bare), f"{mean(worked):.0f} against {mean(bare):.0f} tokens"


@experiment.claim()
def steps_cost_the_texts_more(record):
    """In equally many optimizer steps, worked rows cost more nats on the world's texts than bare
    answers, with every seed."""
    return more(record, "worked", "answers", "text_loss")


@experiment.claim(quick=True)
def as_many_tokens(record):
    """The model with more answers is trained on as many tokens as that with worked ones, within a
    tenth."""
    mine, worked = record.value("more_answers", "learned"), record.value("worked", "learned")
    return abs(mine / worked - 1) < 0.1, f"{mine:.1f} and {worked:.1f} thousand tokens"


@experiment.figure()
def solved_and_paid(record):
    """Held-out word problems solved by models that were taught bare answers, as many tokens of
    them, worked steps and thoughts, with the range of the seeds; beside it the tokens of an answer
    and the loss on the world's texts, with that of the base."""
    figure = bars(record)
    texts = figure.panels[-1]  # a level's name would stand on the bars
    texts.y.label += f" (base: {record.level('baseline', 'text_loss'):.1f})"
    texts.levels = []
    return figure
