"""Reinforcement learning with verifiable rewards on the loop: GRPO and its relatives.

A step samples a group of answers to each of its prompts, lets a program judge them, and makes those
better than their group's mean more likely (Shao et al. 2024, arXiv:2402.03300). The answers come
from the very weights that are then updated, so there is no value model, no reward model and no old
policy to correct for. The numbers are in `advantages.py` and `policy.py`.

    minimind grpo --model runs/sft --data world/rl --out runs/grpo
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.rollout import Rollout, rollout
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import control_ids, render
from minimind_wiki.train import policy
from minimind_wiki.train.advantages import group_advantages, leave_one_out
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.logprobs import logprobs
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.reasoning import Reply, read_ids
from minimind_wiki.train.report import Report
from minimind_wiki.train.rewards import exact, weighted, well_formed
from minimind_wiki.train.sources import Row, Source, open_source
from minimind_wiki.train.trajectory import prompt_of

TRIES = 50  # prompts that may be too long, one after the other
FAR = 1_000_003  # from a prompt that is too long to its substitute
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
        for name in ("temperature", "max_new_tokens"):
            if not getattr(self, name) > 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be above 0.")
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
    source = open_source(config.data, "agent", config.seed, config.held_out, config.eval_windows)
    feed = Feed(_no_rows, (), np.empty(0, np.int64), (), source.about, source.line,
                f"Held out: {len(source.held_out):,} prompts, answered greedily.")  # fmt: skip
    open_tokenizer(config.init)  # a model without one is told before the run begins

    def make(work: Workshop, settings: GrpoSettings) -> Method:
        game = Game(work, settings, source)
        return Method(game.loss, game.at, game.assess, lambda: game.seen)

    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("grpo", settings, make))  # fmt: skip


def _no_rows(step: int) -> Tokens:
    raise AssertionError("a batch needs the model")


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


class Game:
    """Prompts are answered, judged and turned into batches. `seen`: numbers of the last batch."""

    def __init__(self, work: Workshop, settings: GrpoSettings, source: Source) -> None:
        self.work, self.settings, self.source = work, settings, source
        self.seen: dict[str, float] = {}
        reference = None
        if settings.kl_weight:
            reference = load_model_folder(Path(work.config.init), work.place.device)[0]
            reference.eval().requires_grad_(False)
        self.loss = PolicyLoss(work.model, reference, settings, work.chunk)
        self.judge = weighted({"right": (1.0, exact),
                               "format": (settings.format_weight, well_formed)})  # fmt: skip

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

    def answer(self, rows: Sequence[Row], many: int, temperature: float, number: int) -> Rollout:
        """`many` answers to each row's prompt. WrongCall if one does not fit the context."""
        generator = torch.Generator(device=self.work.place.device)
        generator.manual_seed(self.work.config.seed * 1_000_003 + number)
        prompts = [self.prompt(row) for row in rows]
        with self.work.place.autocast():
            return rollout(self.work.model, prompts, many, self.settings.max_new_tokens,
                           temperature, generator=generator, stop_ids=(self.end,))  # fmt: skip

    def fitting(self, number: int) -> tuple[Row, int]:
        """Row `number`, or the first of its substitutes whose prompt leaves room for an answer; and
        how many were too long. WrongCall where TRIES of them are."""
        room = self.work.config.context_length - self.settings.max_new_tokens
        for skipped in range(TRIES):
            row = self.source.row(number + skipped * FAR)
            if len(self.prompt(row)) <= room:
                return row, skipped
        raise WrongCall(
            f"{TRIES} prompts in a row have more than {room} tokens: with answers of "
            f"{self.settings.max_new_tokens} they do not fit context_length "
            f"{self.work.config.context_length}; make it larger, or max_new_tokens smaller."
        )

    def prompt(self, row: Row) -> list[int]:
        """The ids up to where the assistant begins to speak."""
        messages, tools = prompt_of(row)
        return render(messages, self.work.tokenizer, tools, add_generation_prompt=True,
                      open_thinking=self.settings.thinking).ids  # fmt: skip

    def reply(self, drawn: Rollout, number: int) -> Reply:
        """What was said in one row."""
        return read_ids(drawn.sampled(number)[0], self.work.tokenizer, self.settings.thinking)

    @property
    def end(self) -> int:
        """The token that ends a turn."""
        return end_of(self.work.tokenizer)

    def assess(self) -> dict[str, float]:
        """Held-out prompts answered greedily: share that is right, and how long answers are."""
        room = self.work.config.context_length - self.settings.max_new_tokens
        rows = [row for row in self.source.held_out if len(self.prompt(row)) <= room]
        right, tokens = 0.0, 0.0
        if not rows:
            raise WrongCall(f"no held-out prompt has at most {room} tokens; see context_length.")
        for at in range(0, len(rows), 32):
            some = rows[at : at + 32]
            drawn = self.answer(some, 1, 0.0, -1)
            right += sum(exact(row, self.reply(drawn, i)) for i, row in enumerate(some))
            tokens += float(drawn.lengths().sum())
        accuracy = right / len(rows)
        return {"loss": 1 - accuracy, "accuracy": accuracy, "tokens": tokens / len(rows)}


def end_of(tokenizer: Tokenizer) -> int:
    """The id of the token that ends an assistant's turn."""
    return control_ids(tokenizer)["<|im_end|>"]
