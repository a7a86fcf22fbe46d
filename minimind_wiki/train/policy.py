"""Policy losses: how advantages, old and new log-probabilities become one number to minimize.

A method is a choice of four parts, each a small function here or in `advantages`:

| method | advantage | loss of a token | mean over | besides |
|---|---|---|---|---|
| PPO (arXiv:1707.06347) | gae, whitened | clipped | token | `value_loss`, KL in the reward |
| GRPO (arXiv:2402.03300) | group | clipped | row | `kl_estimate` k3 |
| Dr. GRPO (arXiv:2503.20783) | group without std | clipped | constant | |
| DAPO (arXiv:2503.14476) | group | clipped, high=0.28 | token | overlong, `rows_to_learn` |
| CISPO (arXiv:2506.13585) | group | cispo | token | |
| REINFORCE, RLOO | leave_one_out | reinforce | token | |

Every loss has one value a token, to be *minimized*; `total` sums it over the mask and `divisor`
says by what to divide the sum of all micro-batches, so that accumulation changes nothing. Old
log-probabilities and advantages carry no gradient; an advantage (B, 1) is that of a whole row.

Shapes: B rows, T tokens (`mask_BT`: those that were sampled), P prompts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.train.advantages import constant_groups

Part = TypeVar("Part")
MEANS = ("token", "row", "constant")
KL_ESTIMATES = ("k1", "k2", "k3")


def reinforce(logp_BT: Tensor, advantage_BT: Tensor) -> Tensor:
    """-A · log π (Williams 1992); right only for tokens that this very policy sampled."""
    return -advantage_BT * logp_BT


def clipped(
    logp_BT: Tensor, old_BT: Tensor, advantage_BT: Tensor, low: float = 0.2, high: float = 0.2
) -> Tensor:
    """-min(r A, clip(r, 1 - low, 1 + high) A) with r = π / π_old, PPO's and GRPO's loss.

    The ratio corrects for tokens that an older policy sampled. Once it has moved past the clip in
    the direction the advantage wants, the gradient is zero; in the other it is not. DAPO takes
    high=0.28 ("clip-higher"), as a token of small probability can hardly grow below 1 + 0.2.

    >>> ratio, old, good = torch.tensor([[1.5, 0.5]]), torch.zeros(1, 2), torch.ones(1, 1)
    >>> clipped(ratio.log(), old, good), clipped(ratio.log(), old, -good)
    (tensor([[-1.2000, -0.5000]]), tensor([[1.5000, 0.8000]]))
    """
    ratio_BT = torch.exp(logp_BT - old_BT)
    inside_BT = ratio_BT.clamp(1 - low, 1 + high)
    return -torch.minimum(ratio_BT * advantage_BT, inside_BT * advantage_BT)


def cispo(logp_BT: Tensor, old_BT: Tensor, advantage_BT: Tensor, most: float = 5.0) -> Tensor:
    """-sg(min(r, most)) · A · log π: the ratio is a bounded weight; every token keeps a gradient.

    `most` bounds r itself, as TRL's epsilon_high does here (5 in its documentation, after
    arXiv:2510.13786); MiniMax-M1 writes it 1 + ε and sets no bound from below.
    """
    ratio_BT = torch.exp(logp_BT - old_BT).clamp(max=most).detach()
    return -ratio_BT * advantage_BT * logp_BT


def sampler_weight(trainer_BT: Tensor, sampler_BT: Tensor, most: float = 2.0) -> Tensor:
    """min(π_trainer / π_sampler, most), to multiply a token's loss with; no gradient, (B, T).

    Two programs, or one with top-p and one without, give one token two probabilities. Importance
    sampling corrects for it, truncated because a rare token would otherwise decide the step (Yao et
    al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training").
    `trainer_BT` is scored before the first update of the step. 1 where both are the same.
    """
    return torch.exp(trainer_BT - sampler_BT).clamp(max=most).detach()


def kl_estimate(logp_BT: Tensor, other_BT: Tensor, kind: str = "k3") -> Tensor:
    """KL(π ‖ other) in nats, estimated at each token that π sampled (Schulman 2020), (B, T).

    With d = log other - log π: k1 = -d, k2 = d² / 2, k3 = exp(d) - d - 1. k1 and k3 are right on
    average, k3 is never negative and varies less. As a *loss*, with sampled tokens held fixed, they
    are three things: the gradient of k1 is zero on average (use it in the reward), that of k2 the
    gradient of KL(π ‖ other), that of k3 (GRPO's) the gradient of KL(other ‖ π).

    >>> kl_estimate(torch.tensor([0.5]).log(), torch.tensor([0.25]).log(), "k1")
    tensor([0.6931])
    """
    if kind not in KL_ESTIMATES:
        raise unknown("KL estimate", kind, KL_ESTIMATES)
    d_BT = other_BT - logp_BT
    if kind == "k1":
        return -d_BT
    return d_BT.square() / 2 if kind == "k2" else torch.expm1(d_BT) - d_BT


def entropy(logits_BTV: Tensor) -> Tensor:
    """Entropy in nats of the distribution over the next token, (B, T); a bonus is -weight times it.

    >>> entropy(torch.zeros(1, 1, 8))  # log 8
    tensor([[2.0794]])
    """
    logp_BTV = torch.log_softmax(logits_BTV.float(), dim=-1)
    return -(logp_BTV.exp() * logp_BTV).sum(dim=-1)


def value_loss(value_BT: Tensor, old_BT: Tensor, return_BT: Tensor, clip: float = 0.2) -> Tensor:
    """max((V - R)², (V_clipped - R)²) / 2, V_clipped within `clip` of the value before the step.

    The larger of the two: a value that has moved past the clip towards the return gets no gradient.
    """
    near_BT = old_BT + (value_BT - old_BT).clamp(-clip, clip)
    return torch.maximum((value_BT - return_BT).square(), (near_BT - return_BT).square()) / 2


def total(loss_BT: Tensor, mask_BT: Tensor, mean: str = "token") -> Tensor:
    """Sum of a token loss over the mask, a scalar, to be divided by the `divisor` of all parts.

    With mean="row" each row counts 1, however long it is: a token of a long row weighs less (GRPO).
    Under "token" (DAPO) and "constant" (Dr. GRPO) all tokens weigh the same. A row or a batch with
    nothing in the mask adds exactly 0.
    """
    if mean not in MEANS:
        raise unknown("mean", mean, MEANS)
    loss_BT = loss_BT.expand_as(mask_BT).masked_fill(~mask_BT, 0.0)
    if mean == "row":
        return (loss_BT.sum(dim=1) / mask_BT.sum(dim=1).clamp_min(1)).sum()
    return loss_BT.sum()


def divisor(mask_BT: Tensor, mean: str = "token", longest: int = 0) -> int:
    """By what to divide the `total` of a whole step: its tokens, its rows, or rows · `longest`.

    The constant mean needs the most tokens that a completion may have. At least 1.

    >>> mask = torch.tensor([[True, True, True], [True, False, False]])
    >>> [divisor(mask, mean, longest=8) for mean in MEANS]
    [4, 2, 16]
    """
    if mean not in MEANS:
        raise unknown("mean", mean, MEANS)
    if mean == "constant" and longest < 1:
        raise WrongCall("the constant mean divides by the longest completion; give `longest`.")
    count = int(mask_BT.sum()) if mean == "token" else len(mask_BT)
    return max(1, count * longest if mean == "constant" else count)


@torch.no_grad()
def drift(
    logp_BT: Tensor,
    old_BT: Tensor,
    advantage_BT: Tensor,
    mask_BT: Tensor,
    low: float = 0.2,
    high: float = 0.2,
) -> dict[str, float]:
    """How far the policy has moved in this step: means over the mask, 0 where it is empty.

    `kl` is k3 of KL(π_old ‖ π) in nats a token; `clipped` the share of tokens whose clip is active.
    """
    ratio_BT = torch.exp(logp_BT - old_BT)
    stopped_BT = (ratio_BT > 1 + high) & (advantage_BT > 0)
    stopped_BT |= (ratio_BT < 1 - low) & (advantage_BT < 0)
    tokens = max(1, int(mask_BT.sum()))
    return {
        "kl": total(kl_estimate(old_BT, logp_BT), mask_BT).item() / tokens,
        "clipped": total(stopped_BT.float(), mask_BT).item() / tokens,
    }


def passes(parts: Sequence[Part], epochs: int, too_far: Callable[[], bool]) -> Iterator[Part]:
    """Each part once an epoch, until `too_far` says stop: then no part of any epoch follows.

    A `break` in the inner of two loops would leave only the epoch, and the next would go on with
    the updates. Asked before every part but the first; several processes must answer alike, so the
    KL that decides is to be averaged over them.

    >>> kl = []
    >>> for part in passes("abc", 4, lambda: kl[-1] > 0.02):
    ...     kl.append(0.005 * (len(kl) + 1))
    >>> len(kl)  # 0.005, 0.01, 0.015, 0.02, 0.025 of 12
    5
    """
    started = False
    for _ in range(epochs):
        for part in parts:
            if started and too_far():
                return
            started = True
            yield part


def next_kl_weight(weight: float, kl: float, target: float, rate: float = 0.1) -> float:
    """The weight β of a KL penalty for the next step, so that the KL stays about `target`.

    β (1 + rate · clip(kl / target - 1, -0.2, 0.2)) (Ziegler et al. 2019, arXiv:1909.08593, §2.2).
    For a fixed weight do not call it.

    >>> [round(next_kl_weight(0.1, kl, target=6.0), 4) for kl in (3.0, 6.0, 6.6, 60.0)]
    [0.098, 0.1, 0.101, 0.102]
    """
    if target <= 0:
        raise WrongCall(f"the target KL is {target}; give a number of nats above 0.")
    return weight * (1 + rate * min(max(kl / target - 1, -0.2), 0.2))


def overlong_penalty(length_B: Tensor, longest: int, cushion: int) -> Tensor:
    """What to add to the reward of long rows, (B): 0, falling to -1 over the last `cushion` tokens.

    DAPO's soft punishment (equation 13): a cut row is not simply wrong, and near the limit it helps
    to learn to be brief.

    >>> overlong_penalty(torch.tensor([80, 90, 100]), longest=100, cushion=20)
    tensor([ 0.0000, -0.5000, -1.0000])
    """
    if not 0 < cushion <= longest:
        raise WrongCall(f"cushion is {cushion}; give 1 to {longest} (the longest) tokens.")
    return ((longest - cushion - length_B.float()) / cushion).clamp(-1, 0)


def without_truncated(mask_BT: Tensor, ended_B: Tensor) -> Tensor:
    """The mask without rows that were cut before their end (DAPO's overlong filter), (B, T) bool.

    Their reward says that they were long, not that they were wrong.
    """
    return mask_BT & ended_B[:, None]


def rows_to_learn(reward_B: Tensor, group: int) -> Tensor:
    """Numbers of the rows whose group is not constant: DAPO's dynamic sampling keeps only those.

    The caller samples other prompts in place of those left out, and reports how many they were.

    >>> rows_to_learn(torch.tensor([1.0, 1.0, 0.0, 1.0]), group=2)
    tensor([2, 3])
    """
    return (~constant_groups(reward_B, group)).repeat_interleave(group).nonzero()[:, 0]
