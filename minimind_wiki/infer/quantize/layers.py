"""Layers whose weights are codes: what stands in place of a linear layer and of an embedding.

Only the weights are small. A product needs them as numbers, so they are unpacked for it and
forgotten. That costs time, and saves what reading the larger numbers from memory takes. A kernel
that unpacks on its way saves both: torch has one for eight bits, quick where the inputs are
bfloat16. `quicken` asks for it; its rounding moves an output by some thousandths of its size.
Shapes: N rows (all leading axes together), I inputs, O outputs, G groups of a row, J stored bytes
of a row (I for eight bits, I / 2 for four).
"""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.quantize.round import Grid, Rounded, decode, pack4, unpack4
from minimind_wiki.model.linear import product


class Coded(nn.Module):
    """A matrix (O, I) of codes, as buffers: nothing in it can learn.

    It is made with room for codes, and gets them from `fill` or from a file.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor | None

    def __init__(
        self, outputs: int, inputs: int, bits: int, group: int = 0, symmetric: bool = True
    ) -> None:
        super().__init__()
        self.bits, self.training = bits, False
        kind, wide = (torch.int8, inputs) if bits == 8 else (torch.uint8, inputs // 2)
        groups = inputs // (group or inputs)
        self.register_buffer("codes", torch.zeros(outputs, wide, dtype=kind))
        self.register_buffer("scales", torch.ones(outputs, groups))
        zeros_OG = None if symmetric else torch.zeros(outputs, groups, dtype=torch.int8)
        self.register_buffer("zeros", zeros_OG)

    def fill(self, rounded: Rounded) -> None:
        """Take over the codes of a matrix of this shape."""
        codes_OI, (scale_OG, zero_OG) = rounded
        self.codes = codes_OI.contiguous() if self.bits == 8 else pack4(codes_OI)
        self.scales, self.zeros = scale_OG, zero_OG

    def rows(self, index: Tensor | slice = slice(None)) -> Tensor:
        """These rows of the matrix as float32, (…, I); all of them unless asked otherwise."""
        codes = self.codes[index]
        lead, codes = codes.shape[:-1], codes.flatten(0, -2)
        zeros = None if self.zeros is None else self.zeros[index].flatten(0, -2)
        grid = Grid(self.scales[index].flatten(0, -2).float(), zeros)
        return decode(codes if self.bits == 8 else unpack4(codes), grid).unflatten(0, lead)

    @property
    def weight(self) -> Tensor:
        """The whole matrix, unpacked: for who must have it."""
        return self.rows().to(self.scales.dtype)

    def train(self, mode: bool = True) -> Coded:
        """Only `eval` works. Raises WrongCall for training."""
        if mode:
            refuse_training()
        return super().train(False)


def refuse_training() -> NoReturn:
    """Codes have no gradient, and to unpack and round them again would lose more each time."""
    raise WrongCall(
        "a quantized model cannot be trained; train the model that it was made from, and quantize "
        "that again (or train a LoRA beside a base in four bits: minimind lora --quantize nf4)."
    )


class QuantLinear(Coded):
    """x Wᵀ + b with W in codes; (..., O). Stands where a `Linear` stood."""

    bias: Tensor | None

    def __init__(
        self, outputs: int, inputs: int, bits: int, group: int = 0, symmetric: bool = True,
        bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(outputs, inputs, bits, group, symmetric)
        self.in_features, self.out_features = inputs, outputs
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)
        self.quick = False
        """Whether to use the kernel for bfloat16; see `quicken`."""

    def forward(self, x_NI: Tensor) -> Tensor:
        simple = self.bits == 8 and self.zeros is None and self.scales.shape[1] == 1
        if simple and self.quick:
            y_NO = int8_kernel(x_NI, self.codes, self.scales[:, 0])
        elif simple:  # the scale of a row can wait until after the product
            y_NO = product(x_NI, self.codes.to(x_NI.dtype)) * self.scales[:, 0]
        else:
            y_NO = product(x_NI, self.rows().to(x_NI.dtype))
        return y_NO if self.bias is None else y_NO + self.bias


def int8_kernel(x_NI: Tensor, codes_OI: Tensor, scale_O: Tensor) -> Tensor:
    """x Wᵀ by torch's kernel for int8 weights, (..., O) in x's format.

    It multiplies in bfloat16 and adds up in float32. Its float32 form exists and is right, but
    computes number by number. The scales are applied here: in bfloat16 they would be rounded too.
    """
    ones_O = torch.ones_like(scale_O, dtype=torch.bfloat16)
    flat_NI = x_NI.flatten(0, -2).to(torch.bfloat16)
    y_NO = torch.ops.aten._weight_int8pack_mm(flat_NI, codes_OI, ones_O)
    return (y_NO.to(x_NI.dtype) * scale_O).unflatten(0, x_NI.shape[:-1])


def quicken(model: nn.Module, quick: bool = True) -> int:
    """Let all layers that can use torch's int8 kernel; how many they are.

    Those with eight bits, absmax and one scale a row. It reads a quarter of float32's bytes.
    """
    layers = [m for m in model.modules() if isinstance(m, QuantLinear)]
    able = [m for m in layers if m.bits == 8 and m.zeros is None and m.scales.shape[1] == 1]
    for layer in able:
        layer.quick = quick
    return len(able)


class QuantEmbedding(Coded):
    """Rows of a table in codes, (...) ids to (..., D)."""

    def forward(self, ids: Tensor) -> Tensor:
        return self.rows(ids).to(self.scales.dtype)
