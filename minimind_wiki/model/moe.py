"""Mixture of experts: many feed-forwards, of which each token visits a few (Shazeer et al. 2017,
arXiv:1701.06538; shared experts: DeepSeekMoE, arXiv:2401.06066).

A linear router scores the experts, softmax makes the scores weights, the top k answer. The answer
is multiplied by the weight: this is the only way the router gets a gradient. Rescaling the chosen
weights to sum to one (`norm_topk_prob`) is therefore wrong for k = 1, where the weight becomes a
constant.

Shapes: N tokens (all positions of all rows), D hidden, E experts, k experts a token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.feedforward import SwiGLU


def route(logits_NE: Tensor, k: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """The k most probable experts of each token: their weights (N, k) float32 and indices (N, k).

    >>> route(torch.tensor([[0.0, 1.0, 1.0]]).log(), k=2, normalize=False)[0]
    tensor([[0.5000, 0.5000]])
    """
    probability_NE = torch.softmax(logits_NE.float(), dim=-1)
    weight_Nk, expert_Nk = probability_NE.topk(k, dim=-1)
    if normalize:
        weight_Nk = weight_Nk / weight_Nk.sum(dim=-1, keepdim=True)
    return weight_Nk, expert_Nk


class MixtureOfExperts(nn.Module):
    """Routed experts and, optionally, shared ones that every token visits. (B, T, D) in and out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.k = config.num_experts_per_tok
        self.normalize = config.norm_topk_prob
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(SwiGLU(config) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(
            SwiGLU(config) for _ in range(config.num_shared_experts)
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_ND = x_BTD.flatten(0, 1)
        weight_Nk, expert_Nk = route(self.gate(x_ND), self.k, self.normalize)
        out_ND = torch.zeros_like(x_ND)
        for number, expert in enumerate(self.experts):
            token, slot = torch.where(expert_Nk == number)  # the tokens that chose this expert
            answer = expert(x_ND[token]) * weight_Nk[token, slot, None].to(x_ND.dtype)
            out_ND = out_ND.index_add(0, token, answer.to(out_ND.dtype))
        for expert in self.shared_experts:
            out_ND = out_ND + expert(x_ND)
        return out_ND.view_as(x_BTD)
