"""What answers have lately earned: an expectation that needs no group, kept between steps.

A group spends G answers on one prompt to learn what to expect of it. A number that is kept costs
nothing, and one answer a prompt is enough; it lags behind a policy that learns. It is a buffer of a
module, so that a checkpoint keeps it and a resumed run goes on with it, and it is that of all
processes, so that they stay alike.
Shapes: B answers, K slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.train.advantages import check_rewards
from minimind_wiki.train.parallel import Alone


class RunningMean(nn.Module):
    """The mean reward of earlier batches, newer ones weighing more: REINFORCE's baseline.

    r - b with any b that does not look at the answer itself leaves the gradient right on average
    (Williams 1992, §4); before the first batch, b is 0. Each batch weighs `memory` of the next.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, memory: float = 0.9) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def expected(self) -> float:
        """What the next answer is expected to earn."""
        return float(self.total / self.weight) if self.weight else 0.0

    def advantages(self, reward_B: Tensor, group: Alone) -> Tensor:
        """r - expected, (B) float32; then the mean over all processes is taken in.

        >>> baseline = RunningMean(memory=0.5)
        >>> [baseline.advantages(torch.tensor([r]), Alone()).item() for r in (1.0, 1.0, 4.0)]
        [1.0, 0.0, 3.0]
        """
        check_rewards(reward_B)
        advantage_B = reward_B.float() - self.expected()
        earned, many = group.total(float(reward_B.double().sum()), float(len(reward_B)))
        self.total.mul_(self.memory).add_(earned / many)
        self.weight.mul_(self.memory).add_(1.0)
        return advantage_B


class Beliefs(nn.Module):
    """What each prompt has lately earned: SPO's expectation (arXiv:2509.13232), in a table.

    As in `advantages.ValueTracker`, a prompt has a belief Beta(a, b) about its reward from 0 to 1,
    and a / (a + b) is what it is expected to earn, 1/2 before it was tried. A visit that earns r on
    average makes a ← memory · a + r and b ← memory · b + 1 - r. The authors let the memory fade the
    faster the further the policy has moved since the prompt's last answer, between 0.875 and 0.96;
    that answer is not kept here, so the memory is one number between these.

    A prompt is known by a hash. Two of them that fall into one slot share a belief, which makes
    their advantages less exact and not wrong: a belief never looks at the answer that it judges.
    """

    beliefs_K2: Tensor

    def __init__(self, memory: float = 0.92, slots: int = 1 << 14) -> None:
        super().__init__()
        self.memory = memory
        self.register_buffer("beliefs_K2", torch.full((slots, 2), 0.5))

    def slots(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """The slot of each prompt, given as its ids, (B) int64."""
        texts = (" ".join(map(str, ids)).encode() for ids in prompts)
        hashes = [
            int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") for text in texts
        ]
        return torch.tensor(hashes) % len(self.beliefs_K2)

    def advantages(
        self, prompts: Sequence[Sequence[int]], reward_B: Tensor, group: Alone
    ) -> Tensor:
        """r - expected, brought to mean 0 and variance 1 over the answers of all processes, (B)
        float32; then the beliefs take the rewards in. WrongCall for rewards outside of 0..1."""
        check_rewards(reward_B)
        if bool(((reward_B < 0) | (reward_B > 1)).any()):
            raise WrongCall("a belief needs rewards from 0 to 1; scale them.")
        slot_B, earned_B = self.slots(prompts), reward_B.double().cpu()
        belief_B2 = self.beliefs_K2.cpu()[slot_B].double()
        raw_B = earned_B - belief_B2[:, 0] / belief_B2.sum(1)
        raw, many = group.total(float(raw_B.sum()), float(len(raw_B)))
        off_B = raw_B - raw / many
        (square,) = group.total(float(off_B.square().sum()))
        self._learn(slot_B, earned_B, group)
        advantage_B = off_B / (square / max(1.0, many - 1) + 1e-8) ** 0.5
        return advantage_B.to(reward_B.device, torch.float32)

    def _learn(self, slot_B: Tensor, earned_B: Tensor, group: Alone) -> None:
        """Each slot's answers, of whichever process, are one visit, with their mean reward."""
        visit_K2 = torch.zeros(len(self.beliefs_K2), 2, dtype=torch.float64)
        visit_K2.index_add_(0, slot_B, torch.stack([earned_B, torch.ones_like(earned_B)], 1))
        sums = group.total(*visit_K2.flatten().tolist())
        earned_K, tried_K = torch.tensor(sums, dtype=torch.float64).view(-1, 2).unbind(1)
        mean_K = earned_K / tried_K.clamp_min(1)
        seen_K2 = torch.stack([mean_K, 1 - mean_K], 1).to(self.beliefs_K2)
        tried_K1 = (tried_K > 0)[:, None].to(self.beliefs_K2.device)
        self.beliefs_K2.copy_(
            torch.where(tried_K1, self.memory * self.beliefs_K2 + seen_K2, self.beliefs_K2)
        )
