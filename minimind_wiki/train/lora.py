"""LoRA (Hu et al. 2021, arXiv:2106.09685): learn a small change of each weight, and leave the
weight.

A layer W (O × I) gets two thin matrices beside it and computes W x + s · B A x. A is R × I and
random, B is O × R and zero, so that training begins at the model as it is. Only A and B have
gradients and optimizer state: R · (I + O) numbers instead of I · O. Added into the weight once,
W + s · B A, the change costs nothing any more.

The scale s is alpha / R; with rsLoRA it is alpha / sqrt(R), which keeps the size of the change
independent of the rank (Kalajdzievski 2023, arXiv:2312.03732). `tests/parity/test_lora.py` holds
outputs and gradients equal to PEFT's. Adapters of a whole model: `lora_model.py`.

Shapes: N rows (all leading axes together), I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.linear import linear


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Settings of an adapter."""

    targets: str = "all"
    """Layers, by the ends of their names: "q_proj,v_proj"; all: every projection."""
    rank: int = 8
    """Inner width R of a branch."""
    alpha: float = 16.0
    """Strength of the change: the scale is alpha / rank."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead."""
    dropout: float = 0.0
    """Share of a branch's inputs that is zeroed in training."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise WrongCall(f"the rank is {self.rank}; give at least 1.")
        if not 0 <= self.dropout < 1:
            raise WrongCall(f"the adapter's dropout is {self.dropout}; give 0 or more, below 1.")

    @property
    def scale(self) -> float:
        """s of the formula.

        >>> LoraConfig(rank=16, alpha=32).scale, LoraConfig(rank=16, alpha=32, rslora=True).scale
        (2.0, 8.0)
        """
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LoraLinear(nn.Module):
    """A frozen layer with named branches beside it, of which the `active` ones take part."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.in_features, self.out_features = base.in_features, base.out_features
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.settings: dict[str, LoraConfig] = {}
        self.active: tuple[str, ...] = ()

    def add(self, name: str, config: LoraConfig, generator: torch.Generator) -> None:
        """A new branch. A is uniform within ±1/sqrt(I), the start of a linear layer; B is zero."""
        weight = self.base.weight
        # not in bfloat16, where a step of training is often too small to change a number
        dtype = torch.promote_types(weight.dtype, torch.float32)
        A_RI = torch.empty(config.rank, self.in_features, dtype=dtype)
        nn.init.kaiming_uniform_(A_RI, a=math.sqrt(5), generator=generator)
        B_OR = torch.zeros(self.out_features, config.rank, dtype=dtype)
        self.lora_A[name] = nn.Parameter(A_RI.to(weight.device))
        self.lora_B[name] = nn.Parameter(B_OR.to(weight.device))
        self.settings[name] = config

    def forward(self, x_NI: Tensor) -> Tensor:
        y_NO = self.base(x_NI)
        dtype = y_NO.dtype
        for name in self.active:
            config, A_RI, B_OR = self.settings[name], self.lora_A[name], self.lora_B[name]
            kept_NI = F.dropout(x_NI.to(A_RI.dtype), config.dropout, self.training)
            y_NO = y_NO + linear(linear(kept_NI, A_RI), B_OR) * config.scale
        return y_NO.to(dtype)

    @property
    def weight(self) -> Tensor:
        """The weight with its changes, (O, I), for code that multiplies by it and never calls the
        layer: grouped products of experts, the router, the chunked loss. Without it such code would
        train and use the base alone.
        """
        if self.training and any(self.settings[name].dropout for name in self.active):
            raise WrongCall(
                "dropout acts on a layer's inputs, and here only its weight is read (an expert on "
                "a GPU, a router or the output head); train this adapter with dropout 0."
            )
        return self.changed_weight()

    def changed_weight(self) -> Tensor:
        """W + Σ s · B A, (O, I): summed in the branches' format and rounded once to W's."""
        weight_OI = self.base.weight
        dtype = weight_OI.dtype
        for name in self.active:
            change_OI = (self.lora_B[name] @ self.lora_A[name]) * self.settings[name].scale
            weight_OI = weight_OI + change_OI
        return weight_OI.to(dtype)

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias
