"""Drawing for many requests at once: each row of scores by its own settings and its own seed.

The draw is a race. Token i arrives after E_i / p_i, where E_i is drawn from the exponential
distribution, and the first to arrive wins: with probability p_i. `torch.multinomial` draws one
sample in the same way; written out, each row takes its numbers from the generator of its request.
So a request with a seed draws the same whatever else is in the batch, and the same as `sample_next`
alone (tests/unit/test_infer_draw.py).

Shapes: B batch (a row a request), G rows of equal settings, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.filters import (
    add_bias,
    keep_min_p,
    keep_typical,
    penalize_counts,
    penalize_repetition,
    refuse_repeats,
)
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.infer.sampling import keep_top_k, keep_top_p


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn token."""

    id: int
    logprob: float | None = None
    """None where nobody asked; else as `Request.logprobs_mode` says."""
    top: Sequence[tuple[int, float]] = ()
    """The likeliest tokens and their log-probabilities, the best first."""
    error: str = ""
    """Why this request cannot go on, in one sentence; then the id is -1."""


class Drawer:
    """What the draws of one request depend on: its settings, its generator, its tokens so far.

    Raises WrongCall for settings without a meaning. A constraint is copied, so that a request can
    be used again.
    """

    def __init__(
        self, request: Request, vocab_size: int, device: torch.device | str = "cpu"
    ) -> None:
        sampling = request.sampling
        sampling.check(vocab_size)
        self.sampling, self.logprobs = sampling, request.logprobs
        self.processed = request.logprobs_mode == "processed"
        self.constraint: Any = None if request.constraint is None else request.constraint.copy()
        self.ids = list(request.prompt)
        self.device = torch.device(device)
        self.generator = torch.Generator(device)
        if sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(sampling.seed)
        counts = (1, vocab_size)
        self.counts_1V: Tensor | None = None
        if sampling.presence_penalty or sampling.frequency_penalty:
            self.counts_1V = torch.zeros(counts, device=device)
        self.seen_1V: Tensor | None = None
        if sampling.repetition_penalty != 1:
            self.seen_1V = torch.zeros(counts, dtype=torch.bool, device=device)
            self.seen_1V[0, torch.tensor(self.ids, dtype=torch.int64, device=device)] = True

    @property
    def plain(self) -> bool:
        """Whether scores do not depend on this request's own tokens, so that rows go together."""
        return (
            self.counts_1V is None
            and self.seen_1V is None
            and self.constraint is None
            and not self.sampling.logit_bias
            and not self.sampling.no_repeat_ngram_size
        )

    def adjust(self, logits_1V: Tensor) -> Tensor:
        """Scores after what depends on this request's own tokens: bias, penalties, what is refused.

        If a constraint and the rule against repeated runs refuse every token together, the
        constraint holds and the rule does not: a closing bracket may have to come again.
        """
        sampling = self.sampling
        if sampling.logit_bias:
            logits_1V = add_bias(logits_1V, sampling.logit_bias)
        if self.seen_1V is not None:
            logits_1V = penalize_repetition(logits_1V, self.seen_1V, sampling.repetition_penalty)
        if self.counts_1V is not None:
            logits_1V = penalize_counts(
                logits_1V, self.counts_1V, sampling.presence_penalty, sampling.frequency_penalty
            )
        free_1V = logits_1V
        if sampling.no_repeat_ngram_size:
            ids_1T = torch.tensor([self.ids], dtype=torch.int64, device=self.device)
            free_1V = refuse_repeats(logits_1V, ids_1T, sampling.no_repeat_ngram_size)
        if self.constraint is not None:
            refused_V = torch.ones(logits_1V.shape[1], dtype=torch.bool, device=self.device)
            allowed_V = self.constraint.mask().to(self.device)
            refused_V[: len(allowed_V)] = ~allowed_V  # a model may have more ids than a tokenizer
            logits_1V = logits_1V.masked_fill(refused_V, float("-inf"))
            free_1V = free_1V.masked_fill(refused_V, float("-inf"))
        return free_1V if bool(free_1V.isfinite().any()) else logits_1V

    def accept(self, token: int) -> None:
        """Count `token` as drawn."""
        self.ids.append(token)
        if self.counts_1V is not None:
            self.counts_1V[0, token] += 1
        if self.seen_1V is not None:
            self.seen_1V[0, token] = True
        if self.constraint is not None:
            self.constraint.accept(token)


def filtered(logits_BV: Tensor, drawers: Sequence[Drawer], checked: bool = False) -> Tensor:
    """The scores that `draw` draws from, (B, V) float32: their softmax is each row's distribution.

    A row of temperature 0 keeps its scores; its token is the best of them. Raises MinimindError
    where scores are not finite, unless the caller has `checked` that.
    """
    scores_BV = logits_BV.float()
    if not checked and not bool(scores_BV.amax(dim=-1).isfinite().all()):
        raise MinimindError(
            "the model's scores are not finite, so no token can be drawn; load a checkpoint from "
            "before they broke, or a wider number format."
        )
    changed = [row for row, drawer in enumerate(drawers) if not drawer.plain]
    if changed:
        rows = [drawers[row].adjust(scores_BV[row : row + 1]) for row in changed]
        scores_BV = scores_BV.index_copy(0, _index(changed, scores_BV), torch.cat(rows))
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, drawer in enumerate(drawers):
        s = drawer.sampling
        alike[s.temperature, s.top_k, s.top_p, s.min_p, s.typical_p].append(row)
    for group in alike.values():
        sampling = drawers[group[0]].sampling
        if sampling.temperature == 0:
            continue
        if len(group) == len(drawers):
            return _warp(scores_BV, sampling)
        rows_G = _index(group, scores_BV)
        scores_BV = scores_BV.index_copy(0, rows_G, _warp(scores_BV[rows_G], sampling))
    return scores_BV


