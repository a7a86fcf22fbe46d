"""One block: attention mixes positions, the feed-forward works on each, both add to the stream.

Pre-norm (Xiong et al. 2020, arXiv:2002.04745): the norm stands on the branch, so the residual
stream runs from embedding to head without a norm in its way.

Shapes: B batch, T time, D hidden.
"""

from __future__ import annotations

from torch import Tensor, nn

from minimind_wiki.model.attention import ALL_BEFORE, Attention, View
from minimind_wiki.model.cache import Cache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.feedforward import MLP, SwiGLU
from minimind_wiki.model.moe import MixtureOfExperts
from minimind_wiki.model.norm import LayerNorm, RMSNorm


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of this family over the hidden axis."""
    kind = LayerNorm if config.family == "gpt2" else RMSNorm
    return kind(config.hidden_size, config.rms_norm_eps)


def make_feedforward(config: ModelConfig, layer: int) -> nn.Module:
    """The feed-forward of this layer: MLP (GPT-2), experts, or SwiGLU."""
    if config.family == "gpt2":
        return MLP(config)
    if config.has_experts(layer):
        return MixtureOfExperts(config)
    return SwiGLU(config, config.dense_intermediate_size)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)); (B, T, D) in and out."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = make_norm(config)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = make_norm(config)  # transformers' name; it precedes the mlp
        self.mlp = make_feedforward(config, layer)

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
        view: View = ALL_BEFORE,
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), rope, cache, view)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
