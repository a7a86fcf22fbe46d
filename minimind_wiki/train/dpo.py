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
    beta: float = 0.0
    """How strongly the model is held to its reference; simpo: scale of the reward (0: 0.1, 2)."""
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
        if not self.strength > 0:
            raise WrongCall(f"beta is {self.beta}, but it must be above 0, or 0 for the usual.")
        if not self.odds_weight > 0:
            raise WrongCall(f"odds_weight is {self.odds_weight}, but it must be above 0.")
        if not 0 <= self.smoothing < 0.5:
            raise WrongCall(f"smoothing is {self.smoothing}, but it must be in [0, 0.5).")

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
            return preference.dpo(chosen, rejected, s.strength, smoothing=s.smoothing)
        if s.loss == "ipo":
            return preference.ipo(chosen, rejected, s.strength)
        if s.loss == "simpo":
            return preference.simpo(chosen, rejected, s.strength, s.gamma, s.smoothing)
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
    held, cut = [], 0
    for at in range(0, len(source.held_out), many):
        batch, short = pair_rows(source.held_out[at : at + many], tokenizer, length)
        held.append(batch)
        cut += short
    return Feed(
        lambda step: pair_rows(list(source.rows(step * many, many)), tokenizer, length)[0],
        tuple(held), np.empty(0, np.int64), (), source.about, source.line,
        f"Held out: {len(source.held_out):,} pairs, of which {cut:,} lose the beginning of their "
        f"prompt to fit {length} tokens; training pairs likewise.",
    )  # fmt: skip


def pair_rows(rows: Sequence[Row], tokenizer: Tokenizer, length: int) -> tuple[Tokens, int]:
    """Preference rows as a batch, two rows of tokens each, of which the last turns are learned;
    and how many lost the beginning of their prompt.

    MinimindError, with how the prompt begins, for a pair that cannot be compared or does not fit.
    """
    answers: list[tuple[list[int], list[int]]] = []
    cut = 0
    for row in rows:
        (prompt, good), (other, bad) = (
            last_turn(row[k], tokenizer) for k in ("chosen", "rejected")
        )
        try:
            if prompt != other:
                raise MinimindError("its two chats differ before their last turn.")
            fitted = fit(prompt, [good, bad], length)
        except MinimindError as error:
            told = tokenizer.decode(prompt)[:60]
            raise MinimindError(
                f"the pair whose chosen chat begins with {told!r}: {error}"
            ) from error
        cut += fitted.cut > 0
        answers += [(fitted.prompt, answer) for answer in fitted.answers]
    batch = answer_rows(answers, tokenizer.pad_id)
    return Tokens(batch.ids_BT, batch.labels_BT, together=2, units=len(rows)), cut


def last_turn(messages: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids of all before the last assistant's turn, and of what it said with its end token."""
    said, tools = from_row(messages)
    rendered = render(said, tokenizer, tools)
    if not rendered.spans:
        raise MinimindError("a chat of a pair has no assistant's turn; give both an answer.")
    begin, end = rendered.spans[-1]
    return rendered.ids[:begin], rendered.ids[begin:end]
