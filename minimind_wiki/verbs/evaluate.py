"""`minimind evaluate`: score a trained model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.verbs.generate import device_flag

HELP = "Score a trained model on tasks whose answers a program can check."
EXAMPLE = "minimind evaluate runs/village --tasks world --limit 50"
TASKS = {
    "world": "the world exam, in the form that the model was trained on",
    "world-chat": "the same, asked in chat",
    "world-answers": "the same, answered in the model's own words",
    "instructions": "instructions, followed to the letter",
    "arithmetic": "word problems, solved in words",
    "rubric": "answers that are true, complete, brief and polite",
    "tool-use": "tasks for a tool, with tools that run",
    "loss": "how well it expects held-out chats and texts",
    "kl": "how far it has moved from --against, on the same chats and texts",
}
HELD_OUT = {"chats": "sft", "texts": "pretrain"}  # and their kinds of rows
COMPARED = ("kl", "rubric")  # what --against is for


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, the tasks and how many items."""
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    listed = "; ".join(f"{name}: {about}" for name, about in TASKS.items())
    parser.add_argument("--tasks", default="world", help=f"by commas (default: world). {listed}")
    parser.add_argument("--limit", type=int, default=50, metavar="N",
                        help="items of each section or task (default: 50)")  # fmt: skip
    parser.add_argument("--plain", action="store_true",
                        help="ask the world exam in plain text, also of a chat model")  # fmt: skip
    parser.add_argument("--against", type=Path, metavar="DIR",
                        help="another model, for kl, and for the rubric's win rate")  # fmt: skip
    parser.add_argument("--thinking", action="store_true",
                        help="let it think before it answers")  # fmt: skip
    parser.add_argument("--max-tokens", type=int, default=96, metavar="N",
                        help="longest answer (default: 96)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="which items (default: 0)")
    device_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line for each score: share, 95 % interval, chance."""
    tasks = args.tasks.split(",")
    for task in tasks:
        if task not in TASKS:
            raise unknown("task", task, TASKS)
    if args.limit < 1 or args.max_tokens < 1:
        raise WrongCall(f"--limit and --max-tokens must be at least 1, got {args.limit} and "
                        f"{args.max_tokens}.")  # fmt: skip
    if "kl" in tasks and not args.against:
        raise WrongCall("kl is a distance between two models; give the other with --against DIR.")
    if args.against and not set(tasks) & set(COMPARED):
        raise WrongCall(f"--against is for the tasks {' and '.join(COMPARED)}; leave it out.")
    from minimind_wiki.evaluate.manner import speaks_in_chats
    from minimind_wiki.train.device import choose
    from minimind_wiki.verbs.generate import find_model

    subject = Subject(args, find_model(args.model), choose(args.device).device)
    for task in tasks:
        if task == "world":
            world(subject, chat=not args.plain and speaks_in_chats(subject.folder))
        elif task == "world-chat":
            world(subject, chat=True)
        else:
            for line in _SPOKEN[task](subject):
                print(line, flush=True)
    return 0


@dataclass(slots=True)
class Subject:
    """Who is examined, and how; models are loaded once."""

    args: argparse.Namespace
    folder: Path
    device: Any
    loaded: tuple[Any, Any] | None = None

    @property
    def model(self) -> tuple[Any, Any]:
        """Model and tokenizer."""
        if self.loaded is None:
            self.loaded = load(self.folder, self.device)
        return self.loaded

    @property
    def how(self) -> dict[str, Any]:
        """Of the answers in words."""
        return {"max_new_tokens": self.args.max_tokens, "thinking": self.args.thinking}

    def rows(self, kind: str) -> list[Any]:
        """Rows of worlds that no training reads."""
        from minimind_wiki.data.world.rows import make_rows

        return list(make_rows(kind, self.args.limit, self.args.seed, "test"))


def load(folder: Path, device: Any) -> tuple[Any, Any]:
    """Model and tokenizer. MinimindError if there is none."""
    from minimind_wiki.infer.open import open_model

    model, tokenizer = open_model(folder, device)
    if tokenizer is None:
        raise MinimindError(f"{folder} has no tokenizer, so it cannot read a question.")
    return model, tokenizer


def warn(line: str) -> None:
    """To the one who reads errors."""
    print(line, file=sys.stderr)


# ---- the world exam


def world(subject: Subject, chat: bool) -> None:
    """A line for each section, with the best of the tricks, and the mean."""
    from rich.progress import track

    from minimind_wiki.evaluate.baselines import baselines
    from minimind_wiki.evaluate.chat_exam import PLAIN, chat_examiner, section_marks
    from minimind_wiki.evaluate.intervals import mean_interval
    from minimind_wiki.evaluate.likelihood import log_likelihood
    from minimind_wiki.evaluate.manner import text_begin
    from minimind_wiki.evaluate.world_exam import SECTIONS, by_likelihood, exam

    args, begin = subject.args, text_begin(subject.folder, warn)
    if chat:
        judge = chat_examiner(*subject.model, begin)
        form = f"in chat, as it was trained ({', '.join(PLAIN)}: plain text)"
    else:
        judge = partial(by_likelihood, log_likelihood(*subject.model, begin))
        form = "in plain text"
    print(f"World exam of {args.model}, asked {form}: the likeliest of the options counts as its "
          "answer. A trick looks only at places and lengths.")  # fmt: skip
    sections = track(SECTIONS, description="exam", transient=True)
    marks = []
    for name in sections:
        score, found = section_marks(judge, name, args.limit, seed=args.seed)
        marks.append(found)
        tricks = {
            trick: exam(by, args.limit, seed=args.seed, sections=(name,))[0].accuracy
            for trick, by in baselines().items()
        }
        best = max(tricks, key=lambda trick: tricks[trick])
        print(f"{score}  best trick {tricks[best]:.1%} ({best})", flush=True)
    print(f"{'mean':12s} {mean_interval(marks)}  of the sections, bootstrap over items")


# ---- answers in words


def _in_words(subject: Subject) -> Iterator[str]:
    from minimind_wiki.evaluate.chat_exam import PLAIN
    from minimind_wiki.evaluate.intervals import mean_interval
    from minimind_wiki.evaluate.world_exam import SECTIONS
    from minimind_wiki.train.examine import exam_in_words

    args, marks = subject.args, []
    yield f"World exam of {args.model}, answered in its own words (not asked: {', '.join(PLAIN)}):"
    for section in SECTIONS:
        if section not in PLAIN:
            found = exam_in_words(*subject.model, section, args.limit, seed=args.seed,
                                  **subject.how)  # fmt: skip
            marks.append(found.marks)
            yield str(found)
    yield f"{'mean':12s} {mean_interval(marks)}  of the sections, bootstrap over items"


def _instructions(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.examine import instruction_following

    rows = subject.rows("instructions")
    yield str(instruction_following(*subject.model, rows, **subject.how))


def _arithmetic(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.examine import arithmetic

    yield str(arithmetic(*subject.model, subject.rows("arithmetic"), **subject.how))


def _rubric(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.compare import (
        preference_prompts,
        rubric_points,
        rubric_score,
        win_rate,
    )
    from minimind_wiki.train.examine import answers

    args = subject.args
    rows, asked = preference_prompts(args.limit, "test", args.seed)
    found = rubric_score(*subject.model, rows, asked, **subject.how)
    points = rubric_points(found.replies, asked)
    shares = (f"{name} {sum(met[name] for met in points) / len(points):.0%}" for name in points[0])
    yield f"{found}; {', '.join(shares)}"
    if args.against:
        other = answers(*load(args.against, subject.device), rows, **subject.how)
        mean, ties = win_rate(found.replies, other, asked)
        yield f"{'wins':12s} {mean}  chance 50.0%  against {args.against}; ties {ties:.0%}"


def _tool_use(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.examine import calls_that_worked, tool_use
    from minimind_wiki.train.sandbox import Sandbox

    rows, args = subject.rows("tools"), subject.args
    with Sandbox() as sandbox:
        found = tool_use(*subject.model, rows, sandbox, turn_tokens=args.max_tokens,
                         thinking=args.thinking)  # fmt: skip
    worked = calls_that_worked(rows, found.replies)
    yield f"{found}; in {worked:.0%} tools were called and no call failed"


def _loss(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.compare import loss_on

    for what, kind in HELD_OUT.items():
        yield _nats("loss", loss_on(*subject.model, subject.rows(kind)), what)


def _kl(subject: Subject) -> Iterator[str]:
    from minimind_wiki.train.compare import kl_to

    against = subject.args.against
    base = load(against, subject.device)[0]
    for what, kind in HELD_OUT.items():
        nats = kl_to(base, *subject.model, subject.rows(kind))
        yield f"{_nats('kl', nats, what)}, from {against}"


def _nats(name: str, rows: list[float], what: str) -> str:
    from minimind_wiki.evaluate.intervals import mean_interval

    mean = mean_interval([rows])
    return (f"{name:12s} {mean.value:.4f}  [{mean.low:.4f}, {mean.high:.4f}] nats a token, mean of "
            f"{len(rows)} {what}")  # fmt: skip


_SPOKEN = {
    "world-answers": _in_words, "instructions": _instructions, "arithmetic": _arithmetic,
    "rubric": _rubric, "tool-use": _tool_use, "loss": _loss, "kl": _kl,
}  # fmt: skip
