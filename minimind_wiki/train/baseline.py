"""What answers have lately earned: an expectation that needs no group, kept between steps.

A group spends G answers on one prompt to learn what to expect of it. A number that is kept costs
nothing, and one answer a prompt is enough; it lags behind a policy that learns. It is a buffer of a
module, so that a checkpoint keeps it and a resumed run goes on with it.
Shapes: B answers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

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
