"""A frozen layer whose weight is stored in four bits: the base of QLoRA (arXiv:2305.14314).

A product needs the weight in full, so it is unpacked for that product and forgotten: one layer's
weight at a time, in forward and again in backward, instead of all at once. It never learns; what
learns is a LoRA branch beside it: first `quantize_layers`, then `add_adapter`.
Shapes: N rows (all leading axes together), I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model.linear import product
from minimind_wiki.model.moe_dispatch import working_dtype
from minimind_wiki.train.frozen import layers_named, plain_layer, swap
from minimind_wiki.train.nf4 import Packed, dequantize, quantize


class _Product(torch.autograd.Function):
    """x Wᵀ that remembers W packed. Plain autograd would keep every layer's W for the backward
    pass, and with it the memory that four bits were to save.
    """

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return product(x_NI, layer.unpacked(x_NI.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, None]:
        return product(grad_NO, ctx.layer.unpacked(grad_NO.dtype).T), None


class QuantizedLinear(nn.Module):
    """x Wᵀ + b with W in NF4; (..., O). In the format of x, or autocast's where it is on."""

    codes: Tensor
    scales: Tensor
    largest: Tensor
    mean: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.dtype = layer.weight.dtype
        packed = quantize(layer.weight)
        self.register_buffer("codes", packed.codes)
        self.register_buffer("scales", packed.scales)
        # as whole numbers of the same bits: model.to(bfloat16) would round float32 buffers
        self.register_buffer("largest", packed.largest.view(torch.int32))
        self.register_buffer("mean", packed.mean.view(torch.int32))
        bias = layer.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """The weight, (O, I), without a gradient."""
        floats = (self.largest.view(torch.float32), self.mean.view(torch.float32))
        shape = (self.out_features, self.in_features)
        return dequantize(Packed(self.codes, self.scales, *floats), shape, dtype)

    @property
    def weight(self) -> Tensor:
        """The weight in the format that it had."""
        return self.unpacked(self.dtype)

    def forward(self, x_NI: Tensor) -> Tensor:
        y_NO = _Product.apply(x_NI.to(working_dtype(x_NI)), self)
        return y_NO if self.bias is None else y_NO + self.bias.to(y_NO.dtype)


def quantize_layers(model: nn.Module, targets: str = "all") -> list[str]:
    """Replace the target layers by quantized ones; returns their names.

    Raises WrongCall for a layer that has an adapter already, or weights that are not finite, with
    its name; nothing is replaced then.
    """
    found = layers_named(model, targets)
    packed: dict[str, QuantizedLinear] = {}
    for name, layer in found.items():
        if not isinstance(layer, nn.Linear):
            raise WrongCall(f"{name} is no plain layer any more; quantize before adding adapters.")
        try:
            packed[name] = QuantizedLinear(layer)
        except MinimindError as error:
            raise WrongCall(f"{name}: {error}") from None
    for name, module in packed.items():
        swap(model, name, module)
    return list(found)


def unquantize_layers(model: nn.Module) -> list[str]:
    """Plain layers in place of the quantized ones, with the weights that they computed with: after
    `merge`, so that the model can be saved. What rounding took does not come back.
    """
    found = {n: m for n, m in model.named_modules() if isinstance(m, QuantizedLinear)}
    for name, layer in found.items():
        swap(model, name, plain_layer(layer.weight, layer.bias))
    return list(found)
