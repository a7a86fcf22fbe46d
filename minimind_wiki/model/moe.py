"""Mixture of experts: many feed-forwards, of which each token visits a few (Shazeer et al. 2017,
arXiv:1701.06538; shared experts: DeepSeekMoE, arXiv:2401.06066).

A linear router scores the experts, softmax makes the scores weights, the top k answer. The answer
is multiplied by the weight: this is the only way the router gets a gradient. Rescaling the chosen
weights to sum to one (`norm_topk_prob`) is therefore wrong for k = 1, where the weight becomes a
constant.

`visit_plainly` is the definition. The module computes the same and never asks, expert by expert,
who comes: it sorts the visits, so that each expert reads one block of rows (`moe_dispatch.py`).
What keeps the experts evenly busy is in `moe_balance.py`.

Shapes: N tokens (all positions of all rows), D hidden, E experts, k experts a token, A = k · N
visits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.moe_dispatch import (
    Rows,
    Visits,
    at_once,
    in_boxes,
    in_turn,
    working_dtype,
)


def route(
    logits_NE: Tensor, k: int, normalize: bool, bias_E: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The k most probable experts of each token: their weights (N, k) float32 and indices (N, k).

    A bias takes part in the choice and not in the weights: it moves load and has no gradient.

    >>> route(torch.tensor([[0.0, 1.0, 1.0]]).log(), k=2, normalize=False)[0]
    tensor([[0.5000, 0.5000]])
    """
    probability_NE = torch.softmax(logits_NE.float(), dim=-1)
    liking_NE = probability_NE if bias_E is None else probability_NE + bias_E
    expert_Nk = liking_NE.topk(k, dim=-1).indices
    weight_Nk = probability_NE.gather(1, expert_Nk)
    if normalize:
        weight_Nk = weight_Nk / weight_Nk.sum(dim=-1, keepdim=True)
    return weight_Nk, expert_Nk


def visit_plainly(
    experts: Iterable[nn.Module], x_ND: Tensor, weight_Nk: Tensor, expert_Nk: Tensor
) -> Tensor:
    """The definition: each expert answers the tokens that chose it; weighted answers add up."""
    out_ND = torch.zeros_like(x_ND)
    for number, expert in enumerate(experts):
        token, slot = torch.where(expert_Nk == number)
        answer = expert(x_ND[token]) * weight_Nk[token, slot, None].to(x_ND.dtype)
        out_ND = out_ND.index_add(0, token, answer.to(out_ND.dtype))
    return out_ND


class Routing(NamedTuple):
    """What a layer decided in its last forward pass."""

    logits_NE: Tensor  # the router's scores, float32, with their gradient
    expert_Nk: Tensor  # who was chosen
    dropped_N: Tensor  # of the k choices of a token, how many found their expert full


class MixtureOfExperts(nn.Module):
    """Routed experts and, optionally, shared ones that every token visits. (B, T, D) in and out.

    `routing` keeps the last forward pass's decisions for `moe_balance`, until it takes them.
    """

    e_score_correction_bias: Tensor | None  # DeepSeek-V3's name

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        experts, hidden = config.num_experts, config.hidden_size
        self.gate = nn.Linear(hidden, experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(config) for _ in range(experts))
        self.shared_experts = nn.ModuleList(
            SwiGLU(config) for _ in range(config.num_shared_experts)
        )
        gated = config.shared_expert_gate
        self.shared_expert_gate = nn.Linear(hidden, 1, bias=False) if gated else None
        bias_E = torch.zeros(experts) if config.router_bias_rate else None
        self.register_buffer("e_score_correction_bias", bias_E)
        self.routing: Routing | None = None

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        logits_NE = self.scores(x_ND)
        bias_E = self.e_score_correction_bias
        config = self.config
        weight_Nk, expert_Nk = route(
            logits_NE, config.num_experts_per_tok, config.norm_topk_prob, bias_E
        )
        out_ND, dropped_N = self.visit(x_ND, weight_Nk, expert_Nk)
        self.routing = Routing(logits_NE, expert_Nk, dropped_N)
        if self.shared_experts:
            shared_ND = sum(expert(x_ND) for expert in self.shared_experts)
            if self.shared_expert_gate is not None:
                shared_ND = torch.sigmoid(self.shared_expert_gate(x_ND)) * shared_ND
            out_ND = out_ND + shared_ND
        return out_ND.view_as(x_BTD)

    def scores(self, x_ND: Tensor) -> Tensor:
        """The router's logits, always in float32: rounding would change who is chosen."""
        with torch.autocast(x_ND.device.type, enabled=False):
            return F.linear(x_ND.float(), self.gate.weight.float())

    def visit(self, x_ND: Tensor, weight_Nk: Tensor, expert_Nk: Tensor) -> tuple[Tensor, Tensor]:
        """`visit_plainly` by sorted visits, and how many of each token's visits were dropped (N).

        Who comes late to a full expert is dropped. A limit is for training only, as it makes a
        token's answer depend on the tokens of other rows.
        """
        k, experts = expert_Nk.shape[1], self.experts
        visits = Visits.of(expert_Nk, len(experts))
        token_A = visits.order_A % len(x_ND)
        x_AD = Rows.apply(x_ND.to(working_dtype(x_ND)), token_A, visits.back_A, k)
        dropped_N = torch.zeros_like(expert_Nk[:, 0])
        if self.training and self.config.expert_capacity:
            capacity = math.ceil(self.config.expert_capacity * len(token_A) / len(experts))
            y_AD, dropped_A = in_boxes(experts, x_AD, visits, capacity)
            dropped_N = dropped_A.unflatten(0, (k, -1)).sum(0)
        elif x_ND.is_cuda or torch.compiler.is_compiling():
            y_AD = at_once(experts, x_AD, visits)
        else:
            y_AD = in_turn(experts, x_AD, visits)
        y_AD = Rows.apply(y_AD, visits.back_A, visits.order_A, 1)
        y_AD = y_AD * weight_Nk.T.reshape(-1, 1).to(x_ND.dtype)
        return (y_AD if k == 1 else y_AD.unflatten(0, (k, -1)).sum(0)), dropped_N

    def __getstate__(self) -> dict[str, Any]:
        """Without `routing`: a tensor inside a graph can be neither copied nor sent away."""
        return self.__dict__ | {"routing": None}
