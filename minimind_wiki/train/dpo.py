"""Direct preference optimization on the loop, with its relatives: IPO, SimPO and ORPO.

A row of the data is a pair: the same prompt with a chosen and a rejected answer. A step scores both
under the model, and under the reference: the model as it was when the run began, which stays as it
is. What the methods make of the four numbers is in `preference.py`; here they get their rows.

    minimind dpo --model runs/sft --data world/preference --out runs/dpo
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import from_row, render
from minimind_wiki.train import preference
from minimind_wiki.train.answers import answer_rows, fit
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.logprobs import logprobs, row_sums
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.preference import Answers, Judged, pair_metrics, pairs
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.report import Report
from minimind_wiki.train.sources import Row, Source, open_source

LOSSES = ("dpo", "ipo", "simpo", "orpo")
WITH_REFERENCE = ("dpo", "ipo")


@dataclass(frozen=True, slots=True)
class DpoSettings:
    """What learning from pairs needs beside the settings of every run."""

    loss: str = "dpo"
    """dpo, ipo, simpo or orpo."""
    beta: float = 0.1
    """How strongly the model is held to its reference (simpo: scale of the reward; try 2)."""
    gamma: float = 1.0
    """simpo: by how much the chosen answer must win."""
    odds_weight: float = 0.1
    """orpo: weight of the odds beside the chosen answer's own loss."""
    smoothing: float = 0.0
    """Share of pairs that are believed to be the wrong way round (dpo, simpo)."""

    def validate(self) -> None:
        """WrongCall for a value that cannot work."""
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        for name in ("beta", "odds_weight"):
            if not getattr(self, name) > 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be above 0.")
        if not 0 <= self.smoothing < 0.5:
            raise WrongCall(f"smoothing is {self.smoothing}, but it must be in [0, 0.5).")


def dpo(
    config: TrainConfig,
    settings: DpoSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Train the model folder `config.init` on pairs. `batch_size` counts pairs."""
    settings = settings or DpoSettings()
    settings.validate()
    tokenizer = open_tokenizer(config.init)
    source = open_source(config.data, "preference", config.seed, config.held_out,
                         config.eval_windows)  # fmt: skip
    return pretrain(config, {}, out, resume, report, feed=pair_feed(source, config, tokenizer),
                    tuning=Tuning("dpo", settings, method))  # fmt: skip


class PairLoss(nn.Module):
    """The summed loss of a batch of pairs; rows are chosen, rejected, chosen, rejected …"""

    def __init__(
        self, model: Transformer, reference: Transformer | None, settings: DpoSettings, chunk: int
    ) -> None:
        super().__init__()
        self.model, self.settings, self.chunk = model, settings, chunk
        self.kept = [reference]  # in a list: it is no part of what is trained, moved or saved

    def forward(self, ids_BT: Tensor, labels_BT: Tensor, documents_BT: Tensor | None) -> Tensor:
        """Sum over the pairs, in nats."""
        return self.judge(ids_BT, labels_BT).loss_B.sum()

    def judge(self, ids_BT: Tensor, labels_BT: Tensor) -> Judged:
        """Loss and implicit rewards of each pair."""
        chosen, rejected = pairs(self.answers(ids_BT, labels_BT))
        s = self.settings
        if s.loss == "dpo":
            return preference.dpo(chosen, rejected, s.beta, smoothing=s.smoothing)
        if s.loss == "ipo":
            return preference.ipo(chosen, rejected, s.beta)
        if s.loss == "simpo":
            return preference.simpo(chosen, rejected, s.beta, s.gamma, s.smoothing)
        return preference.orpo(chosen, rejected, s.odds_weight)

    def answers(self, ids_BT: Tensor, labels_BT: Tensor) -> Answers:
        """Log-probabilities of all answers under the model and its reference."""
        scored = logprobs(self.model, ids_BT, labels_BT, chunk=self.chunk)
        logp_B, tokens_B = row_sums(scored.logp_BT, scored.mask_BT)
        reference = self.kept[0]
        if reference is None:
            return Answers(logp_B, tokens_B)
        with torch.no_grad():
            old = logprobs(reference, ids_BT, labels_BT, chunk=self.chunk)
        return Answers(logp_B, tokens_B, row_sums(old.logp_BT, old.mask_BT)[0])


def method(work: Workshop, settings: DpoSettings) -> Method:
    """The pair loss, and on held-out pairs its mean, how often and by how much the chosen wins."""
    config, reference = work.config, None
    if settings.loss in WITH_REFERENCE:
        reference = load_model_folder(Path(config.init), work.place.device)[0].eval()
        reference.requires_grad_(False)
    loss = PairLoss(work.model, reference, settings, work.chunk)

    @torch.no_grad()
    def assess() -> dict[str, float]:
        totals: dict[str, float] = {"loss": 0.0}
        work.model.eval()
        for batch in work.feed.held_out:
            for part in batch.to(work.place.device).split(2 * (config.micro_batch_size or 8)):
                with work.place.autocast():
                    judged = loss.judge(part.ids_BT, part.labels_BT)
                totals["loss"] += float(judged.loss_B.sum())
                for name, value in pair_metrics(judged).items():
                    totals[name] = totals.get(name, 0.0) + value
        work.model.train()
        count = totals.pop("pairs")
        return {name: value / count for name, value in totals.items()}

    return Method(loss, work.feed.at, assess)


def pair_feed(source: Source, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Batches of `batch_size` pairs. A pair that does not fit loses the beginning of its prompt."""
    many, length = config.batch_size, config.context_length

    def batch(rows: Sequence[Row]) -> Tokens:
        return pair_rows(rows, tokenizer, length)

    held = [batch(source.held_out[i : i + many]) for i in range(0, len(source.held_out), many)]
    return Feed(
        lambda step: batch(list(source.rows(step * many, many))), tuple(held),
        np.empty(0, np.int64), (), source.about, source.line,
        f"Held out: {len(source.held_out):,} pairs.",
    )  # fmt: skip


def pair_rows(rows: Sequence[Row], tokenizer: Tokenizer, length: int) -> Tokens:
    """Preference rows as a batch: two rows of tokens each, the last turns' tokens learned.

    MinimindError, with the pair's beginning, for one that differs before its last turn.
    """
    answers: list[tuple[list[int], list[int]]] = []
    for row in rows:
        (prompt, good), (other, bad) = (
            last_turn(row[k], tokenizer) for k in ("chosen", "rejected")
        )
        if prompt != other:
            told = tokenizer.decode(prompt)[:60]
            raise MinimindError(
                f"the chosen and the rejected chat that begin with {told!r} differ before their "
                "last turn, so that their answers cannot be compared."
            )
        fitted = fit(prompt, [good, bad], length)
        answers += [(fitted.prompt, answer) for answer in fitted.answers]
    batch = answer_rows(answers, tokenizer.pad_id)
    return Tokens(batch.ids_BT, batch.labels_BT, together=2, units=len(rows))


def last_turn(messages: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids of all before the last assistant's turn, and of what it said with its end token."""
    said, tools = from_row(messages)
    rendered = render(said, tokenizer, tools)
    if not rendered.spans:
        raise MinimindError("a chat of a pair has no assistant's turn; give both an answer.")
    begin, end = rendered.spans[-1]
    return rendered.ids[:begin], rendered.ids[begin:end]
