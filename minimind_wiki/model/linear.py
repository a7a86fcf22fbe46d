"""`nn.Linear`, whose float32 products on a CPU go through oneDNN.

torch carries two libraries for products on a CPU. In float32 it takes MKL, which leaves the wide
units of processors that are not Intel's half idle; for bfloat16, and inside compiled models, it
takes oneDNN. Here float32 takes oneDNN too: the same numbers but for the order of the sums
(`tests/parity/test_linear.py`), in about half the time where MKL is slow (`bench/linear.py`).
Small products stay with torch, as oneDNN needs some ten microseconds to begin.

Shapes: N rows (all leading axes together), I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEAST = 1 << 21  # multiplications from which on oneDNN pays for its beginning


def _available() -> bool:
    """Whether this build of torch can do it: the operator is torch's own, but not a public one."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        return onednn(torch.ones(1, 1), torch.ones(1, 1), None).item() == 1.0
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def onednn(x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x Wᵀ + b by oneDNN, (..., O), without a gradient; float32 on a CPU, where it is AVAILABLE."""
    return torch.ops.mkldnn._linear_pointwise(x_NI, weight_OI, bias_O, "none", [], "")


AVAILABLE = _available()


def suits(x_NI: Tensor, weight_OI: Tensor) -> bool:
    """Whether oneDNN should compute this: plain float32 tensors on a CPU, many enough products.

    Not where autocast chooses the format, a compiler chooses the kernel, or a tensor is more than
    its numbers (DTensor, FakeTensor).
    """
    return (
        AVAILABLE
        and x_NI.device.type == "cpu"
        and x_NI.dtype == weight_OI.dtype == torch.float32
        and x_NI.numel() * weight_OI.shape[0] >= max(1, LEAST)  # and never of nothing
        and type(x_NI) in (Tensor, nn.Parameter)
        and type(weight_OI) in (Tensor, nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def product(x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, without a gradient of its own; (..., O).

    >>> product(torch.ones(1, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]))
    tensor([[3.5000]])
    """
    if suits(x_NI, weight_OI):
        return onednn(x_NI, weight_OI, bias_O)
    return F.linear(x_NI, weight_OI, bias_O)


class _Linear(torch.autograd.Function):
    """dx = g W and dW = gᵀ x are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_NI, weight_OI)
        return onednn(x_NI, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, weight_OI = ctx.saved_tensors
        flat_NO, flat_NI = grad_NO.flatten(0, -2), x_NI.flatten(0, -2)
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            product(grad_NO, weight_OI.T) if wants_x else None,
            product(flat_NO.T, flat_NI.T) if wants_weight else None,
            flat_NO.sum(0) if wants_bias else None,
        )


def linear(x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """x Wᵀ + b with its gradient, (..., O): `F.linear` by the quicker library."""
    if not suits(x_NI, weight_OI):
        return F.linear(x_NI, weight_OI, bias_O)
    if torch.is_grad_enabled():
        return _Linear.apply(x_NI, weight_OI, bias_O)
    return onednn(x_NI, weight_OI, bias_O)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`: the same parameters, the same names, the same start."""

    def forward(self, x_NI: Tensor) -> Tensor:
        return linear(x_NI, self.weight, self.bias)
