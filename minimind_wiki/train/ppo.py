"""Proximal policy optimization on the loop (Schulman et al. 2017, arXiv:1707.06347).

A cycle samples answers, then makes several updates with them: `epochs` passes, each in
`minibatches` parts. Answers are judged as a whole, by a program or a reward model; a value head on
the model's own last hidden states says for every token what was to be expected, so that each token
has an advantage of its own.

    answers -> reward -> (- KL to the model at the start) -> GAE -> clipped policy and value loss

After the first update the answers are those of an older policy. The ratio of probabilities corrects
for that while it stays near 1; the clip takes the gain from moving further, and where the policy
has moved too far all the same, the rest of the cycle is passed over.

Several processes each answer their own part of the prompts; gradient, reward scale, price of the KL
and the end of a cycle are those of all of them, only advantages are whitened by each for itself.

    minimind ppo --model runs/sft --data world/rl --out runs/ppo

Shapes: B answers, T tokens (S = T + 1 before the shift), N of them sampled, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.model import Transformer
from minimind_wiki.train import policy
from minimind_wiki.train.advantages import gae, token_rewards, whiten
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import check_cycle
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.critic import Critic
from minimind_wiki.train.logprobs import label_logprobs, logprobs
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.parallel import processes
from minimind_wiki.train.play import Player, check_playing, open_prompts
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.rater import open_rater, rate
from minimind_wiki.train.reference import load_reference
from minimind_wiki.train.report import Report
from minimind_wiki.train.rewards import exact
from minimind_wiki.train.sources import Row, Source


@dataclass(frozen=True, slots=True)
class PpoSettings:
    """What PPO needs beside the settings of every run."""

    reward_model: str = ""
    """Folder of a reward model that judges ('minimind reward'); without one, a program does."""
    epochs: int = 2
    """Passes over the answers of a cycle."""
    minibatches: int = 4
    """Updates in a pass; each takes batch_size answers."""
    max_new_tokens: int = 96
    """Longest answer, in tokens."""
    temperature: float = 1.0
    """Of the sampler; the loss scores answers at the same one."""
    clip: float = 0.2
    """How far from 1 a ratio of probabilities still gains."""
    value_clip: float = 0.2
    """How far a value may move in a cycle, in standard deviations of the reward."""
    value_weight: float = 0.1
    """Weight of the value loss; it trains the blocks too."""
    value_rate: float = 1e-3
    """Learning rate of the value head, which is new, where that of the model is learning_rate."""
    gamma: float = 1.0
    """What a reward is worth a token earlier."""
    lam: float = 0.95
    """How far advantages look past the next value: 0 not at all, 1 to the end."""
    kl_weight: float = 0.05
    """Price of a nat of distance to the model at the start (0: no such model)."""
    kl_target: float = 6.0
    """Nats an answer about which that price is adapted (0: the price stays)."""
    max_drift: float = 0.02
    """Nats a token of distance to the sampled policy that end a cycle's updates (0: none do)."""
    cut_penalty: float = 1.0
    """Taken off the reward of an answer that did not end."""
    format_weight: float = 0.1
    """What keeping to the template is worth, where being right is worth 1."""
    thinking: bool = False
    """Leave a thought open at the beginning of each answer."""

    def validate(self, config: TrainConfig) -> None:
        """WrongCall for a value that cannot work."""
        check_playing(self)
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be 1 or more.")
        for name in ("clip", "value_clip", "value_rate"):
            if not getattr(self, name) > 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be above 0.")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be from 0 to 1.")
        for name in ("value_weight", "kl_weight", "kl_target", "max_drift", "cut_penalty"):
            if not getattr(self, name) >= 0:
                raise WrongCall(f"{name} is {getattr(self, name)}, but it must be 0 or more.")
        if config.batch_size % processes():
            raise WrongCall(
                f"batch_size is {config.batch_size}, which {processes()} processes cannot share; "
                f"give a multiple of {processes()}."
            )
        check_cycle(config, self.cycle)

    @property
    def cycle(self) -> int:
        """Steps that share their answers."""
        return self.epochs * self.minibatches


