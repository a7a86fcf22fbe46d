"""Is it better to learn sums, or to learn to call a calculator?

The same questions, "What is 72 times 91 plus 13?", are taught in two forms: with the result, or
with a call of a calculator, its answer and the result. Equally many questions in equally many
optimizer steps, each seen once. A call has more tokens to learn from, so a third model gets bare
results of so many more questions that it is trained on equally many tokens. The calls of held-out
questions are run, in a process of their own. Each form at its own best learning rate.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import mean

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.tokenizer.chat import from_row, render
from minimind_wiki.train.examine import arithmetic, calls_that_worked, tool_use
from minimind_wiki.train.sandbox import Sandbox

from ._lessons import BASE, Row, bars, learned, lessons, more, of_the_base, paid, taught

OFFER = {key: SPECS["calculator"]["function"][key] for key in ("name", "description")}


@dataclass(frozen=True, slots=True)
class Settings:
    """Optimizer steps, questions in each, their rate; rows measured meanwhile, items at the end."""

    steps: int = 160
    questions: int = 8
    learning_rate: float = 1e-2
    windows: int = 32
    items: int = 200
    texts: int = 48


def arm(title: str, role: str, form: str, tokens: str = "its own") -> dict:
    return {"title": title, "role": role, "form": form, "tokens": tokens}


experiment = Experiment(
    name="post-training/tools",
    factors=("form", "tokens"),
    arms={
        "results": arm("results", "none", "result"),
        "more_results": arm("more results", "a", "result", "as many as calls"),
        "calls": arm("calls", "model", "call"),
    },
    settings=Settings(),
    quick=Settings(steps=2, questions=2, windows=2, items=2, texts=2),
    sweep=Sweep("learning_rate", (5e-3, 1e-2, 2e-2), "loss", quick=(1e-2,), beyond=(2.5e-3, 4e-2)),
    primary="accuracy",
    budget=1800.0,
    repeat=(("results", 0), ("calls", 0)),
    noisy=("seconds", "answer_ms"),
)  # fmt: skip


def questions(split: str, seed: int = 0) -> Iterator[Row]:
    """Tasks for the calculator, which is the one tool that is offered; the offer is kept short."""
    for row in make_rows("tools", None, seed, split):
        system, *turns = row["conversations"]
        if turns[0]["content"].startswith("What is "):
            yield {**row, "conversations": [{**system, "tools": json.dumps([OFFER])}, *turns]}


def told(row: Row, form: str) -> Row:
    """The question with a call and what follows, or with the last words alone."""
    turns = row["conversations"]
    return {"conversations": turns if form == "call" else [turns[1], turns[-1]]}


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    tokenizer = load_tokenizer(BASE)
    rows = lessons(questions("train", seed), partial(told, form=arm["form"]), settings.steps,
                   settings.questions, tokenizer, arm["tokens"] == "its own")  # fmt: skip
    held = [told(row, arm["form"]) for row in islice(questions("validation"), settings.windows)]
    found = taught(rows, held, settings.questions, learning_rate=settings.learning_rate, seed=seed,
                   context_length=768)  # fmt: skip
    asked = list(islice(questions("test"), settings.items))
    bare = [{**told(row, "result"), "gt": row["gt"]} for row in asked]
    started = time.perf_counter()
    if arm["form"] == "call":
        with Sandbox() as sandbox:
            solved = tool_use(found.model, tokenizer, asked, sandbox, turns=2, turn_tokens=64)
    else:
        solved = arithmetic(found.model, tokenizer, bare, max_new_tokens=64)
    seconds = time.perf_counter() - started
    chats = [render(messages, tokenizer, tools) for messages, tools in
             (from_row(told(row, arm["form"])["conversations"]) for row in asked)]  # fmt: skip
    values = {
        "accuracy": solved.score.accuracy, "tokens": mean(len(chat.ids) for chat in chats),
        "loss": found.state.held_out["loss"][-1],
        "steps": len(rows) / settings.questions, "learned": learned(tokenizer, rows) / 1000,
        "text_loss": paid(found.model, tokenizer, settings.texts),
        "seconds": found.state.seconds, "answer_ms": 1000 * seconds / len(asked),
    }  # fmt: skip
    if arm["form"] == "call":  # and where nobody offers the tool
        values["called"] = calls_that_worked(asked, solved.replies)
        alone = arithmetic(found.model, tokenizer, bare, max_new_tokens=64)
        values["alone"] = alone.score.accuracy
    held_out = found.state.held_out
    return Measurement(values, {"loss": (held_out["step"], held_out["loss"])})


@experiment.levels
def levels(settings: Settings):
    return of_the_base(settings.texts)


@experiment.claim()
def calls_solve_more(record):
    """In equally many optimizer steps, calls teach to solve more than bare results, with every
    seed."""
    return more(record, "calls", "results")


@experiment.claim()
def it_is_not_the_tokens(record):
    """Calls teach more also than bare results with as many tokens to learn from, with every
    seed."""
    return more(record, "calls", "more_results")


@experiment.claim()
def without_the_tool_nothing(record):
    """Where nobody offers the tool, the model that learned to call solves at most one in twenty,
    with every seed."""
    alone = record.seeds("calls", "alone")
    return max(alone) <= 0.05, f"{mean(alone):.1%}"


@experiment.claim()
def calls_cost_tokens(record):
    """A question with its call, the offer of the tool included, takes at least five times the
    tokens of one with its bare result, with every seed."""
    calls, bare = record.seeds("calls", "tokens"), record.seeds("results", "tokens")
    return min(calls) > 5 * max(bare), f"{mean(calls):.0f} against {mean(bare):.0f} tokens"


@experiment.claim()
def calls_cost_the_texts_more(record):
    """In equally many optimizer steps, calls cost more nats on the world's texts than bare results,
    with every seed."""
    return more(record, "calls", "results", "text_loss")


@experiment.claim(quick=True)
def as_many_tokens(record):
    """The model with more results is trained on as many tokens as that with calls, within a
    tenth."""
    mine, calls = record.value("more_results", "learned"), record.value("calls", "learned")
    return abs(mine / calls - 1) < 0.1, f"{mine:.1f} and {calls:.1f} thousand tokens"


@experiment.figure()
def solved_and_paid(record):
    """Held-out questions solved by models that were taught bare results, as many tokens of them,
    and calls of a calculator, with the range of the seeds; beside it the tokens that a question
    takes and the loss on the world's texts, with that of the base."""
    figure = bars(record)
    texts = figure.panels[-1]  # a level's name would stand on the bars
    texts.y.label += f" (base: {record.level('baseline', 'text_loss'):.1f})"
    texts.levels = []
    return figure
