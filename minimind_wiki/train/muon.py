"""Muon: the matrices of the blocks are moved by an orthogonal step, everything else by AdamW.

A gradient of a matrix has a few large singular values and many small ones; AdamW's step has too.
Muon replaces every singular value of the averaged gradient by about 1, so that rare directions
move as far as common ones (Jordan et al. 2024, kellerjordan.github.io/posts/muon). The factor
0.2 · sqrt(max(rows, columns)) gives the step the size of AdamW's, so that one learning rate serves
both (Liu et al. 2025, "Muon is scalable for LLM training", arXiv:2502.16982).
Embeddings and vectors have no such directions to balance and stay with AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # steepest at 0, so that small values reach 1 in few steps
STEPS = 5


def orthogonalize(g_RC: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The matrix with its singular values moved into about 0.7..1.2 and its directions kept.

    Each step applies x ↦ A x + B x³ + C x⁵ to every singular value at once (Newton-Schulz), without
    ever computing them. `dtype` is that of the products. bfloat16 brings an error of a percent, far
    less than the distance of 0.7 from 1.

    >>> torch.linalg.svdvals(orthogonalize(torch.diag(torch.tensor([9.0, 1.0, 0.3])))).round()
    tensor([1., 1., 1.])
    """
    x = g_RC.to(dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # the products below are then as small as they can be
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        odd = torch.addmm(gram, gram, gram, beta=B, alpha=C)  # B x xᵀ + C (x xᵀ)²
        x = torch.addmm(x, odd, x, beta=A)
    return (x.T if tall else x).to(g_RC.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Groups with `muon=True` hold matrices; the others are AdamW's, as Loshchilov & Hutter wrote.

    Group keys: lr, weight_decay (decoupled), momentum (Muon's, Nesterov form), betas and eps
    (AdamW's). `dtype` is that of Muon's products (see `orthogonalize`): the run's own.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        betas: tuple[float, float],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        defaults = {"lr": 0.0, "weight_decay": 0.0, "muon": False, "momentum": 0.95,
                    "betas": betas, "eps": 1e-8}  # fmt: skip
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient. There is no closure."""
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure")
        for group in self.param_groups:
            move = self._muon if group["muon"] else self._adamw
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    move(parameter, parameter.grad, group)

    def _muon(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(grad, 1 - group["momentum"])
        ahead = grad.lerp(average, group["momentum"])  # Nesterov: look where the average will be
        size = 0.2 * math.sqrt(max(parameter.shape))
        parameter.add_(orthogonalize(ahead, self.dtype), alpha=-group["lr"] * size)

    def _adamw(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        scale = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**step))