def ppo(
    config: TrainConfig,
    settings: PpoSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Train the model folder `config.init` on prompts; `batch_size` counts answers of an update."""
    settings = settings or PpoSettings()
    if not config.eval_every:  # about a tenth of the run, but whole cycles
        cycles = max(1, round(config.eval_interval / max(1, settings.cycle)))
        config = replace(config, eval_every=cycles * settings.cycle)
    settings.validate(config)
    config = replace(config, prefetch=0)  # answers made ahead would be those of older weights
    source, feed = open_prompts(config)

    def make(work: Workshop, settings: PpoSettings) -> Method:
        game = Game(work, settings, source)
        return Method(game.loss, game.at, game.assess, lambda: game.seen,
                      head=game.critic, cycle=settings.cycle, unit="")  # fmt: skip

    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("ppo", settings, make))  # fmt: skip


class PpoLoss(nn.Module):
    """The summed loss of a batch's tokens; its `divisor` is the tokens of the whole batch."""

    def __init__(
        self, model: Transformer, critic: Critic, settings: PpoSettings, chunk: int
    ) -> None:
        super().__init__()
        self.model, self.critic, self.settings, self.chunk = model, critic, settings, chunk

    def forward(
        self,
        ids_BT: Tensor,
        labels_BT: Tensor,
        documents_BT: Tensor | None,
        advantage_BT: Tensor,
        old_BT: Tensor,
        value_BT: Tensor,
        return_BT: Tensor,
    ) -> Tensor:
        """A scalar. `old_BT` and `value_BT` are those before the cycle's first update."""
        s = self.settings
        logp_BT, now_BT = self.score(ids_BT, labels_BT)
        loss_BT = policy.clipped(logp_BT, old_BT, advantage_BT, s.clip, s.clip)
        missed_BT = policy.value_loss(now_BT, value_BT, return_BT, s.value_clip)
        return policy.total(loss_BT + s.value_weight * missed_BT, labels_BT != IGNORE)

    def score(self, ids_BT: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each answer's token and the value of the state before it, (B, T)."""
        hidden_BTD = self.model.model(ids_BT)
        scored = label_logprobs(self.model.lm_head, hidden_BTD, labels_BT, self.chunk,
                                self.settings.temperature)  # fmt: skip
        return scored.logp_BT, self.critic(hidden_BTD)


class Game(Player):
    """Cycles of answers, and the updates that are made with them."""

    def __init__(self, work: Workshop, settings: PpoSettings, source: Source) -> None:
        super().__init__(work, settings, source)
        self.settings = settings
        device, faster = work.place.device, settings.value_rate / work.config.learning_rate
        self.critic = Critic(work.model.config.hidden_size, settings.kl_weight, faster).to(device)
        self.loss = PpoLoss(work.model, self.critic, settings, work.chunk)
        self.rater = open_rater(settings.reward_model, work) if settings.reward_model else None
        if self.rater is not None:
            self.graded = (*self.graded, "reward", "loss")
        self.reference = load_reference(work) if settings.kl_weight else None
        self.samples: Tokens | None = None
        self.order: list[Tensor] = []  # the rows of each update of the cycle
        self.stopped = False

    def at(self, step: int) -> Tokens | None:
        """The answers of the step's update, or None where the policy has left those who gave them.

        How far it has moved is measured before every update but a cycle's first, on the answers
        that the update would use. After the first None the rest of the cycle is None.
        """
        cycle, update = divmod(step, self.settings.cycle)
        if update == 0 or self.samples is None:
            self.samples, self.stopped = self.sample(cycle), False
            self.order = self.shuffled(cycle, len(self.samples.ids_BT))
        rows = self.order[update]
        batch = self.samples.each(lambda x_BT: x_BT[rows])
        if update and not self.stopped and self.settings.max_drift:
            self.stopped = self.drifted(batch) > self.settings.max_drift
        self.seen["drift"] = float(self.critic.drift)
        units = int(self.work.group.total(batch.predicted)[0])
        return None if self.stopped else replace(batch, units=units, own=True)

    def sample(self, cycle: int) -> Tokens:
        """A cycle's answers with all that stays as it is during its updates.

        Log-probabilities and values come from the trainer's own forward pass, not from the sampler,
        which goes token by token with a cache, perhaps in another precision: the ratio would not
        begin at 1. So it measures what the updates do and nothing else.
        """
        s, group = self.settings, self.work.group
        many = self.work.config.batch_size * s.minibatches
        found = [self.fitting(cycle * many + i) for i in range(group.rank, many, group.size)]
        rows = [row for row, _ in found]
        drawn = self.answer(rows, 1, s.temperature, cycle * group.size + group.rank)
        mask_BT = drawn.mask_BT
        batch = Tokens(drawn.ids_BT, drawn.next_BT.masked_fill(~mask_BT, IGNORE))
        old_BT, value_BT = self.look(batch, self.loss.score)
        kl_BT = self.distance(batch, old_BT)
        raw_B, weight = self.rewards(rows, drawn), float(self.critic.kl_weight)
        reward_B = self.critic.normalized(raw_B, group)
        reward_BT = token_rewards(reward_B, mask_BT, weight * kl_BT)
        advantage_BT, return_BT = gae(reward_BT, value_BT, mask_BT, s.gamma, s.lam)
        kl = self.mean(kl_BT.sum(1))
        if weight and s.kl_target:
            self.critic.kl_weight.fill_(policy.next_kl_weight(weight, kl, s.kl_target))
        right_B = [exact(row, self.reply(drawn, i)) for i, row in enumerate(rows)]
        return_N = return_BT[mask_BT]
        spread = self.mean((return_N - self.mean(return_N)).square())
        missed = self.mean((return_N - value_BT[mask_BT]).square())
        self.seen = {
            "reward": self.mean(raw_B),
            "right": self.mean(torch.tensor(right_B)),
            "tokens": self.mean(drawn.lengths()),
            "ended": self.mean(drawn.ended_B),
            "kl": kl,
            "kl_weight": weight,
            "value_explains": 1 - missed / spread if spread else 0.0,
            "sampler_gap": self.mean((old_BT - drawn.logp_BT)[mask_BT].abs()),
            "prompts_too_long": group.total(sum(skipped for _, skipped in found))[0],
        }
        more_BT = {"advantage_BT": whiten(advantage_BT, mask_BT), "old_BT": old_BT,
                   "value_BT": value_BT, "return_BT": return_BT}  # fmt: skip
        return replace(batch, more=more_BT)

    def rewards(self, rows: Sequence[Row], drawn: Rollout) -> Tensor:
        """What each answer is worth, (B,) float32, before it is normalized.

        An answer that was cut is worth `cut_penalty` less. The limit is a part of the task, so the
        row ends there with what it has: if the value of its last state were added, as for a
        time limit that is none of the task's (Pardo et al. 2018, arXiv:1712.00378), endless talk
        would be worth what the values say that it is worth, and nothing would ever pull it down.
        """
        if self.rater is None:
            scores = [self.judge(row, self.reply(drawn, i)).total for i, row in enumerate(rows)]
            reward_B = torch.tensor(scores, device=drawn.ids_BT.device)
        else:
            with self.work.place.autocast():
                reward_B = rate(self.rater, drawn)
        return reward_B - self.settings.cut_penalty * ~drawn.ended_B

    def marks(self, rows: Sequence[Row], drawn: Rollout) -> dict[str, float]:
        """With a reward model, its reward decides which step is the best."""
        found = super().marks(rows, drawn)
        if self.rater is not None:
            reward = float(self.rewards(rows, drawn).sum())
            found |= {"reward": reward, "loss": -reward}
        return found

    def drifted(self, batch: Tokens) -> float:
        """KL(policy that sampled ‖ policy now) in nats a token, over all processes."""
        logp_BT, _ = self.look(batch, self.loss.score)
        old_BT, mask_BT = batch.more["old_BT"], batch.labels_BT != IGNORE
        moved = policy.drift(logp_BT, old_BT, batch.more["advantage_BT"], mask_BT)
        tokens = batch.predicted
        kl, all_tokens = self.work.group.total(moved["kl"] * tokens, tokens)
        self.critic.drift.fill_(kl / all_tokens)
        return float(self.critic.drift)

    def distance(self, batch: Tokens, old_BT: Tensor) -> Tensor:
        """log π - log π_start of each answer's token, (B, T): its mean is the KL to the start."""
        reference = self.reference
        if reference is None:
            return torch.zeros_like(old_BT)
        chunk, temperature = self.work.chunk, self.settings.temperature
        (start_BT,) = self.look(batch, lambda ids_BT, labels_BT: (
            logprobs(reference, ids_BT, labels_BT, None, chunk, temperature).logp_BT,))  # fmt: skip
        return policy.kl_estimate(old_BT, start_BT, "k1")

    @torch.no_grad()
    def look(self, batch: Tokens, score: Callable[..., tuple[Tensor, ...]]) -> list[Tensor]:
        """`score(ids_BT, labels_BT)` without a gradient, a micro-batch at a time."""
        rows = self.work.config.micro_batch_size or self.work.config.batch_size
        with self.work.place.autocast():
            parts = [score(part.ids_BT, part.labels_BT) for part in batch.split(rows)]
        return [torch.cat(some) for some in zip(*parts, strict=True)]

    def shuffled(self, cycle: int, rows: int) -> list[Tensor]:
        """The rows of each update: every pass takes all of them, in an order of (seed, cycle)."""
        generator = torch.Generator().manual_seed(self.work.config.seed * 1_000_003 + cycle)
        device, part = self.work.place.device, rows // self.settings.minibatches
        orders = [torch.randperm(rows, generator=generator) for _ in range(self.settings.epochs)]
        return [some.to(device) for order in orders for some in order.split(part)]

    def mean(self, x: Tensor) -> float:
        """Over all numbers in it, of all processes."""
        total, many = self.work.group.total(float(x.sum()), x.numel())
        return total / many
