"""Reinforcement learning with verifiable rewards on the loop: GRPO and its relatives.

A step samples a group of answers to each of its prompts, lets a program judge them, and makes those
better than their group's mean more likely (Shao et al. 2024, arXiv:2402.03300). The answers come
from the very weights that are then updated, so there is no value model, no reward model and no old
policy to correct for. The numbers are in `advantages.py` and `policy.py`.

    minimind grpo --model runs/sft --data world/rl --out runs/grpo
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.train import policy
from minimind_wiki.train.advantages import group_advantages, leave_one_out
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.logprobs import logprobs
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.play import Player, check_playing, open_prompts
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.report import Report
from minimind_wiki.train.sources import Source

LOSSES = ("grpo", "dr_grpo", "dapo", "cispo", "rloo")


@dataclass(frozen=True, slots=True)
class GrpoSettings:
    """What reinforcement learning needs beside the settings of every run."""

    loss: str = "grpo"
    """grpo, dr_grpo, dapo, cispo or rloo."""
    group: int = 8
    """Answers to each prompt; batch_size counts answers."""
    max_new_tokens: int = 96
    """Longest answer, in tokens."""
    temperature: float = 1.0
    """Of the sampler; the loss scores answers at the same one."""
    kl_weight: float = 0.0
    """Weight of the distance to the model as it was when the run began (0: no such model)."""
    format_weight: float = 0.1
    """What keeping to the template is worth, where being right is worth 1."""
    thinking: bool = False
    """Leave a thought open at the beginning of each answer."""

    def validate(self, batch_size: int) -> None:
        """WrongCall for a value that cannot work."""
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        if self.group < 2 or batch_size % self.group:
            raise WrongCall(
                f"group is {self.group}, but it must be 2 or more and divide batch_size "
                f"({batch_size})."
            )
        check_playing(self)
        if self.kl_weight < 0:
            raise WrongCall(f"kl_weight is {self.kl_weight}, but it must be 0 or more.")

    @property
    def mean(self) -> str:
        """What the loss of a token is a mean over (see `policy.MEANS`)."""
        return {"grpo": "row", "dr_grpo": "constant"}.get(self.loss, "token")


def grpo(
    config: TrainConfig,
    settings: GrpoSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Train the model folder `config.init` on prompts whose answers a program can judge."""
    settings = settings or GrpoSettings()
    settings.validate(config.batch_size)
    config = replace(config, prefetch=0)  # answers made ahead would be those of older weights
    source, feed = open_prompts(config)

    def make(work: Workshop, settings: GrpoSettings) -> Method:
        game = Game(work, settings, source)
        return Method(game.loss, game.at, game.assess, lambda: game.seen)

    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("grpo", settings, make))  # fmt: skip


class PolicyLoss(nn.Module):
    """The summed loss of sampled answers; `divisor` of the whole batch is the batch's `units`."""

    def __init__(
        self, model: Transformer, reference: Transformer | None, settings: GrpoSettings, chunk: int
    ) -> None:
        super().__init__()
        self.model, self.settings, self.chunk = model, settings, chunk
        self.kept = [reference]  # in a list: it is no part of what is trained, moved or saved

    def forward(
        self,
        ids_BT: Tensor,
        labels_BT: Tensor,
        documents_BT: Tensor | None,
        advantage_B1: Tensor,
        old_BT: Tensor,
    ) -> Tensor:
        """A scalar. `old_BT` are the log-probabilities with which the answers were sampled."""
        s = self.settings
        logp_BT, mask_BT = self.score(self.model, ids_BT, labels_BT)
        if s.loss == "rloo":
            loss_BT = policy.reinforce(logp_BT, advantage_B1)
        elif s.loss == "cispo":
            loss_BT = policy.cispo(logp_BT, old_BT, advantage_B1)
        else:
            high = 0.28 if s.loss == "dapo" else 0.2
            loss_BT = policy.clipped(logp_BT, old_BT, advantage_B1, high=high)
        reference = self.kept[0]
        if reference is not None:
            with torch.no_grad():
                other_BT, _ = self.score(reference, ids_BT, labels_BT)
            loss_BT = loss_BT + s.kl_weight * policy.kl_estimate(logp_BT, other_BT)
        return policy.total(loss_BT, mask_BT, s.mean)

    def score(self, model: Transformer, ids_BT: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answers' tokens at the sampler's temperature, and their mask."""
        scored = logprobs(model, ids_BT, labels_BT, chunk=self.chunk,
                          temperature=self.settings.temperature)  # fmt: skip
        return scored.logp_BT, scored.mask_BT


class Game(Player):
    """Prompts are answered, judged and turned into batches."""

    def __init__(self, work: Workshop, settings: GrpoSettings, source: Source) -> None:
        super().__init__(work, settings, source)
        self.settings = settings
        reference = None
        if settings.kl_weight:
            reference = load_model_folder(Path(work.config.init), work.place.device)[0]
            reference.eval().requires_grad_(False)
        self.loss = PolicyLoss(work.model, reference, settings, work.chunk)

    def at(self, step: int) -> Tokens:
        """The step's answers with their advantages; sampled by a generator of (seed, step)."""
        s, config = self.settings, self.work.config
        prompts = config.batch_size // s.group
        found = [self.fitting(step * prompts + i) for i in range(prompts)]
        rows = [row for row, _ in found]
        drawn = self.answer(rows, s.group, s.temperature, step)
        scores = [self.judge(row, self.reply(drawn, i * s.group + g))
                  for i, row in enumerate(rows) for g in range(s.group)]  # fmt: skip
        reward_B = torch.tensor([score.total for score in scores], device=drawn.ids_BT.device)
        if s.loss == "rloo":
            advantage_B, constant = leave_one_out(reward_B, s.group)
        else:
            advantage_B, constant = group_advantages(reward_B, s.group, s.loss != "dr_grpo")
        self.seen = {
            "reward": float(reward_B.mean()),
            "right": sum(score.parts["right"] for score in scores) / len(scores),
            "tokens": float(drawn.lengths().float().mean()),
            "ended": float(drawn.ended_B.float().mean()),
            "groups_without_signal": constant / prompts,
            "prompts_too_long": float(sum(skipped for _, skipped in found)),
        }
        labels_BT = drawn.next_BT.masked_fill(~drawn.mask_BT, IGNORE)
        units = policy.divisor(drawn.mask_BT, s.mean, s.max_new_tokens)
        more_BT = {"advantage_B1": advantage_B[:, None], "old_BT": drawn.logp_BT}
        return Tokens(drawn.ids_BT, labels_BT, more=more_BT, units=units)
