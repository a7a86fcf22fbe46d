"""Distillation on the loop: a student learns what a larger teacher would say, token by token.

Black box: the teacher's answers are data like any other, and `sft` learns them. White box: the
teacher's whole distribution is the target, which tells how wrong every other token would have been
(Hinton et al. 2015, arXiv:1503.02531). With `on_policy`, some of the steps are answers of the
student itself, so that it is corrected where it really goes (GKD, Agarwal et al. 2023,
arXiv:2306.13649). The numbers are in `distill.py`.

    minimind distill --model runs/small --teacher runs/large --data world/sft --out runs/taught
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.infer.rollout import rollout
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.distill import (
    Divergence,
    distill,
    forward_kl,
    jensen_shannon,
    reverse_kl,
)
from minimind_wiki.train.measure import held_out_loss
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.reference import load_frozen
from minimind_wiki.train.report import Report
from minimind_wiki.train.sft import SftSettings, chat_feed
from minimind_wiki.train.sources import Source, open_source
from minimind_wiki.train.trajectory import prompt_of

DIVERGENCES = ("forward_kl", "reverse_kl", "jensen_shannon")


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """What distillation needs beside the settings of every run."""

    teacher: str = ""
    """The model folder of the teacher; it must have the student's tokenizer."""
    divergence: str = "forward_kl"
    """forward_kl, reverse_kl or jensen_shannon."""
    beta: float = 0.5
    """jensen_shannon: weight of the teacher's side."""
    temperature: float = 1.0
    """Flattens both distributions; the loss is multiplied by its square."""
    hard: float = 0.0
    """Weight of the data's own tokens; the rest is the teacher's."""
    on_policy: float = 0.0
    """Share of the steps whose answers are the student's own."""
    max_new_tokens: int = 96
    """Longest answer of the student in such a step."""
    long_chats: str = "drop"
    """What happens to chats longer than a row: drop (their oldest exchanges), cut or reject."""

    def validate(self) -> None:
        """WrongCall for a value that cannot work."""
        if not self.teacher:
            raise WrongCall("distillation needs a teacher: give --teacher DIR.")
        if self.divergence not in DIVERGENCES:
            raise unknown("divergence", self.divergence, DIVERGENCES)
        if not self.temperature > 0:
            raise WrongCall(f"temperature is {self.temperature}, but it must be above 0.")
        for name in ("hard", "on_policy"):
            if not 0 <= getattr(self, name) <= 1:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be in [0, 1].")

    def function(self) -> Divergence:
        """The divergence of two distributions."""
        known = {"forward_kl": forward_kl, "reverse_kl": reverse_kl}
        return known.get(self.divergence) or jensen_shannon(self.beta)


def distillation(
    config: TrainConfig,
    settings: DistillSettings,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Train the model folder `config.init` to say what the teacher would, on chats."""
    settings.validate()
    if settings.on_policy:
        config = replace(config, prefetch=0)  # answers made ahead would be those of older weights
    tokenizer = open_tokenizer(config.init)
    if open_tokenizer(settings.teacher).fingerprint != tokenizer.fingerprint:
        raise WrongCall(
            f"{settings.teacher} and {config.init} have different tokenizers, so that one id means "
            "two texts; let the teacher write answers and learn them with sft."
        )
    source = open_source(config.data, "sft", config.seed, config.held_out, config.eval_windows)
    feed = chat_feed(source, config, SftSettings(settings.long_chats), tokenizer)

    def make(work: Workshop, settings: DistillSettings) -> Method:
        lesson = Lesson(work, settings, source)
        return Method(lesson.loss, lesson.at, lesson.assess)

    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("distill", settings, make))  # fmt: skip


class TeacherLoss(nn.Module):
    """The summed divergence over the labelled tokens."""

    def __init__(
        self, model: Transformer, teacher: Transformer, settings: DistillSettings, chunk: int
    ) -> None:
        super().__init__()
        self.model, self.settings, self.chunk = model, settings, chunk
        self.kept = [teacher]  # in a list: it is no part of what is trained, moved or saved

    def forward(
        self, ids_BT: Tensor, labels_BT: Tensor, documents_BT: Tensor | None = None
    ) -> Tensor:
        """A scalar, in nats."""
        teacher, s = self.kept[0], self.settings
        mine_BTD = self.model.model(ids_BT, documents_BT=documents_BT)
        with torch.no_grad():
            theirs_BTD = teacher.model(ids_BT, documents_BT=documents_BT)
        student, other = (mine_BTD, self.model.lm_head), (theirs_BTD, teacher.lm_head)
        return distill(student, other, labels_BT, s.function(), s.temperature, s.hard,
                       self.chunk)[0]  # fmt: skip


class Lesson:
    """Batches of the data or of the student's own answers, and what is measured."""

    def __init__(self, work: Workshop, settings: DistillSettings, source: Source) -> None:
        self.work, self.settings, self.source = work, settings, source
        teacher = load_frozen(settings.teacher, work)
        self.loss = TeacherLoss(work.model, teacher, settings, work.chunk)

    def at(self, step: int) -> Tokens:
        """The step's chats, or answers that the student gives to them now."""
        draw = torch.Generator().manual_seed(self.work.config.seed * 1_000_003 + step)
        own = float(torch.rand((), generator=draw)) < self.settings.on_policy
        return self.answered(step) if own else self.work.feed.at(step)

    def answered(self, step: int) -> Tokens:
        """Answers of the student at temperature 1 to the prompts of the step's chats."""
        work, many = self.work, self.work.config.batch_size
        room = work.config.context_length - self.settings.max_new_tokens
        prompts = []
        for row in self.source.rows(step * many, many):
            if "text" in row:
                continue  # it asks nothing
            messages, tools = prompt_of(row)
            ids = render(messages, work.tokenizer, tools, add_generation_prompt=True).ids
            if len(ids) <= room:
                prompts.append(ids)
        if not prompts:
            return work.feed.at(step)
        generator = torch.Generator(work.place.device).manual_seed(step)
        with work.place.autocast():
            drawn = rollout(work.model, prompts, 1, self.settings.max_new_tokens,
                            generator=generator,
                            stop_ids=(control_ids(work.tokenizer)["<|im_end|>"],))  # fmt: skip
        return Tokens(drawn.ids_BT, drawn.next_BT.masked_fill(~drawn.mask_BT, IGNORE))

    @torch.no_grad()
    def assess(self) -> dict[str, float]:
        """On held-out chats: nats of their own tokens, and the divergence from the teacher."""
        work, total, tokens = self.work, 0.0, 0
        loss, bits = held_out_loss(work.model, work.feed.held_out, work.place, work.tokenizer,
                                   work.chunk, rows=work.config.micro_batch_size)  # fmt: skip
        work.model.eval()
        for batch in work.feed.held_out:
            for part in batch.to(work.place.device).split(work.config.micro_batch_size or 8):
                with work.place.autocast():
                    total += self.loss(part.ids_BT, part.labels_BT, part.documents_BT).item()
            tokens += batch.predicted
        work.model.train()
        return {"loss": loss, "bits_per_byte": bits, "divergence": total / tokens}
