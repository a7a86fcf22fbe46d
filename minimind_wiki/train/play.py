"""What methods share that learn from a model's own answers: prompts, answers, and their reward.

The answers come from the package's own batched generation, on the weights that are trained. What is
made of them (groups and means, or values of each token) is the method's: `grpo.py`, `ppo.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.rollout import Rollout, rollout
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.reasoning import Reply, read_ids
from minimind_wiki.train.rewards import exact, weighted, well_formed
from minimind_wiki.train.sources import Row, Source, open_source
from minimind_wiki.train.trajectory import prompt_of

TRIES = 50  # prompts that may be too long, one after the other
AT_ONCE = 32  # held-out prompts that are answered together
FAR = 1_000_003  # from a prompt that is too long to its substitute


class Playing(Protocol):
    """The settings that answering needs."""

    @property
    def max_new_tokens(self) -> int: ...
    @property
    def temperature(self) -> float: ...
    @property
    def format_weight(self) -> float: ...
    @property
    def thinking(self) -> bool: ...


def check_playing(settings: Playing) -> None:
    """WrongCall for a length or a temperature with which nothing can be sampled."""
    for name in ("temperature", "max_new_tokens"):
        if not getattr(settings, name) > 0:
            raise WrongCall(f"{name} is {getattr(settings, name)}, but it must be above 0.")


def open_prompts(config: TrainConfig) -> tuple[Source, Feed]:
    """The rows that `config.data` names, and a feed that only says what they are.

    A model without a tokenizer is told here, before the run begins.
    """
    source = open_source(config.data, "agent", config.seed, config.held_out, config.eval_windows)
    feed = Feed(_no_rows, (), np.empty(0, np.int64), (), source.about, source.line,
                f"Held out: {len(source.held_out):,} prompts, answered greedily.")  # fmt: skip
    open_tokenizer(config.init)
    return source, feed


def _no_rows(step: int) -> Tokens:
    raise AssertionError("a batch needs the model")


class Player:
    """Prompts are answered and judged. `seen`: numbers of the last batch, for the curves."""

    graded: tuple[str, ...] = ("accuracy", "tokens")
    """What `grade` sums over held-out answers."""

    def __init__(self, work: Workshop, settings: Playing, source: Source) -> None:
        if work.group.kind not in ("none", "ddp"):
            raise WrongCall("answers are sampled from a whole model in each process: use "
                            "--parallel ddp.")  # fmt: skip
        self.work, self.playing, self.source = work, settings, source
        self.seen: dict[str, float] = {}
        self.judge = weighted({"right": (1.0, exact),
                               "format": (settings.format_weight, well_formed)})  # fmt: skip

    def answer(self, rows: Sequence[Row], many: int, temperature: float, number: int) -> Rollout:
        """`many` answers to each row's prompt, drawn by a generator of (seed, number).

        WrongCall if one does not fit the context.
        """
        generator = torch.Generator(device=self.work.place.device)
        generator.manual_seed(self.work.config.seed * 1_000_003 + number)
        prompts = [self.prompt(row) for row in rows]
        with self.work.place.autocast():
            return rollout(self.work.model, prompts, many, self.playing.max_new_tokens,
                           temperature, generator=generator, stop_ids=(self.end,))  # fmt: skip

    def fitting(self, number: int) -> tuple[Row, int]:
        """Row `number`, or the first of its substitutes whose prompt leaves room for an answer; and
        how many were too long. WrongCall where TRIES of them are."""
        room = self.work.config.context_length - self.playing.max_new_tokens
        for skipped in range(TRIES):
            row = self.source.row(number + skipped * FAR)
            if len(self.prompt(row)) <= room:
                return row, skipped
        raise WrongCall(
            f"{TRIES} prompts in a row have more than {room} tokens: with answers of "
            f"{self.playing.max_new_tokens} they do not fit context_length "
            f"{self.work.config.context_length}; make it larger, or max_new_tokens smaller."
        )

    def prompt(self, row: Row) -> list[int]:
        """The ids up to where the assistant begins to speak."""
        messages, tools = prompt_of(row)
        return render(messages, self.work.tokenizer, tools, add_generation_prompt=True,
                      open_thinking=self.playing.thinking).ids  # fmt: skip

    def reply(self, drawn: Rollout, number: int) -> Reply:
        """What was said in one row."""
        return read_ids(drawn.sampled(number)[0], self.work.tokenizer, self.playing.thinking)

    @property
    def end(self) -> int:
        """The token that ends a turn."""
        return end_of(self.work.tokenizer)

    def assess(self) -> dict[str, float]:
        """Held-out prompts answered greedily, shared out over the processes: the mean of each
        number that `grade` sums. "loss" is the share that is wrong, unless a method grades one."""
        work, room = self.work, self.work.config.context_length - self.playing.max_new_tokens
        rows = [row for row in self.source.held_out if len(self.prompt(row)) <= room]
        if not rows:
            raise WrongCall(f"no held-out prompt has at most {room} tokens; see context_length.")
        sums = dict.fromkeys(self.graded, 0.0)  # by name, as a process may have no row
        mine = rows[work.group.rank :: work.group.size]
        for at in range(0, len(mine), AT_ONCE):
            for name, value in self.grade(mine[at : at + AT_ONCE]).items():
                sums[name] += value
        totals = work.group.total(*sums.values())
        found = {name: value / len(rows) for name, value in zip(sums, totals, strict=True)}
        return {"loss": 1 - found["accuracy"], **found}

    def grade(self, rows: Sequence[Row]) -> dict[str, float]:
        """Greedy answers to these rows: the sum of each number that `graded` names."""
        return self.marks(rows, self.answer(rows, 1, 0.0, -1))

    def marks(self, rows: Sequence[Row], drawn: Rollout) -> dict[str, float]:
        """How many answers are right, and how long they are together."""
        right = sum(exact(row, self.reply(drawn, i)) for i, row in enumerate(rows))
        return {"accuracy": right, "tokens": float(drawn.lengths().sum())}


def end_of(tokenizer: Tokenizer) -> int:
    """The id of the token that ends an assistant's turn."""
    return control_ids(tokenizer)["<|im_end|>"]