def _warp(scores_GV: Tensor, sampling: Sampling) -> Tensor:
    """Temperature and what cuts the distribution, for rows of equal settings."""
    scores_GV = scores_GV / sampling.temperature
    if sampling.top_k is not None:
        scores_GV = keep_top_k(scores_GV, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1:
        scores_GV = keep_top_p(scores_GV, sampling.top_p)
    if sampling.min_p:
        scores_GV = keep_min_p(scores_GV, sampling.min_p)
    if sampling.typical_p is not None and sampling.typical_p < 1:
        scores_GV = keep_typical(scores_GV, sampling.typical_p)
    return scores_GV


def draw(logits_BV: Tensor, drawers: Sequence[Drawer], checked: bool = False) -> list[Drawn]:
    """Draw the next token of every request from its row of scores, and count it as drawn.

    `checked`: the caller knows that the scores are finite.

    A request whose constraint has failed gets its error and no token; the others get theirs.

    >>> rows = torch.tensor([[1.0, 3.0, 2.0], [5.0, 1.0, 1.0]])
    >>> ask = Request(prompt=[0], max_new_tokens=1, sampling=Sampling(temperature=0))
    >>> [drawn.id for drawn in draw(rows, [Drawer(ask, 3), Drawer(ask, 3)])]
    [1, 0]
    """
    scores_BV = filtered(logits_BV, drawers, checked)
    drawn = told(pick(scores_BV, drawers).tolist(), logits_BV, scores_BV, drawers)
    for row, drawer in enumerate(drawers):
        if drawer.constraint is not None and drawer.constraint.error:
            drawn[row] = Drawn(-1, error=drawer.constraint.error)
        else:
            drawer.accept(drawn[row].id)
    return drawn


def pick(scores_BV: Tensor, drawers: Sequence[Drawer]) -> Tensor:
    """A token of each row of `filtered` scores, (B) int64: the best, or the winner of the race."""
    next_B = scores_BV.argmax(dim=-1)
    random = [row for row, drawer in enumerate(drawers) if drawer.sampling.temperature > 0]
    if random:
        rows_G = _index(random, scores_BV)
        chance_GV = torch.softmax(scores_BV[rows_G], dim=-1)
        wait_GV = torch.empty_like(chance_GV)
        for wait_V, row in zip(wait_GV, random, strict=True):
            wait_V.exponential_(generator=drawers[row].generator)
        next_B[rows_G] = (chance_GV / wait_GV).argmax(dim=-1)  # the least of wait / chance
    return next_B


def chances(scores_BV: Tensor, drawers: Sequence[Drawer]) -> Tensor:
    """The probabilities with which `pick` draws, (B, V); at temperature 0 the best is certain."""
    certain = [row for row, drawer in enumerate(drawers) if drawer.sampling.temperature == 0]
    if len(certain) < len(drawers):
        chance_BV = torch.softmax(scores_BV, dim=-1)
    else:
        chance_BV = torch.zeros_like(scores_BV)
    if certain:
        rows_G = _index(certain, scores_BV)
        chance_BV[rows_G] = 0
        chance_BV[rows_G, scores_BV[rows_G].argmax(dim=-1)] = 1
    return chance_BV


def told(
    tokens: Sequence[int], logits_BV: Tensor, scores_BV: Tensor, drawers: Sequence[Drawer]
) -> list[Drawn]:
    """The token of each row, with the log-probabilities that its request asks for.

    `scores_BV` are those of `filtered`, which "processed" log-probabilities are of.
    """
    drawn = [Drawn(token) for token in tokens]
    alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for row, drawer in enumerate(drawers):
        if drawer.logprobs is not None:
            certain = drawer.processed and drawer.sampling.temperature == 0
            alike[drawer.logprobs, drawer.processed, certain].append(row)
    for (count, processed, certain), rows in alike.items():
        if certain:
            for row in rows:
                drawn[row] = Drawn(tokens[row], 0.0, ((tokens[row], 0.0),)[:count])
            continue
        rows_GV = (scores_BV if processed else logits_BV)[_index(rows, scores_BV)]
        logp_GV = torch.log_softmax(rows_GV.float(), dim=-1)
        ids_G1 = _index([tokens[row] for row in rows], scores_BV)[:, None]
        best = logp_GV.topk(min(count, logp_GV.shape[1]))
        found = (logp_GV.gather(1, ids_G1)[:, 0], best.indices, best.values)
        for row, logp, ids, logps in zip(rows, *(part.tolist() for part in found), strict=True):
            drawn[row] = Drawn(tokens[row], logp, tuple(zip(ids, logps, strict=True)))
    return drawn


def _index(rows: list[int], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64, device=like.device)
