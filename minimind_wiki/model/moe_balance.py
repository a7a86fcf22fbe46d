"""Keeping experts evenly busy, so that none starves and none becomes the bottleneck.

A router that prefers an expert trains it more, and then prefers it more. Two remedies:

- losses beside the language loss: an even load (Switch Transformer, arXiv:2101.03961, eq. 4–6) and
  small scores (the z-loss of ST-MoE, arXiv:2202.08906);
- a bias on the choice alone, moved after each step against the error of the load, without a
  gradient that could disturb the language loss (Wang et al. 2024, arXiv:2408.15664; DeepSeek-V3).

`Balancer` does both for a model. A training step with two micro-batches:

    for part in parts:
        loss = language_loss(model(part.ids), part) + balancer.loss(part.mask) / 2
        loss.backward()
    optimizer.step()
    balancer.step()

Shapes: B rows, T tokens in each, N = B · T, E experts, k experts a token, L layers with experts.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minimind_wiki.model.moe import MixtureOfExperts, Routing


def visits(expert_Nk: Tensor, experts: int, mask_N: Tensor | None = None) -> Tensor:
    """How many tokens chose each expert, (E) float32; tokens whose `mask_N` is 0 are left out.

    >>> visits(torch.tensor([[0, 2], [0, 1]]), 4)
    tensor([2., 1., 1., 0.])
    """
    chosen_NE = torch.zeros(len(expert_Nk), experts, device=expert_Nk.device)
    chosen_NE.scatter_(1, expert_Nk, 1.0)
    return chosen_NE.sum(0) if mask_N is None else mask_N.float() @ chosen_NE


def load_balancing_loss(
    logits_NE: Tensor, expert_Nk: Tensor, mask_N: Tensor | None = None
) -> Tensor:
    """E · Σ_e f_e · P_e: f_e visits to expert e per token, P_e its mean probability. A scalar.

    f is a count and has no gradient; through P the probability of busy experts falls. With an even
    load it is k. transformers' `load_balancing_loss_func` computes the same of all layers' rows
    together, where one layer's error can hide another's; so call it for each layer.

    >>> load_balancing_loss(torch.zeros(4, 2), torch.tensor([[0], [1], [0], [1]])).item()
    1.0
    """
    number = logits_NE.shape[1]
    probability_NE = torch.softmax(logits_NE.float(), dim=-1)
    mask_N = torch.ones_like(probability_NE[:, 0]) if mask_N is None else mask_N.float()
    tokens = mask_N.sum().clamp_min(1)
    share_E = visits(expert_Nk, number, mask_N) / tokens
    return number * (share_E * (mask_N @ probability_NE / tokens)).sum()


def router_z_loss(logits_NE: Tensor, mask_N: Tensor | None = None) -> Tensor:
    """The mean over tokens of logsumexp(logits)². A scalar.

    Softmax does not see a constant added to all scores; large ones round badly in half precision.
    """
    square_N = logits_NE.float().logsumexp(-1).square()
    if mask_N is None:
        return square_N.mean()
    return mask_N.float() @ square_N / mask_N.sum().clamp_min(1)


class Balancer:
    """Losses, biases and load statistics of a model's experts; for a dense model all are nothing.

    The model may be wrapped (compiled, DDP): its layers are found inside. Activation checkpointing
    must be the non-reentrant kind; the other hides the scores' gradient.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = [m for m in model.modules() if isinstance(m, MixtureOfExperts)]
        self.counted: Tensor | None = None  # (L, E + 1), see `count`; since the last step
        self.last_step: Tensor | None = None  # the same of the last whole step

    def loss(self, mask_BT: Tensor | None = None) -> Tensor | float:
        """The weighted losses of the last forward pass, mean over layers; and count its visits.

        `mask_BT` is 0 at tokens that should not count (padding). 0.0 for a dense model. Call it
        once after each forward pass; RuntimeError if there was none.
        """
        mask_N = None if mask_BT is None else mask_BT.flatten().float()
        total: Tensor | float = 0.0
        counted = []
        for layer in self.layers:
            config, routing = layer.config, layer.routing
            if routing is None:
                raise RuntimeError("no forward pass since the last call: its losses are taken.")
            layer.routing = None  # let go of the graph
            if config.router_aux_loss_coef:
                even = load_balancing_loss(routing.logits_NE, routing.expert_Nk, mask_N)
                total = total + config.router_aux_loss_coef * even
            if config.router_z_loss_coef:
                small = router_z_loss(routing.logits_NE, mask_N)
                total = total + config.router_z_loss_coef * small
            counted.append(count(routing, config.num_experts, mask_N))
        if counted:
            now = torch.stack(counted)
            self.counted = now if self.counted is None else self.counted + now
        return total / max(1, len(self.layers))

    @torch.no_grad()
    def step(self) -> None:
        """After the optimizer's step: move the biases, and begin to count anew.

        b_e += rate · sign(mean load - load_e), of the whole step over all processes.
        """
        if self.counted is None:
            return
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.counted)  # otherwise each process would choose differently
        for layer, counted in zip(self.layers, self.counted, strict=True):
            if (bias_E := layer.e_score_correction_bias) is not None:
                load_E = counted[:-1]
                bias_E += layer.config.router_bias_rate * torch.sign(load_E.mean() - load_E)
        self.last_step, self.counted = self.counted, None

    def shares(self) -> Tensor:
        """Share of the visits that each expert got in the last step, (L, E); rows sum to 1."""
        if self.last_step is None:
            return torch.zeros(0, 0)
        visits_LE = self.last_step[:, :-1]
        return visits_LE / visits_LE.sum(1, keepdim=True).clamp_min(1)

    def statistics(self) -> dict[str, float]:
        """For a log: load of the busiest and the idlest expert of any layer, where 1 is an even
        load, and the share of visits dropped. Waits for the device. Empty for a dense model."""
        if self.last_step is None:
            return {}
        load_LE = self.shares() * (self.last_step.shape[1] - 1)
        dropped = self.last_step[:, -1].sum() / self.last_step[:, :-1].sum().clamp_min(1)
        values = torch.stack([load_LE.max(), load_LE.min(), dropped]).tolist()
        return dict(zip(("busiest_expert", "idlest_expert", "dropped"), values, strict=True))


def count(routing: Routing, experts: int, mask_N: Tensor | None) -> Tensor:
    """Visits to each expert and, last, the visits among them that were dropped: (E + 1) float32."""
    dropped_N = routing.dropped_N.float()
    dropped = dropped_N.sum() if mask_N is None else dropped_N @ mask_N
    return torch.cat([visits(routing.expert_Nk, experts, mask_N), dropped[None]])
