"""KTO on the loop: single answers that were liked or not, no pairs (Ethayarajh et al. 2024,
arXiv:2402.01306).

A liked answer should gain more probability than the model has moved on the whole, a disliked one
less. How far it has moved is the reference point: the mean log-ratio of answers to *other* prompts
(each prompt is lent its neighbour's answer), measured anew before each step, over the whole batch,
with the weights that are then updated. The numbers are in `preference.py`, the rows in
`comparisons.py`.

    minimind dpo --loss kto --model runs/sft --data world/preference --out runs/kto
Shapes: B rows, T tokens in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from minimind_wiki.model import Transformer
from minimind_wiki.train import preference
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.method import Method, Workshop
from minimind_wiki.train.preference import Answers
from minimind_wiki.train.reference import Compared, lent_rows


class KtoLoss(Compared):
    """The summed loss of a batch of answers."""

    def __init__(
        self, model: Transformer, reference: Transformer | None, chunk: int,
        beta: float = 0.1, good_weight: float = 1.0, bad_weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(model, reference, chunk)
        self.scales = beta, good_weight, bad_weight

    def forward(
        self,
        ids_BT: Tensor,
        labels_BT: Tensor,
        documents_BT: Tensor | None,
        good_B: Tensor,
        point_B: Tensor,
        reference_B: Tensor | None = None,
    ) -> Tensor:
        """A scalar. `point_B` holds the batch's reference point, in nats, once for each row."""
        answers = self.answers(ids_BT, labels_BT, reference_B)
        return self.judge(answers, good_B, point_B)[0].sum()

    def judge(
        self, answers: Answers, good_B: Tensor, point: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and reward of each answer."""
        return preference.kto(answers, good_B, point, *self.scales)


class Liking:
    """Batches with their reference point, and what is measured. `seen`: that of the last batch."""

    def __init__(self, work: Workshop, loss: KtoLoss) -> None:
        self.work, self.loss = work, loss
        self.seen: dict[str, float] = {}
        self.rows = 2 * (work.config.micro_batch_size or 8)

    def at(self, step: int) -> Tokens:
        """The step's answers. Each process scores its own lent rows; the point is that of all."""
        batch, group = self.work.feed.at(step), self.work.group
        mine = batch if batch.own else group.rows(batch)
        total, count = group.total(*self.ratios([mine]))
        point = max(0.0, total / count)
        self.seen = {"reference_point": point}
        keep = {name: rows for name, rows in batch.more.items() if not name.startswith("other")}
        point_B = torch.full((len(batch.ids_BT),), point)
        return replace(batch, more={**keep, "point_B": point_B})

    @torch.no_grad()
    def ratios(self, batches: Sequence[Tokens]) -> tuple[float, float]:
        """Sum of the log-ratios of all lent rows, and their number. The point is their mean, never
        below 0, as in `preference.kto_reference`; here rows come a micro-batch at a time."""
        total, count, work = 0.0, 0, self.work
        work.model.eval()
        for batch in batches:
            lent = lent_rows(batch)
            assert lent is not None  # the feed is `comparisons.verdict_feed`
            for part in lent.to(work.place.device).split(self.rows):
                known_B = part.more.get("reference_B")
                with work.place.autocast():
                    answers = self.loss.answers(part.ids_BT, part.labels_BT, known_B)
                total += float(answers.ratio().sum())
                count += len(part.ids_BT)
        work.model.train()
        return total, count

    @torch.no_grad()
    def assess(self) -> dict[str, float]:
        """On held-out answers: the loss, mean rewards of both kinds, the point, KL a token."""
        work = self.work
        total, count = self.ratios(work.feed.held_out)
        point = max(0.0, total / count)
        loss, apart, rows, tokens = 0.0, 0.0, 0, 0
        rewards: dict[bool, list[float]] = {True: [], False: []}
        work.model.eval()
        for batch in work.feed.held_out:
            for part in batch.to(work.place.device).split(self.rows):
                known_B, good_B = part.more.get("reference_B"), part.more["good_B"]
                with work.place.autocast():
                    answers, kl = self.loss.measure(part.ids_BT, part.labels_BT, known_B)
                loss_B, reward_B = self.loss.judge(answers, good_B, point)
                loss, apart = loss + float(loss_B.sum()), apart + kl
                rows, tokens = rows + len(loss_B), tokens + part.predicted
                for good, reward in zip(good_B.tolist(), reward_B.tolist(), strict=True):
                    rewards[good].append(reward)
        work.model.train()
        found = {"loss": loss / rows, "reference_point": point}
        names = {True: "reward_chosen", False: "reward_rejected"}
        found |= {names[k]: sum(some) / len(some) for k, some in rewards.items() if some}
        return found | ({"kl": apart / tokens} if self.loss.kept[0] is not None else {})


def method(work: Workshop, loss: KtoLoss) -> Method:
    """The method at work."""
    liking = Liking(work, loss)
    return Method(loss, liking.at, liking.assess, lambda: liking.seen)
