"""Reinforcement learning with verifiable rewards on the loop: GRPO and its relatives.

A step samples a group of answers to each of its prompts, lets a program judge them, and makes those
better than their group's mean more likely (Shao et al. 2024, arXiv:2402.03300). The answers come
from the very weights that are then updated, so there is no value model, no reward model and, with
one update for each batch of answers, no old policy to correct for. A prompt that offers tools is
answered in several turns (`agent.py`). The numbers are in `advantages.py` and `policy.py`.

Several processes each sample the answers to their own part of the prompts; the gradient is that of
all of them.

    minimind grpo --model runs/sft --data world/rl --out runs/grpo
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.model import Transformer
from minimind_wiki.train import policy
from minimind_wiki.train.advantages import constant_groups, group_advantages, leave_one_out
from minimind_wiki.train.agent import Agent, Played, replaced
from minimind_wiki.train.baseline import Beliefs, RunningMean
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import check_cycle
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.logprobs import logprobs
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.parallel import processes
from minimind_wiki.train.play import FAR, TRIES, check_playing, open_prompts
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.reference import load_reference
from minimind_wiki.train.report import Report
from minimind_wiki.train.sandbox import Sandbox
from minimind_wiki.train.sources import Source

LOSSES = ("grpo", "dr_grpo", "dapo", "cispo", "rloo", "reinforce", "spo")
UNGROUPED = ("reinforce", "spo")  # what to expect is kept, and not taken from a group
UNWEIGHTED = ("rloo", "reinforce")  # no ratio: right only for answers of these very weights
OTHER = 1 << 40  # from the number of a step's first draw to those of its further ones


@dataclass(frozen=True, slots=True)
class GrpoSettings:
    """What reinforcement learning needs beside the settings of every run."""

    loss: str = "grpo"
    """grpo, dr_grpo, dapo, cispo, rloo; reinforce (with a running mean) or spo, without groups."""
    group: int = 8
    """Answers to each prompt (reinforce and spo need but 1); batch_size counts answers."""
    max_new_tokens: int = 96
    """Longest answer, in tokens; with tools, longest turn."""
    turns: int = 4
    """Most turns where a prompt offers tools (1: its calls are judged and not run)."""
    temperature: float = 1.0
    """Of the sampler; the loss scores answers at the same one."""
    kl_weight: float = 0.0
    """Weight of the distance to the model as it was when the run began (0: no such model)."""
    format_weight: float = 0.1
    """What keeping to the template is worth, where being right is worth 1."""
    calls_weight: float = 0.0
    """What calling tools without a failure is worth, and calling none where none is offered."""
    thinking: bool = False
    """Leave a thought open at the beginning of each answer."""
    overlong_cushion: int = 0
    """Tokens before the longest over which the reward falls by 1 (DAPO, equation 13; 0: none)."""
    leave_out_cut: bool = False
    """Learn nothing from answers that were cut at the longest (DAPO's overlong filter)."""
    resample: int = 0
    """How often groups that all earned the same give way to other prompts (DAPO's sampling)."""
    updates: int = 1
    """Steps that learn from the same answers (GRPO's iterations, mu in the paper)."""
    sampler_weight: float = 0.0
    """Most that a token may weigh when it is corrected for the sampler's numbers (2; 0: not)."""

    def validate(self, config: TrainConfig) -> None:
        """WrongCall for a value that cannot work."""
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        least, answers = (1 if self.loss in UNGROUPED else 2), config.batch_size
        if self.group < least or answers % self.group:
            raise WrongCall(
                f"group is {self.group}, but it must be {least} or more and divide batch_size "
                f"({answers})."
            )
        if answers % (self.group * processes()):
            raise WrongCall(
                f"batch_size is {answers}, which {processes()} processes cannot share in groups "
                f"of {self.group}; give a multiple of {self.group * processes()}."
            )
        check_playing(self)
        for name in ("kl_weight", "calls_weight", "overlong_cushion", "resample", "sampler_weight"):
            if not getattr(self, name) >= 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be 0 or more.")
        for name in ("turns", "updates"):
            if getattr(self, name) < 1:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be 1 or more.")
        if self.overlong_cushion > self.max_new_tokens:
            raise WrongCall(
                f"overlong_cushion is {self.overlong_cushion}, more than max_new_tokens "
                f"({self.max_new_tokens}); then every answer would be too long."
            )
        if self.resample and self.loss in UNGROUPED:
            raise WrongCall(f"resample replaces groups, and {self.loss} has none; leave one out.")
        if self.overlong_cushion and self.loss == "spo":
            raise WrongCall("spo needs rewards from 0 to 1; leave overlong_cushion out.")
        if self.updates > 1 and self.loss in UNWEIGHTED:
            raise WrongCall(
                f"{self.loss} is right only for answers of the weights as they are; with updates "
                f"{self.updates} take one of {', '.join(x for x in LOSSES if x not in UNWEIGHTED)}."
            )
        check_cycle(config, self.updates)

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
    if settings.updates > 1 and not config.eval_every:  # about a tenth of the run, but whole cycles
        cycles = max(1, round(config.eval_interval / settings.updates))
        config = replace(config, eval_every=cycles * settings.updates)
    settings.validate(config)
    config = replace(config, prefetch=0)  # answers made ahead would be those of older weights
    source, feed = open_prompts(config)
    with Sandbox() as sandbox:  # its process starts with the first call

        def make(work: Workshop, settings: GrpoSettings) -> Method:
            game = Game(work, settings, source, sandbox)
            return Method(game.loss, game.at, game.assess, lambda: game.seen,
                          head=game.baseline, cycle=settings.updates, unit="")  # fmt: skip

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
        weight_BT: Tensor | None = None,
        learn_B1: Tensor | None = None,
    ) -> Tensor:
        """A scalar. `old_BT` are the log-probabilities with which the answers were sampled, or as
        the trainer scores them; then `weight_BT` corrects for the difference. Of the rows only
        those are learned that `learn_B1` marks, if it is given."""
        s = self.settings
        logp_BT, mask_BT = self.score(self.model, ids_BT, labels_BT)
        if s.loss in UNWEIGHTED:
            loss_BT = policy.reinforce(logp_BT, advantage_B1)
        elif s.loss == "cispo":
            loss_BT = policy.cispo(logp_BT, old_BT, advantage_B1)
        else:
            high = 0.28 if s.loss == "dapo" else 0.2
            loss_BT = policy.clipped(logp_BT, old_BT, advantage_B1, high=high)
        if weight_BT is not None:
            loss_BT = loss_BT * weight_BT
        reference = self.kept[0]
        if reference is not None:
            with torch.no_grad():
                other_BT, _ = self.score(reference, ids_BT, labels_BT)
            loss_BT = loss_BT + s.kl_weight * policy.kl_estimate(logp_BT, other_BT)
        if learn_B1 is not None:
            mask_BT = policy.without_truncated(mask_BT, learn_B1[:, 0])
        return policy.total(loss_BT, mask_BT, s.mean)

    def score(self, model: Transformer, ids_BT: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answers' tokens at the sampler's temperature, and their mask."""
        scored = logprobs(model, ids_BT, labels_BT, chunk=self.chunk,
                          temperature=self.settings.temperature)  # fmt: skip
        return scored.logp_BT, scored.mask_BT


class Game(Agent):
    """Prompts are answered, judged and turned into batches."""

    def __init__(
        self, work: Workshop, settings: GrpoSettings, source: Source, sandbox: Sandbox
    ) -> None:
        super().__init__(work, settings, source, sandbox)
        self.settings = settings
        reference = load_reference(work) if settings.kl_weight else None
        self.loss = PolicyLoss(work.model, reference, settings, work.chunk)
        kept = {"reinforce": RunningMean, "spo": Beliefs}
        self.baseline = kept[settings.loss]() if settings.loss in kept else None
        self.batch: Tokens | None = None  # of the cycle

    def at(self, step: int) -> Tokens | None:
        """The answers of the step's cycle; None where all of them are left out."""
        cycle, update = divmod(step, self.settings.updates)
        if update == 0:
            self.batch = self.sample(cycle)
        return self.batch

    def sample(self, cycle: int) -> Tokens | None:
        """A cycle's answers with their advantages, drawn by generators of (seed, cycle, process).

        A group whose answers all earned the same teaches nothing. With `resample` other prompts
        take the place of such groups, as often as that; what is then left is kept, and counted.
        """
        s, group = self.settings, self.work.group
        many = self.work.config.batch_size // s.group
        numbers = [cycle * many + i for i in range(group.rank, many, group.size)]
        draw = cycle * group.size + group.rank
        sums: dict[str, float] = {}
        played, reward_B = self.judged(numbers, draw, sums)
        for attempt in range(1, s.resample + 1):
            dull = constant_groups(reward_B, s.group).nonzero()[:, 0]
            if not len(dull):
                break
            others = [numbers[i] + attempt * FAR * TRIES for i in dull.tolist()]
            new, new_B = self.judged(others, draw + attempt * OTHER, sums)
            rows_R = (dull[:, None] * s.group + torch.arange(s.group, device=dull.device)).flatten()
            played = replaced(played, new, rows_R)
            reward_B = reward_B.index_copy(0, rows_R, new_B)
        advantage_B, constant = self.advantages(reward_B, played.drawn)
        batch = self.batch_of(played.drawn, advantage_B, sums)
        sums["groups_without_signal"] = float(constant)
        self.tell(sums, many)
        return batch

    def judged(
        self, numbers: Sequence[int], draw: int, sums: dict[str, float]
    ) -> tuple[Played, Tensor]:
        """A group of answers to each of these rows, and what they earn, (B). Adds to `sums`."""
        s = self.settings
        found = [self.fitting(number) for number in numbers]
        rows = [row for row, _ in found for _ in range(s.group)]
        played = self.play([row for row, _ in found], s.group, s.temperature, draw)
        scores = list(map(self.judge, rows, played.replies))
        reward_B = torch.tensor([score.total for score in scores], device=self.work.place.device)
        if s.overlong_cushion:
            longest_B = played.longest_B
            reward_B += policy.overlong_penalty(longest_B, s.max_new_tokens, s.overlong_cushion)
        told = {
            "answers": len(rows),
            "groups": len(numbers),
            "reward": float(reward_B.sum()),
            "right": sum(score.parts["right"] for score in scores),
            "tokens": float(played.drawn.lengths().sum()),
            "ended": float(played.drawn.ended_B.sum()),
            "prompts_too_long": sum(skipped for _, skipped in found),
        } | (played.told if self.tools else {})
        for name, value in told.items():
            sums[name] = sums.get(name, 0.0) + value
        return played, reward_B

    def advantages(self, reward_B: Tensor, drawn: Rollout) -> tuple[Tensor, int]:
        """How much better than expected each answer is, (B); and how many groups were constant."""
        s = self.settings
        if isinstance(self.baseline, RunningMean):
            return self.baseline.advantages(reward_B, self.work.group), 0
        if isinstance(self.baseline, Beliefs):
            most = 1 + s.format_weight + s.calls_weight
            return self.baseline.advantages(prompts_of(drawn), reward_B / most, self.work.group), 0
        if s.loss == "rloo":
            return leave_one_out(reward_B, s.group)
        return group_advantages(reward_B, s.group, s.loss != "dr_grpo")

    def batch_of(
        self, drawn: Rollout, advantage_B: Tensor, sums: dict[str, float]
    ) -> Tokens | None:
        """The answers as the loss reads them; None if no process has anything to learn.

        The divisor is that of all processes. With several updates, or a correction for the
        sampler, the ratio begins at 1: its old log-probabilities are the trainer's own, before the
        first update, and not the sampler's, which goes token by token with a cache.
        """
        s, group = self.settings, self.work.group
        labels_BT = drawn.next_BT.masked_fill(~drawn.mask_BT, IGNORE)
        more = {"advantage_B1": advantage_B[:, None], "old_BT": drawn.logp_BT}
        learned_BT = drawn.mask_BT
        if s.leave_out_cut:
            more["learn_B1"] = drawn.ended_B[:, None]
            learned_BT = policy.without_truncated(learned_BT, drawn.ended_B)
        if s.updates > 1 or s.sampler_weight:
            more["old_BT"] = self.scored(drawn.ids_BT, labels_BT)
            gap_BT = (more["old_BT"] - drawn.logp_BT).abs()
            sums["sampler_gap"], sums["scored"] = float(gap_BT.sum()), float(drawn.mask_BT.sum())
        if s.sampler_weight:
            more["weight_BT"] = policy.sampler_weight(
                more["old_BT"], drawn.logp_BT, s.sampler_weight
            )
        tokens, rows = map(int, group.total(float(learned_BT.sum()), float(len(labels_BT))))
        if not tokens:
            return None
        longest = s.max_new_tokens * (s.turns if self.tools else 1)
        units = {"token": tokens, "row": rows, "constant": rows * longest}[s.mean]
        return Tokens(drawn.ids_BT, labels_BT, more=more, units=units, own=True)

    @torch.no_grad()
    def scored(self, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """The trainer's log-probabilities, (B, T), a micro-batch at a time."""
        rows = self.work.config.micro_batch_size or len(ids_BT)
        parts = zip(ids_BT.split(rows), labels_BT.split(rows), strict=True)
        with self.work.place.autocast():
            return torch.cat([self.loss.score(self.work.model, *part)[0] for part in parts])

    def tell(self, sums: dict[str, float], prompts: int) -> None:
        """Numbers of the batch for the curves, of all answers of all processes: also of those that
        gave way to others, as a mean over what is left would tell of chosen prompts."""
        names = sorted(sums)
        total = dict(zip(names, self.work.group.total(*(sums[n] for n in names)), strict=True))
        answers, groups = total.pop("answers"), total.pop("groups")
        gap, scored = total.pop("sampler_gap", None), total.pop("scored", 1.0)
        whole = {name: total.pop(name) for name in ("prompts_too_long", "groups_without_signal")}
        self.seen = {name: value / answers for name, value in total.items()}
        self.seen["groups_without_signal"] = whole["groups_without_signal"] / prompts
        self.seen["prompts_too_long"] = whole["prompts_too_long"]
        if self.settings.resample:
            self.seen["groups_replaced"] = groups - prompts
        if gap is not None:
            self.seen["sampler_gap"] = gap / scored


def prompts_of(drawn: Rollout) -> list[list[int]]:
    """The ids before the first that was drawn, of each row."""
    first_B = drawn.mask_BT.int().argmax(1).tolist()
    return [ids_T[: at + 1].tolist() for ids_T, at in zip(drawn.ids_BT, first_B, strict=True)]
