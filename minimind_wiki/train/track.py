"""Ids in the order in which they came: what a model drew, and what was given to it.

A policy is trained on the probability of the very tokens that it drew. Ids that are decoded to text
and encoded again can be other tokens, with another probability, so an id is written down once, when
it comes, and never made again from text. What was not drawn (the prompt, a tool's answer, a forced
word) is context: it has no loss and no log-probability.

Whatever draws is a function `sample(ids, budget) -> (new ids, their log-probabilities)`: at most
`budget` ids, up to and including the token that ends a turn. What asks for samples is a generator
(a *game*) that yields (ids, budget) and is sent the answer, so that the same code serves one game
at a time (`play`) or many in step with an engine that draws in batches (`play_together`).
Shapes: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.rollout import rollout
from minimind_wiki.model import Transformer

Request = tuple[list[int], int]  # ids so far, most new ones
Drawn = tuple[Sequence[int], Sequence[float]]  # new ids, log-probability of each
Sample = Callable[[list[int], int], Drawn]
SampleMany = Callable[[list[Request]], Sequence[Drawn]]
T = TypeVar("T")
Game = Generator[Request, Drawn, T]


@dataclass(slots=True)
class Track:
    """`mask` is 1 where the model drew; `logps` are the sampler's there (nats), 0 elsewhere."""

    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)

    def give(self, ids: Sequence[int]) -> None:
        """Context: what the model reads and did not draw."""
        self._add(ids, 0, [0.0] * len(ids))

    def draw(self, ids: Sequence[int], logps: Sequence[float]) -> None:
        """What the model drew, as `check_drawn` let it pass."""
        self._add(ids, 1, logps)

    def _add(self, ids: Sequence[int], drawn: int, logps: Sequence[float]) -> None:
        self.ids += map(int, ids)
        self.mask += [drawn] * len(ids)
        self.logps += map(float, logps)


def check_drawn(drawn: Drawn, budget: int, end: int) -> None:
    """WrongCall where a sampler broke its promise: training on that would go wrong unseen."""
    ids, logps = drawn
    if not 0 < len(ids) <= budget:
        raise WrongCall(f"the sampler drew {len(ids)} ids where 1 to {budget} were asked for.")
    if len(ids) != len(logps):
        raise WrongCall(f"the sampler drew {len(ids)} ids and gave {len(logps)} log-probabilities.")
    if end in ids[:-1]:
        raise WrongCall(f"the sampler went on behind id {end}, which ends a turn; stop there.")
    for at, logp in enumerate(logps):
        if not -math.inf < logp <= 1e-4:  # a rounding above 0, never NaN
            raise WrongCall(
                f"the log-probability of drawn id {at} is {logp}; it must be 0 or less."
            )


def play(sample: Sample, game: Game[T]) -> T:
    """The end of a game, with one draw after the other."""
    try:
        request = next(game)
        while True:
            request = game.send(sample(*request))
    except StopIteration as end:
        result: T = end.value
        return result


def play_together(sample_many: SampleMany, games: Iterable[Game[T]]) -> list[T]:
    """The ends of many games, in their order; all that still go on draw together.

    WrongCall when the engine does not answer every request.
    """
    running = dict(enumerate(games))
    results: dict[int, T] = {}
    asked: dict[int, Request] = {}
    answers: dict[int, Drawn | None] = dict.fromkeys(running)  # None starts a generator
    while answers:
        for number, answer in answers.items():
            try:
                game = running[number]
                asked[number] = next(game) if answer is None else game.send(answer)
            except StopIteration as end:
                results[number] = end.value
                asked.pop(number, None)
        drawn = sample_many(list(asked.values())) if asked else []
        if len(drawn) != len(asked):
            raise WrongCall(f"{len(asked)} rows asked for a sample and {len(drawn)} came back.")
        answers = dict(zip(asked, drawn, strict=True))
    return [results[number] for number in running]


def engine(model: Transformer, end: int, **sampling: Any) -> SampleMany:
    """The package's own rollouts as an engine for `play_together`; `end` ends a turn.

    `sampling`: temperature, top_k, top_p, generator and rows_at_once of `infer.rollout`.
    """

    def sample_many(requests: list[Request]) -> list[Drawn]:
        prompts, budgets = zip(*requests, strict=True)
        out = rollout(model, prompts, 1, budgets, stop_ids=[end], **sampling)
        return [out.sampled(row) for row in range(len(requests))]

    return sample_many


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Tracks as a batch, shifted: `labels_BT[t]` is the id after `ids_BT[t]`, IGNORE where it was
    not drawn; there `mask_BT` is False and `logp_BT` 0. Rows are padded on the right.
    """

    ids_BT: Tensor
    labels_BT: Tensor
    mask_BT: Tensor
    logp_BT: Tensor


def collate(tracks: Sequence[Track], pad_id: int) -> DrawnRows:
    """Tracks as tensors: int64 ids and labels, bool mask, float32 log-probabilities, on the CPU.

    WrongCall, with the row's number, for a track in which nothing was drawn behind the first id.

    >>> track = Track()
    >>> track.give([5, 6])
    >>> track.draw([7], [-0.5])
    >>> collate([track], pad_id=0).labels_BT
    tensor([[-100,    7]])
    """
    for number, track in enumerate(tracks):
        if not any(track.mask[1:]):
            raise WrongCall(f"row {number} has nothing that was drawn, so nothing to learn from.")
    longest = max((len(track.ids) for track in tracks), default=1) - 1

    def rows(
        values: list[list[int]] | list[list[float]], fill: float, dtype: torch.dtype
    ) -> Tensor:
        return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in values], dtype=dtype)

    mask_BT = rows([track.mask[1:] for track in tracks], 0, torch.bool)
    labels_BT = rows([track.ids[1:] for track in tracks], IGNORE, torch.int64)
    return DrawnRows(
        rows([track.ids[:-1] for track in tracks], pad_id, torch.int64),
        labels_BT.masked_fill(~mask_BT, IGNORE),
        mask_BT,
        rows([track.logps[1:] for track in tracks], 0.0, torch.float32),
    )
