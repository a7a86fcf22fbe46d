"""Advantages: how much better than expected a sampled token did, the weight it is trained with.

A policy gradient raises the log-probability of a token by its advantage: what came of it less what
was to be expected. Any expectation that does not look at the token itself leaves the gradient right
on average; a good one leaves it less noisy. The methods differ in where they take it from:

| expectation | function | method |
|---|---|---|
| a trained value of each state | `gae` | PPO (arXiv:1506.02438, 1707.06347) |
| mean of the prompt's completions (and their spread) | `group_advantages` | GRPO (2402.03300) |
| that mean alone | `group_advantages(scale=False)` | Dr. GRPO (2503.20783) |
| mean of the *other* completions | `leave_one_out` | RLOO (2402.14740) |
| mean of the other rows of the batch | `leave_one_out(group=B)` | REINFORCE with a baseline |
| what the prompt has lately earned | `ValueTracker` | SPO (2509.13232) |

Nothing here has a gradient. Shapes: B rows, T tokens, P prompts, G completions of each
(B = P · G; the rows of a prompt are neighbours).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall


def check_rewards(reward_B: Tensor) -> None:
    """MinimindError that names the row whose reward is NaN or infinite.

    One such reward would spoil its whole group, and through a mean the whole batch.
    """
    bad = (~reward_B.isfinite()).nonzero().flatten().tolist()
    if bad:
        more = f" (and of {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise MinimindError(
            f"the reward of row {bad[0]}{more} is {reward_B[bad[0]].item()}; a reward must be a "
            "finite number for every completion, so mend the reward function."
        )


def _groups(reward_B: Tensor, group: int) -> Tensor:
    """The rewards as (P, G) in float32, checked."""
    if group < 1 or len(reward_B) % group:
        raise WrongCall(
            f"{len(reward_B)} rewards are no whole number of groups of {group}; give as many rows "
            "to every prompt."
        )
    check_rewards(reward_B)
    return reward_B.float().view(-1, group)


def constant_groups(reward_B: Tensor, group: int) -> Tensor:
    """Which prompts have completions that all earned the same, (P) bool: they teach nothing.

    >>> constant_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), group=2)
    tensor([ True, False])
    """
    reward_PG = _groups(reward_B, group)
    return (reward_PG == reward_PG[:, :1]).all(dim=1)


def group_advantages(
    reward_B: Tensor, group: int, scale: bool = True, eps: float = 1e-4
) -> tuple[Tensor, int]:
    """(r - mean) / (std + eps) in each group, (B); and how many groups were constant.

    std is that of a sample (G - 1), eps TRL's. Without `scale`, r - mean: the std weighs up prompts
    that are nearly always or nearly never solved (Dr. GRPO). A constant group gets exactly zero:
    the mean of equal numbers is not exactly that number, and over a std of about 0 that counts.

    >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1]), 4, scale=False)
    (tensor([ 0.7500, -0.2500, -0.2500, -0.2500,  0.0000,  0.0000,  0.0000,  0.0000]), 1)
    """
    reward_PG = _groups(reward_B, group)
    constant_P = constant_groups(reward_B, group)
    advantage_PG = reward_PG - reward_PG.mean(dim=1, keepdim=True)
    if scale and group > 1:
        advantage_PG = advantage_PG / (reward_PG.std(dim=1, keepdim=True) + eps)
    return advantage_PG.masked_fill(constant_P[:, None], 0.0).flatten(), int(constant_P.sum())


def leave_one_out(reward_B: Tensor, group: int) -> tuple[Tensor, int]:
    """r - mean of the group's other rewards, (B); and how many groups were constant.

    The expectation does not contain the row's own reward, so nothing of it is lost. That makes it
    G / (G - 1) times r - mean. Groups of one have no others: WrongCall.

    >>> leave_one_out(torch.tensor([1.0, 0.0, 0.0]), group=3)[0]
    tensor([ 1.0000, -0.5000, -0.5000])
    """
    if group < 2:
        raise WrongCall("leaving one out needs groups of 2 or more; sample more completions.")
    advantage_B, constant = group_advantages(reward_B, group, scale=False)
    return advantage_B * group / (group - 1), constant


def token_rewards(reward_B: Tensor, mask_BT: Tensor, penalty_BT: Tensor | None = None) -> Tensor:
    """Each row's reward at its last sampled token, less a penalty (such as β · KL) at each; (B, T).

    A row without a sampled token gets none.

    >>> token_rewards(torch.tensor([2.0]), torch.tensor([[False, True, True, False]]))
    tensor([[0., 0., 2., 0.]])
    """
    check_rewards(reward_B)
    left_BT = mask_BT.flip(1).cumsum(1).flip(1)  # sampled tokens from here on
    last_BT = mask_BT & (left_BT == 1)
    paid_BT = torch.where(last_BT, reward_B[:, None].float(), 0.0)
    return paid_BT if penalty_BT is None else paid_BT - penalty_BT.masked_fill(~mask_BT, 0.0)


@torch.no_grad()
def gae(
    reward_BT: Tensor,
    value_BT: Tensor,
    mask_BT: Tensor,
    gamma: float = 1.0,
    lam: float = 0.95,
    after_B: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation (Schulman et al. 2015) over the sampled tokens of each row.

    delta_t = r_t + gamma · V_{t+1} - V_t and A_t = delta_t + gamma · lam · A_{t+1}, where t + 1 is
    the next *sampled* token: a tool's answer between two turns is no step of the policy. V_t is the
    value of the state in which token t was drawn. Behind the last token it is 0, the end; where a
    row was cut and would have gone on, `after_B` can say what was still to be expected.

    Returns advantages and returns A + V, what the value should have been; both (B, T) float32, 0
    outside the mask.

    >>> mask = torch.tensor([[True, True]])
    >>> gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.6]]), mask, lam=1.0)[0]
    tensor([[0.5000, 0.4000]])
    """
    reward_BT, value_BT = reward_BT.float(), value_BT.float()
    advantage_BT = torch.zeros_like(value_BT)
    ahead_B = torch.zeros_like(value_BT[:, 0])  # A_{t+1}
    value_B = ahead_B if after_B is None else after_B.float()  # V_{t+1}
    for t in reversed(range(value_BT.shape[1])):
        here_B = mask_BT[:, t]
        delta_B = reward_BT[:, t] + gamma * value_B - value_BT[:, t]
        ahead_B = torch.where(here_B, delta_B + gamma * lam * ahead_B, ahead_B)
        value_B = torch.where(here_B, value_BT[:, t], value_B)
        advantage_BT[:, t] = torch.where(here_B, ahead_B, 0.0)
    return advantage_BT, (advantage_BT + value_BT).masked_fill(~mask_BT, 0.0)


