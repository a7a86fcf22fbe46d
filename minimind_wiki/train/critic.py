"""What PPO keeps beside the model: a value head, the reward's scale, the price of the KL.

All of it is in one module, `Method.head` of the loop, so that it is trained, saved and resumed with
the model and is no part of the model that a run publishes.
Shapes: B answers, T tokens, D hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minimind_wiki.model.linear import Linear, linear
from minimind_wiki.train.advantages import check_rewards
from minimind_wiki.train.parallel import Alone


class Critic(nn.Module):
    """The value of each state: a line on the last hidden states, begun at 0.

    So the first values are the mean reward, and the blocks, which are shared with the policy, get
    no gradient from a random direction. A new head has much to learn, and a policy must move in
    small steps: with `rate` the head is that many times as fast. Its weights are kept divided by
    `rate`, and their gradient is that of a head without it, so that it does not fill the clip;
    Adam's steps have the same size for any gradient, and so the value moves by `rate` times more.
    """

    kl_weight: Tensor
    rewards_3: Tensor
    drift: Tensor

    def __init__(self, hidden_size: int, kl_weight: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        self.score = Linear(hidden_size, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        self.register_buffer("kl_weight", torch.tensor(kl_weight))  # as it was last adapted
        self.register_buffer("rewards_3", torch.zeros(3))  # number, mean, squared deviations
        self.register_buffer("drift", torch.tensor(0.0))  # nats a token, as last measured

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        """Values (B, T), float32, in standard deviations of the reward."""
        weight, bias = (p + (self.rate - 1) * p.detach() for p in self.score.parameters())
        return linear(hidden_BTD, weight, bias)[..., 0].float()

    @torch.no_grad()
    def normalized(self, reward_B: Tensor, group: Alone | None = None) -> Tensor:
        """(r - mean) / standard deviation of all rewards so far, these included, (B,) float32; 0
        while all have been equal.

        Rewards come in any unit, and those of a reward model from any zero. The scale is a running
        one: by its own, a batch of nearly equal rewards would be as loud as any other. Moments of
        batches, and of the processes of `group`, are joined as in Chan, Golub & LeVeque 1979.

        >>> critic = Critic(hidden_size=4)
        >>> critic.normalized(torch.tensor([3.0, 5.0])), critic.normalized(torch.tensor([4.0]))
        (tensor([-0.7071,  0.7071]), tensor([0.]))
        """
        check_rewards(reward_B)
        group = group or Alone()
        many, total = group.total(len(reward_B), float(reward_B.sum()))
        (here,) = group.total(float((reward_B - total / many).square().sum()))
        count, mean, squares = self.rewards_3.tolist()
        away, whole = total / many - mean, count + many
        squares += here + away * away * count * many / whole
        mean += away * many / whole
        self.rewards_3.copy_(torch.tensor([whole, mean, squares]))
        deviation = (squares / max(1.0, whole - 1)) ** 0.5
        if deviation < 1e-6 * max(1.0, abs(mean)):  # rounding, not a difference
            return torch.zeros_like(reward_B, dtype=torch.float32)
        return (reward_B.float() - mean) / deviation
