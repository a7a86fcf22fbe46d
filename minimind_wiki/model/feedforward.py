"""The feed-forward of a block: each position on its own, wide inside.

SwiGLU (Shazeer 2020, arXiv:2002.05202) multiplies one projection by the gate of another; GPT-2's
MLP passes one projection through GELU.

Shapes: B batch, T time, D hidden, F intermediate.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.linear import Linear


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)), without biases; (..., D) in and out.

    `width` is F where it is not the configuration's intermediate_size.
    """

    def __init__(self, config: ModelConfig, width: int = 0) -> None:
        super().__init__()
        width = width or config.intermediate_size
        self.gate_proj = Linear(config.hidden_size, width, bias=False)
        self.up_proj = Linear(config.hidden_size, width, bias=False)
        self.down_proj = Linear(width, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class MLP(nn.Module):
    """down(gelu(up(x))), with biases and GELU's tanh form, as GPT-2 was trained; (..., D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.up_proj(x), approximate="tanh"))