@torch.no_grad()
def whiten(x_BT: Tensor, mask_BT: Tensor, eps: float = 1e-8) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over all tokens in the mask, 0 outside it; (B, T).

    The variance is that of a sample. Equal numbers, or a single one, become exactly 0. To whiten
    one number a row, give (B, 1).
    """
    inside_N = x_BT[mask_BT].float()
    white_BT = torch.zeros_like(x_BT, dtype=torch.float32)
    if len(inside_N) < 2 or bool((inside_N == inside_N[0]).all()):
        return white_BT
    white_BT[mask_BT] = (inside_N - inside_N.mean()) * torch.rsqrt(inside_N.var() + eps)
    return white_BT


class ValueTracker:
    """What each prompt has lately earned, kept from step to step: the expectation of SPO.

    Each prompt has a belief Beta(a, b) about its reward, which lies in 0..1; its mean a / (a + b)
    is the expectation. A new reward r makes a ← rho·a + r and b ← rho·b + 1 - r: old rewards fade,
    the faster the further the policy has drifted since, rho = 2^(-drift / half), kept between
    `least` and `most`. The numbers are those of the authors' program (verl's recipe/spo), as are
    a = b = 1/2 for a prompt that was never tried.

    It needs no groups, so it gives a signal also where all completions of a prompt agree. Take
    `expected` before `update`: a reward in its own expectation would shrink its advantage.
    """

    def __init__(self, half: float = 0.06, least: float = 0.875, most: float = 0.96) -> None:
        self.half, self.least, self.most = half, least, most
        self.beliefs: dict[str, tuple[float, float]] = {}
        """(a, b) by prompt; plain numbers, so that a checkpoint can keep them as JSON."""

    def expected(self, prompts: Iterable[str]) -> Tensor:
        """The reward to expect for each of these prompts, (B) float32."""
        beliefs = [self.beliefs.get(prompt, (0.5, 0.5)) for prompt in prompts]
        return torch.tensor([a / (a + b) for a, b in beliefs])

    def advantages(self, prompts: Sequence[str], reward_B: Tensor) -> Tensor:
        """r - what was expected, whitened over the batch (not over groups), (B)."""
        self._check(prompts, reward_B)
        raw_B1 = (reward_B.float() - self.expected(prompts).to(reward_B.device))[:, None]
        return whiten(raw_B1, torch.ones_like(raw_B1, dtype=torch.bool))[:, 0]

    def update(self, prompts: Sequence[str], reward_B: Tensor, drift_B: Tensor) -> None:
        """Take in new rewards. `drift_B`: how far the policy has moved since it last answered each
        prompt, the mean |change of log-probability| of that answer's tokens (0: the first time).
        """
        self._check(prompts, reward_B)
        for prompt, r, drift in zip(prompts, reward_B.tolist(), drift_B.tolist(), strict=True):
            rho = min(max(2 ** (-drift / self.half), self.least), self.most)
            a, b = self.beliefs.get(prompt, (0.5, 0.5))
            self.beliefs[prompt] = (rho * a + r, rho * b + 1 - r)

    def weights(self, prompts: Iterable[str], explore: float = 0.05) -> Tensor:
        """How often to try each prompt next, (B), to be normalized: sqrt(v (1 - v)) + explore.

        The less it is known whether a prompt will be solved, the more it can teach.
        """
        value_B = self.expected(prompts)
        return (value_B * (1 - value_B)).sqrt() + explore

    def _check(self, prompts: Sequence[str], reward_B: Tensor) -> None:
        check_rewards(reward_B)
        outside = ((reward_B < 0) | (reward_B > 1)).nonzero().flatten().tolist()
        if outside:
            raise WrongCall(
                f"the reward of row {outside[0]} is {reward_B[outside[0]].item()}, and a value "
                "tracker needs rewards from 0 to 1; scale them."
            )
        if len(prompts) != len(reward_B):
            raise WrongCall(f"{len(prompts)} prompts have {len(reward_B)} rewards; give one each.")
