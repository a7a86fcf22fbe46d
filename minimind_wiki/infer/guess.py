"""Guesses for an engine: who makes them, for many texts at once, and which of them stand.

`speculative` says why guessing pays and holds the rule, `judge`. Here are two guessers for texts in
blocks. They are asked once a step, for all texts that answer; each text's guesses are then checked
in the same pass of the model as everybody's tokens.

A draft model keeps its keys in a cache of its own that is cut into the same blocks as the model's:
what one has stored of a text, the other has as well, so sharing beginnings and giving up blocks
need no thought. It reads all that the model reads, up to its own context.

Shapes: k guesses of a text, T = k + 1 places at which the model scores it, R texts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.draw import Drawer, chances, filtered, pick
from minimind_wiki.infer.lay import StepCache, context_of
from minimind_wiki.infer.lean import flat_decoder
from minimind_wiki.infer.speculative import Lookup, judge
from minimind_wiki.infer.work import Work
from minimind_wiki.model import Transformer
from minimind_wiki.model.pages import Step

NGRAM = "ngram"
"""The name of the guesser that needs no model."""


class Guesser(Protocol):
    """Whoever fills `guesses` and `q_kV` of the texts of a step."""

    def guess(self, plan: Sequence[tuple[Any, int]]) -> None:
        """Guess behind each `Work` of the plan, at most `Work.ahead` tokens."""
        ...

    def wipe(self, blocks: Sequence[int]) -> None:
        """Make blocks zero again, as the engine does with its own."""
        ...


def make_guesser(draft: Transformer | str, model: Transformer, blocks: int, size: int) -> Guesser:
    """`"ngram"`, or a smaller model of the same vocabulary. WrongCall for anything else."""
    vocabulary = model.config.vocab_size
    if isinstance(draft, str):
        if draft != NGRAM:
            raise WrongCall(f"the draft is {draft!r}; give a model, or 'ngram'.")
        return Ngram(vocabulary)
    if draft.config.vocab_size != vocabulary:
        raise WrongCall(
            f"the draft knows {draft.config.vocab_size} tokens and the model {vocabulary}; give a "
            "draft with the model's own tokenizer."
        )
    return DraftModel(draft, blocks, size)


class Ngram:
    """`speculative.Lookup` for every text."""

    def __init__(self, vocab_size: int) -> None:
        self.lookup = Lookup(vocab_size)

    def guess(self, plan: Sequence[tuple[Any, int]]) -> None:
        """What followed the last two tokens where they stood before."""
        for work, _ in plan:
            work.guesses = []
            if work.ahead:
                work.guesses, work.q_kV = self.lookup.guess(work.ids, work.ahead)

    def wipe(self, blocks: Sequence[int]) -> None:
        """It keeps nothing."""


class DraftModel:
    """Guesses with a smaller model, drawn as each request draws, with its own generator."""

    def __init__(self, model: Transformer, blocks: int, size: int) -> None:
        weight = next(model.parameters())
        self.decode, self.score = flat_decoder(model.eval())
        self.cache = StepCache(model.config, blocks, size, weight.device, weight.dtype)
        self.context = context_of(model.config)

    def wipe(self, blocks: Sequence[int]) -> None:
        """Make blocks zero again."""
        self.cache.wipe(blocks)

    def guess(self, plan: Sequence[tuple[Any, int]]) -> None:
        """Read what is new of every text; then guess for all together, a token a pass."""
        reading: list[tuple[Work, Step]] = []
        for work, count in plan:
            work.guesses, work.q_kV = [], None
            stop = min(work.stored + count, self.context)
            if stop > work.drafted:
                new = work.ids[work.drafted : stop]
                reading.append((work, Step(new, work.drafted, work.blocks)))
        reading.sort(key=lambda item: len(item[1].ids))
        rows, guessing, row, found = [], [], 0, dict[Work, list[Tensor]]()
        for work, step in reading:
            row += len(step.ids)
            work.drafted += len(step.ids)
            if work.ahead and work.drafted == len(work.ids):
                guessing.append(work)
                rows.append(row - 1)
        steps = [step for _, step in reading]
        while steps:
            hidden_1TD = self.decode(self.cache.lay(steps), self.cache)
            if not guessing:
                break
            guessing = self._draw(guessing, self.score(hidden_1TD[0, rows]), found)
            steps = [Step(w.guesses[-1:], len(w.ids) + len(w.guesses) - 1, w.blocks)
                     for w in guessing]  # fmt: skip
            rows = list(range(len(steps)))
        for work, q in found.items():
            work.q_kV = torch.stack(q)
            work.drafted = len(work.ids) + len(work.guesses) - 1

    def _draw(
        self, works: list[Work], logits_RV: Tensor, found: dict[Work, list[Tensor]]
    ) -> list[Work]:
        """Give each text a guess more; those that may have another. Broken scores guess nothing."""
        finite = logits_RV.amax(dim=-1).isfinite().tolist()
        rows = [row for row, good in enumerate(finite) if good]
        works = [works[row] for row in rows]
        if not works:
            return []
        drawers = [work.drawer for work in works]
        scores_RV = filtered(logits_RV[rows], drawers)
        tokens, q_RV = pick(scores_RV, drawers).tolist(), chances(scores_RV, drawers)
        for work, token, q_V in zip(works, tokens, q_RV, strict=True):
            work.guesses.append(token)
            found.setdefault(work, []).append(q_V)
        return [work for work in works if len(work.guesses) < work.ahead
                and len(work.ids) + len(work.guesses) <= self.context]  # fmt: skip


def stand(logits_TV: Tensor, works: Sequence[Work]) -> list[list[int]]:
    """The tokens of this step of each text that has guesses: those that stand, and one more.

    `logits_TV` are the scores of all, k + 1 rows a text. A text's generator is its own, so what it
    gets does not depend on the others.
    """
    drawers: list[Drawer] = []
    for work in works:
        drawers += [work.drawer] * (len(work.guesses) + 1)
    p_TV, row, out = chances(filtered(logits_TV, drawers), drawers), 0, []
    for work in works:
        assert work.q_kV is not None
        rows = len(work.guesses) + 1
        q_kV = work.q_kV.to(p_TV.device)
        out.append(judge(work.guesses, p_TV[row : row + rows], q_kV, work.drawer.generator))
        row += rows
    return out
