"""Feed-forward layers of many kinds in one and the same block.

The package's Llama block has one kind, SwiGLU. Here its place is taken by others with the same
names and the same initial spread, so that arms differ in the kind alone.
Shapes: B batch, T time, D hidden, F intermediate.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "gelu": F.gelu,
    "silu": F.silu,
}


class Plain(nn.Module):
    """down(activation(up(x))): two matrices, no biases; (..., D) in and out."""

    def __init__(self, hidden: int, width: int, kind: str) -> None:
        super().__init__()
        self.up_proj = Linear(hidden, width, bias=False)
        self.down_proj = Linear(width, hidden, bias=False)
        self.activation = ACTIVATIONS[kind]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.activation(self.up_proj(x)))


class Bilinear(SwiGLU):
    """down(gate(x) · up(x)): SwiGLU without its activation."""

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.gate_proj(x) * self.up_proj(x))


class Nothing(nn.Module):
    """What is left of a feed-forward that was cut out: it adds zero to the stream."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def unit(kind: str, config: ModelConfig) -> nn.Module:
    """One feed-forward of a kind: none, linear, relu, gelu, silu, bilinear or swiglu."""
    if kind == "none":
        return Nothing()
    if kind in ACTIVATIONS:
        return Plain(config.hidden_size, config.intermediate_size, kind)
    return {"bilinear": Bilinear, "swiglu": SwiGLU}[kind](config)


def build(kind: str, config: ModelConfig, seed: int) -> Transformer:
    """The package's decoder with feed-forwards of this kind in every block, freshly drawn."""
    model = Transformer(config, seed=None)
    for layer in model.model.layers:
        layer.mlp = unit(kind, config)
        if kind == "none":
            layer.post_attention_layernorm = nn.Identity()  # it would norm what nobody reads
    model.reset_parameters(seed)
    return model


def count(model: nn.Module, part: str = "") -> int:
    """Parameters whose name holds `part`; tied ones once."""
    return sum(p.numel() for name, p in model.named_parameters() if part in name)
