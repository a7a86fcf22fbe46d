"""Reinforcement learning with tools: rows that offer them are answered in several turns.

A model that calls a tool reads its answer and goes on, so an answer is an episode
(`trajectory.episode`). All open episodes draw their next turn together, the tools run in the
sandbox's process in between, and the whole track becomes one row of the batch: what the model drew
is learned, the token that ends each of its turns included; what a tool said is read and has neither
a loss nor a log-probability. Search-R1 (Jin et al. 2025, arXiv:2503.09516, §3.1) masks it as well:
a policy is not to learn to say what its environment says.

The reward is that of the last turn, and every token of the episode gets its advantage.
Shapes: B answers, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.data.world.tools import SPECS
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.play import Player, Playing
from minimind_wiki.train.reasoning import Reply
from minimind_wiki.train.rewards import exact, used_tools, weighted, well_formed
from minimind_wiki.train.sandbox import Result, Sandbox
from minimind_wiki.train.sources import Row, Source
from minimind_wiki.train.track import Game, collate, engine, play_together
from minimind_wiki.train.trajectory import Episode, Run, episode, prompt_of

TOLD = ("turns", "calls", "failed_calls")


class Acting(Playing, Protocol):
    """The settings that episodes need besides."""

    @property
    def turns(self) -> int: ...
    @property
    def calls_weight(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Played:
    """Answers as rows for the loss, and what each of them said, with all its calls.

    `longest_B` are the tokens of each answer's longest turn; `told` are sums over all answers.
    """

    drawn: Rollout
    replies: list[Reply]
    longest_B: Tensor
    told: dict[str, float]


def tools_of(row: Row) -> list[str]:
    """Names of the tools that a row offers.

    >>> tools_of({"conversations": [{"role": "user", "content": "Hi"}]})
    []
    """
    return [str(tool.get("function", tool).get("name")) for tool in prompt_of(row)[1]]


def runner(sandbox: Sandbox, row: Row) -> Run:
    """Runs the calls of a row's episode: the world's tools, on what the row's shops have.

    MinimindError for a row that offers a tool which nobody runs: every call of it would fail.
    """
    if strange := sorted(set(tools_of(row)) - set(SPECS)):
        raise MinimindError(
            f"a row offers the tools {', '.join(strange)}, but only {', '.join(SPECS)} can be run. "
            "Leave such rows out, or set --turns 1 to have their calls judged and not run."
        )

    def run(name: str, arguments: Mapping[str, Any]) -> Result:
        return sandbox.call(name, arguments, row.get("stock"))

    return run


def as_rows(
    episodes: Sequence[Episode], pad_id: int, temperature: float, device: torch.device
) -> Rollout:
    """Episodes as single answers are: rows of ids, the next ids, which of them were drawn, and how
    likely. Unlike there, `next_BT` hides what was not drawn.

    An episode has ended if its last turn has its end token and nothing had to be left out.
    """
    rows = collate([played.track for played in episodes], pad_id)
    ended = torch.tensor([played.ended in ("answer", "turns") for played in episodes])
    parts = (rows.ids_BT, rows.labels_BT, rows.mask_BT, rows.logp_BT, ended)
    ids_BT, next_BT, mask_BT, logp_BT, ended_B = (part.to(device) for part in parts)
    return Rollout(ids_BT, next_BT, mask_BT, logp_BT, ended_B, temperature)


def judged_reply(played: Episode) -> Reply:
    """What is judged of an episode. A call that nobody ran has failed.

    Else a call without an end to its turn would pass for an answer (`rewards.exact` takes a single
    call where nobody runs any), and the policy would learn never to read what a tool says.
    """
    calls = tuple(replace(call, failed=True) if call.failed is None else call
                  for call in played.reply.calls)  # fmt: skip
    return replace(played.reply, calls=calls)


def told_of(episodes: Sequence[Episode]) -> dict[str, float]:
    """Turns, calls that were run, and those of them that failed; sums over the episodes."""
    ran = [call.failed for played in episodes for call in played.reply.calls
           if call.failed is not None]  # fmt: skip
    turns = sum(len(played.turns) for played in episodes)
    return dict(zip(TOLD, (float(turns), float(len(ran)), float(sum(ran))), strict=True))


def replaced(old: Played, new: Played, rows_R: Tensor) -> Played:
    """The answers `old`, with those in rows R exchanged for the R answers `new`.

    `told` stays that of `old`: what was drawn in vain counts.
    """
    longest = max(old.drawn.ids_BT.shape[1], new.drawn.ids_BT.shape[1])

    def put(name: str) -> Tensor:
        into_BT, from_RT = (getattr(played.drawn, name) for played in (old, new))
        wide_BT = F.pad(into_BT, (0, longest - into_BT.shape[1]))  # nothing reads what is padded
        wide_BT[rows_R] = F.pad(from_RT, (0, longest - from_RT.shape[1]))
        return wide_BT

    ended_B, longest_B = old.drawn.ended_B.clone(), old.longest_B.clone()
    ended_B[rows_R], longest_B[rows_R] = new.drawn.ended_B, new.longest_B
    replies = list(old.replies)
    for row, reply in zip(rows_R.tolist(), new.replies, strict=True):
        replies[row] = reply
    drawn = Rollout(put("ids_BT"), put("next_BT"), put("mask_BT"), put("logp_BT"), ended_B,
                    old.drawn.temperature)  # fmt: skip
    return Played(drawn, replies, longest_B, old.told)


class Agent(Player):
    """Prompts are answered, with tools where they offer them, and judged."""

    def __init__(self, work: Workshop, settings: Acting, source: Source, sandbox: Sandbox) -> None:
        super().__init__(work, settings, source)
        self.acting, self.sandbox = settings, sandbox
        self.tools = settings.turns > 1 and any(map(tools_of, (source.first, *source.held_out)))
        if self.tools:
            self.graded = (*self.graded, *TOLD)
        if settings.calls_weight:
            self.judge = weighted({"right": (1.0, exact),
                                   "format": (settings.format_weight, well_formed),
                                   "calls": (settings.calls_weight, used_tools)})  # fmt: skip

    def play(self, rows: Sequence[Row], many: int, temperature: float, number: int) -> Played:
        """`many` answers to each row: single ones, or episodes if one of the rows offers tools.

        With one turn there is nobody to answer a call, so it stays a single answer.
        """
        if self.acting.turns > 1 and any(map(tools_of, rows)):
            return self.act(rows, many, temperature, number)
        drawn = self.answer(rows, many, temperature, number)
        replies = [self.reply(drawn, row) for row in range(len(drawn.ids_BT))]
        told = dict(zip(TOLD, (float(len(replies)), 0.0, 0.0), strict=True))
        return Played(drawn, replies, drawn.lengths(), told)

    def act(self, rows: Sequence[Row], many: int, temperature: float, number: int) -> Played:
        """`many` episodes of each row; a row without tools is answered in its one turn."""
        work, s, games = self.work, self.acting, list[Game[Episode]]()
        device = work.place.device
        generator = torch.Generator(device).manual_seed(work.config.seed * 1_000_003 + number)
        draw = engine(work.model, self.end, temperature=temperature, generator=generator)
        for row in rows:
            (messages, tools), run = prompt_of(row), runner(self.sandbox, row)
            games += [episode(messages, work.tokenizer, tools, run, work.config.context_length,
                              s.turns if tools else 1, s.max_new_tokens, s.thinking)
                      for _ in range(many)]  # fmt: skip
        with work.place.autocast():
            played = play_together(draw, games)
        drawn = as_rows(played, work.model.config.pad_token_id, temperature, device)
        longest = [max(stop - start for start, stop in one.turns) for one in played]
        # a row that offers nothing has single answers, also in what its calls are worth
        replies = [judged_reply(one) if tools_of(rows[number // many]) else one.reply
                   for number, one in enumerate(played)]  # fmt: skip
        return Played(drawn, replies, torch.tensor(longest, device=device), told_of(played))

    def grade(self, rows: Sequence[Row]) -> dict[str, float]:
        """With tools also turns and calls."""
        played = self.play(rows, 1, 0.0, -1)
        told = played.told | {"accuracy": sum(map(exact, rows, played.replies)),
                              "tokens": float(played.drawn.lengths().sum())}  # fmt: skip
        return {name: told[name] for name in self.graded}
