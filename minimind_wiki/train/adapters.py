"""Two small parts inside a frozen model.

Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751) add a thin network behind attention and
behind the feed-forward of every block. It is not linear, so it cannot be merged and always costs
time. IA3 (Liu et al. 2022, arXiv:2205.05638) learns one factor for each key, each value and each
inner place of the feed-forward: some hundreds a block, and they merge into the weights.

Shapes: N rows (all leading axes together), D hidden, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer
from minimind_wiki.model.linear import Linear
from minimind_wiki.train.frozen import freeze, layers_named, plain_layer, swap


class Bottleneck(nn.Module):
    """y + up(gelu(down(y))) of what a part of a block says, y: (..., D)."""

    def __init__(self, base: nn.Module, down: Linear, up: Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, down, up

    def forward(self, *args: Any) -> Tensor:
        y_ND = self.base(*args)
        return y_ND + self.up(F.gelu(self.down(y_ND)))


def add_bottlenecks(model: Transformer, width: int, norms: bool = True, seed: int = 0) -> list[str]:
    """Freeze the model and put a bottleneck behind both parts of every block; returns their names.

    `norms`: the norms' gains learn as well, as in the paper. `down` starts at N(0, 0.01²), `up` at
    zero, so that training begins at the model as it is (the paper: near it).
    """
    if width < 1:
        raise WrongCall(f"the adapters' width is {width}; give at least 1.")
    freeze(model)
    generator, weight = torch.Generator().manual_seed(seed), model.lm_head.weight
    hidden = model.config.hidden_size
    parts = [f"model.layers.{i}.{part}" for i in range(len(model.model.layers))
             for part in ("self_attn", "mlp")]  # fmt: skip
    for name in parts:
        down, up = Linear(hidden, width), Linear(width, hidden)
        nn.init.normal_(down.weight, 0.0, 0.01, generator)
        for parameter in (down.bias, up.weight, up.bias):
            nn.init.zeros_(parameter)
        swap(model, name, Bottleneck(model.get_submodule(name), down.to(weight), up.to(weight)))
    for name, parameter in model.named_parameters():
        if norms and "norm." in name:
            parameter.requires_grad_(True)
    return parts


class ScaledLinear(nn.Module):
    """A frozen layer with a learned factor for each of its outputs, or for each of its inputs."""

    def __init__(self, base: nn.Linear, inputs: bool) -> None:
        super().__init__()
        self.base, self.inputs = base, inputs
        self.in_features, self.out_features = base.in_features, base.out_features
        count = self.in_features if inputs else self.out_features
        self.factor = nn.Parameter(torch.ones(count, device=base.weight.device))

    def forward(self, x_NI: Tensor) -> Tensor:
        if self.inputs:
            return self.base((x_NI * self.factor).to(x_NI.dtype))
        y_NO = self.base(x_NI)
        return (y_NO * self.factor).to(y_NO.dtype)

    @property
    def weight(self) -> Tensor:
        """W with its rows (outputs) or columns (inputs) scaled, (O, I)."""
        factor = self.factor if self.inputs else self.factor[:, None]
        return (self.base.weight * factor).to(self.base.weight.dtype)

    @property
    def bias(self) -> Tensor | None:
        bias = self.base.bias
        return bias if bias is None or self.inputs else (bias * self.factor).to(bias.dtype)


def add_ia3(
    model: nn.Module, outputs: str = "k_proj,v_proj", inputs: str = "down_proj"
) -> list[str]:
    """Freeze the model and scale these layers' outputs and those layers' inputs, all from 1."""
    found = {name: (layer, False) for name, layer in layers_named(model, outputs).items()}
    found |= {name: (layer, True) for name, layer in layers_named(model, inputs).items()}
    freeze(model)
    for name, (layer, side) in found.items():
        swap(model, name, ScaledLinear(layer, side))
    return list(found)


@torch.no_grad()
def merge_ia3(model: nn.Module) -> dict[str, ScaledLinear]:
    """Multiply the factors into the weights; returns the layers that plain ones replaced."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, ScaledLinear)}
    for name, layer in layers.items():
        swap(model, name, plain_layer(layer.weight, layer.bias))
    return layers
