"""The reference: the model as it was when the run began, which DPO, IPO and KTO stay near.

It says two things. The log-probability of each answer enters the loss; as it never changes, it can
be computed once for each row and kept, and then the reference needs no memory while the model
learns. And how far the model has gone from it: KL(π ‖ π_ref) after each token of held-out answers,
exact, as all probabilities of both are known there. (It is not KL on the model's own answers, which
would have to be sampled first.)
Shapes: B rows, T tokens in each, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.distill import distill, reverse_kl
from minimind_wiki.train.faults import check_batch
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.logprobs import Head, label_logprobs, row_sums
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.preference import Answers
from minimind_wiki.train.report import Report

Heard = tuple[Tensor, Head]  # a model's last hidden states (B, T, D), and what makes scores of them


class Compared(nn.Module):
    """A model that learns, beside its reference (None: the method has none, or its sums are known).

    The reference is kept in a list: it is no part of what is trained, moved or saved.
    """

    def __init__(self, model: Transformer, reference: Transformer | None, chunk: int) -> None:
        super().__init__()
        self.model, self.chunk = model, chunk
        self.kept = [reference]

    def answers(
        self, ids_BT: Tensor, labels_BT: Tensor, reference_B: Tensor | None = None
    ) -> Answers:
        """Log-probabilities of the labelled tokens of each row, under both."""
        theirs = self.reference(ids_BT) if reference_B is None else None
        return self._answers(read(self.model, ids_BT), theirs, labels_BT, reference_B)

    def measure(
        self, ids_BT: Tensor, labels_BT: Tensor, reference_B: Tensor | None = None
    ) -> tuple[Answers, float]:
        """The same, and KL(π ‖ π_ref) in nats, summed over the labelled tokens (0 without it)."""
        mine, theirs = read(self.model, ids_BT), self.reference(ids_BT)
        apart = 0.0
        if theirs is not None:
            total, _ = distill(mine, theirs, labels_BT, reverse_kl, chunk=self.chunk)
            apart = float(total.detach())
        return self._answers(mine, theirs, labels_BT, reference_B), apart

    def reference(self, ids_BT: Tensor) -> Heard | None:
        """What the reference made of the rows."""
        if self.kept[0] is None:
            return None
        with torch.no_grad():
            return read(self.kept[0], ids_BT)

    def _answers(
        self, mine: Heard, theirs: Heard | None, labels_BT: Tensor, reference_B: Tensor | None
    ) -> Answers:
        logp_B, tokens_B = self.sums(mine, labels_BT)
        if theirs is not None and reference_B is None:
            with torch.no_grad():
                reference_B = self.sums(theirs, labels_BT)[0]
        return Answers(logp_B, tokens_B, reference_B)

    def sums(self, heard: Heard, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each answer and its tokens, (B,) each."""
        hidden_BTD, head = heard
        scored = label_logprobs(head, hidden_BTD, labels_BT, self.chunk)
        return row_sums(scored.logp_BT, scored.mask_BT)


def read(model: Transformer, ids_BT: Tensor) -> Heard:
    """The rows read, without the scores of all tokens."""
    return model.model(ids_BT), model.lm_head


def load_frozen(folder: str, work: Workshop) -> Transformer:
    """The model in a folder, to be asked and never trained.

    In float32 like the model that learns: a folder may keep its weights in 16 bits, and a reference
    that computes in them would be another model from the first step on.
    """
    found = load_model_folder(Path(folder), work.place.device, torch.float32)[0]
    return found.eval().requires_grad_(False)


def load_reference(work: Workshop) -> Transformer:
    """The model that the run began with; a resumed run has the same one."""
    return load_frozen(work.config.init, work)


class Remembered:
    """log π_ref of answers by their tokens: a row that comes again, in another order and beside
    other rows, is the same one."""

    def __init__(self) -> None:
        self.known: dict[bytes, float] = {}

    def learn(self, loss: Compared, batch: Tokens, work: Workshop) -> None:
        """Score the rows that are not known yet, in micro-batches as wide as the step's own."""
        keys = list(row_keys(batch))
        new = [number for number, key in enumerate(keys) if key not in self.known]
        if not new:
            return
        fresh = replace(batch.each(lambda rows_BT: rows_BT[new]), more={}, together=1)
        sums: list[float] = []
        for part in fresh.to(work.place.device).split(2 * (work.config.micro_batch_size or 8)):
            with work.place.autocast():
                sums += loss.answers(part.ids_BT, part.labels_BT).logp_B.tolist()
        self.known |= {keys[number]: value for number, value in zip(new, sums, strict=True)}

    def of(self, batch: Tokens) -> Tensor:
        """What was learned of the rows, (B,) float32."""
        return torch.tensor([self.known[key] for key in row_keys(batch)])

    def beside(self, batch: Tokens) -> Tokens:
        """The batch with `reference_B`, and `other_reference_B` where it has other rows."""
        more = {**batch.more, "reference_B": self.of(batch)}
        if other := lent_rows(batch):
            more["other_reference_B"] = self.of(other)
        return replace(batch, more=more)


def remember(work: Workshop, report: Report) -> Feed:
    """The feed with the reference's sums in every batch, of all steps and of the held-out rows.

    The reference is read, scores each answer once and is forgotten; a resumed run does so again.
    Of a step's rows each process scores its own.
    """
    reference, found = load_reference(work), Remembered()
    alone = Compared(reference, None, work.chunk)
    feed, steps = work.feed, work.config.steps

    def own(step: int) -> Tokens:
        return replace(work.group.rows(feed.at(step)), own=True)

    def batches() -> Iterator[Tokens]:
        yield from feed.held_out
        for step in range(steps):
            yield check_batch(own(step), work.model.config, step)
            if (step + 1) % -(-steps // 4) == 0 or step + 1 == steps:
                report.line(f"Reference: {len(found.known):,} answers scored, up to step "
                            f"{step + 1:,} of {steps:,}.")  # fmt: skip

    with torch.no_grad():
        for batch in batches():
            found.learn(alone, batch, work)
            if other := lent_rows(batch):
                found.learn(alone, other, work)
    return replace(
        feed, at=lambda step: found.beside(own(step)),
        held_out=tuple(found.beside(batch) for batch in feed.held_out),
    )  # fmt: skip


def lent_rows(batch: Tokens) -> Tokens | None:
    """Prompts with the answers to others (see `comparisons.verdict_rows`), as a batch."""
    if "other_ids_BT" not in batch.more:
        return None
    names = {"other_reference_B": "reference_B"}
    known = {new: batch.more[old] for old, new in names.items() if old in batch.more}
    return Tokens(batch.more["other_ids_BT"], batch.more["other_labels_BT"], more=known)


def row_keys(batch: Tokens) -> Iterable[bytes]:
    """Each row without its padding, ids and labels.

    >>> narrow = Tokens(torch.tensor([[1, 2]]), torch.tensor([[IGNORE, 3]]))
    >>> wide = Tokens(torch.tensor([[1, 2, 0]]), torch.tensor([[IGNORE, 3, IGNORE]]))
    >>> list(row_keys(narrow)) == list(row_keys(wide))
    True
    """
    for ids_T, labels_T in zip(batch.ids_BT, batch.labels_BT, strict=True):
        end = int((labels_T != IGNORE).nonzero()[-1]) + 1
        yield torch.cat([ids_T[:end], labels_T[:end]]).numpy().tobytes()
