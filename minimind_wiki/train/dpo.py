"""Direct preference optimization on the loop, with its relatives: IPO, SimPO, ORPO and KTO.

A row of the data is a pair: the same prompt with a chosen and a rejected answer. A step scores both
under the model, and under the reference: the model as it was when the run began, which stays as it
is (`reference.py`). What the methods make of the four numbers is in `preference.py`; how rows are
made of pairs, in `comparisons.py`. KTO, which needs no pairs, is in `kto.py`.

    minimind dpo --model runs/sft --data world/preference --out runs/dpo
Shapes: B rows, two for each pair, T tokens in each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model import Transformer
from minimind_wiki.train import kto, preference
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.comparisons import pair_feed, verdict_feed
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.parallel import is_first
from minimind_wiki.train.preference import Answers, Judged, pair_metrics, pairs
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.reference import Compared, load_reference, remember
from minimind_wiki.train.report import Quiet, Report
from minimind_wiki.train.sources import open_source

LOSSES = ("dpo", "ipo", "simpo", "orpo", "kto")
WITH_REFERENCE = ("dpo", "ipo", "kto")


@dataclass(frozen=True, slots=True)
class DpoSettings:
    """What learning from pairs needs beside the settings of every run."""

    loss: str = "dpo"
    """dpo, ipo, simpo, orpo or kto."""
    beta: float = 0.0
    """How strongly the model is held to its reference; simpo: scale of the reward (0: 0.1, 2)."""
    gamma: float = 1.0
    """simpo: by how much the chosen answer must win."""
    odds_weight: float = 0.1
    """orpo: weight of the odds beside the chosen answer's own loss."""
    smoothing: float = 0.0
    """Share of pairs that are believed to be the wrong way round (dpo, simpo)."""
    desirable_weight: float = 1.0
    """kto: weight of a good answer; weigh the rarer kind more."""
    undesirable_weight: float = 1.0
    """kto: weight of a bad answer."""
    unpaired: bool = False
    """kto: the data are chats with "label" true or false, not pairs."""
    cache_reference: bool = False
    """Score all answers under the reference before training, and forget it; kl is not measured."""

    def validate(self, batch_size: int) -> None:
        """WrongCall for a value that cannot work."""
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        if not self.strength > 0:
            raise WrongCall(f"beta is {self.beta}, but it must be above 0, or 0 for the usual.")
        for name in ("odds_weight", "desirable_weight", "undesirable_weight"):
            if not getattr(self, name) > 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be above 0.")
        if not 0 <= self.smoothing < 0.5:
            raise WrongCall(f"smoothing is {self.smoothing}, but it must be in [0, 0.5).")
        if self.unpaired and self.loss != "kto":
            raise WrongCall(f"{self.loss} compares pairs; unpaired goes with --loss kto alone.")
        if self.cache_reference and self.loss not in WITH_REFERENCE:
            raise WrongCall(f"{self.loss} has no reference to cache; leave cache_reference out.")
        if self.loss == "kto" and batch_size < 2:
            raise WrongCall(
                "kto gives each prompt the answer to another one of its batch; make batch_size 2 "
                "or more."
            )

    @property
    def strength(self) -> float:
        """beta, resolved."""
        return self.beta or (2.0 if self.loss == "simpo" else 0.1)


def dpo(
    config: TrainConfig,
    settings: DpoSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Train the model folder `config.init` on comparisons. `batch_size` counts pairs, or chats."""
    settings = settings or DpoSettings()
    settings.validate(config.batch_size)
    tokenizer = open_tokenizer(config.init)
    source = open_source(config.data, "sft" if settings.unpaired else "preference", config.seed,
                         config.held_out, config.eval_windows)  # fmt: skip
    if settings.loss == "kto":
        config = replace(config, prefetch=0)  # a point found ahead would be that of older weights
    feed = (verdict_feed if settings.loss == "kto" else pair_feed)(source, config, tokenizer)
    told = report if report is not None and is_first() else Quiet()
    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("dpo", settings, partial(method, told)))  # fmt: skip


def method(told: Report, work: Workshop, settings: DpoSettings) -> Method:
    """The loss with its reference, where it has one: beside it, or its numbers in every batch."""
    reference = None
    if settings.cache_reference:
        work = replace(work, feed=remember(work, told))
    elif settings.loss in WITH_REFERENCE:
        reference = load_reference(work)
    if settings.loss == "kto":
        weights = settings.desirable_weight, settings.undesirable_weight
        liked = kto.KtoLoss(work.model, reference, work.chunk, settings.strength, *weights)
        return kto.method(work, liked)
    loss = PairLoss(work.model, reference, settings, work.chunk)
    return Method(loss, work.feed.at, partial(assess, work, loss))


class PairLoss(Compared):
    """The summed loss of a batch of pairs; rows are chosen, rejected, chosen, rejected …"""

    def __init__(
        self, model: Transformer, reference: Transformer | None, settings: DpoSettings, chunk: int
    ) -> None:
        super().__init__(model, reference, chunk)
        self.settings = settings

    def forward(
        self,
        ids_BT: Tensor,
        labels_BT: Tensor,
        documents_BT: Tensor | None,
        reference_B: Tensor | None = None,
    ) -> Tensor:
        """Sum over the pairs, in nats. `reference_B`: the reference's sums, where they are kept."""
        return self.judge(self.answers(ids_BT, labels_BT, reference_B)).loss_B.sum()

    def judge(self, answers: Answers) -> Judged:
        """Loss and implicit rewards of each pair."""
        chosen, rejected = pairs(answers)
        s = self.settings
        if s.loss == "dpo":
            return preference.dpo(chosen, rejected, s.strength, smoothing=s.smoothing)
        if s.loss == "ipo":
            return preference.ipo(chosen, rejected, s.strength)
        if s.loss == "simpo":
            return preference.simpo(chosen, rejected, s.strength, s.gamma, s.smoothing)
        return preference.orpo(chosen, rejected, s.odds_weight)


@torch.no_grad()
def assess(work: Workshop, loss: PairLoss) -> dict[str, float]:
    """On held-out pairs: the mean loss, how often and by how much the chosen answer wins, rewards;
    and, with a reference at hand, KL(π ‖ π_ref) in nats a token (see `reference.py`)."""
    totals: dict[str, float] = {"loss": 0.0}
    apart, tokens = 0.0, 0
    work.model.eval()
    for batch in work.feed.held_out:
        for part in batch.to(work.place.device).split(2 * (work.config.micro_batch_size or 8)):
            known_B = part.more.get("reference_B")
            with work.place.autocast():
                answers, kl = loss.measure(part.ids_BT, part.labels_BT, known_B)
                judged = loss.judge(answers)
            apart, tokens = apart + kl, tokens + part.predicted
            totals["loss"] += float(judged.loss_B.sum())
            for name, value in pair_metrics(judged).items():
                totals[name] = totals.get(name, 0.0) + value
    work.model.train()
    count = totals.pop("pairs")
    found = {name: value / count for name, value in totals.items()}
    return found | ({"kl": apart / tokens} if loss.kept[0] is not None else {})
