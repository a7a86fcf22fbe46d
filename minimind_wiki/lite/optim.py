"""Optimizers by PyTorch's names: each says how one parameter moves along its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minimind_wiki.lite.autograd import Array
from minimind_wiki.lite.kernel import matmul

Settings = dict[str, Any]


class Optimizer:
    """Parameters in groups, each with its own settings; `state` is what is remembered of each.

    params: tensors, or dicts {"params": tensors, setting: value, …}. The learning rate of a group
    may be changed at any time: `optimizer.param_groups[0]["lr"] = 1e-4`.
    """

    defaults: ClassVar[Settings] = {}

    def __init__(self, params: Iterable[Any], lr: float | None = None, **settings: Any) -> None:
        for name in settings.keys() - self.defaults.keys():
            known = ", ".join(self.defaults)
            raise TypeError(f"{type(self).__name__} has no setting '{name}'. It has: {known}.")
        settings = self.defaults | settings | ({} if lr is None else {"lr": lr})
        given = list(params)
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.param_groups = [settings | g | {"params": list(g["params"])} for g in groups]
        self.state: dict[int, dict[str, Any]] = {}

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p.data, p.grad.data, group, self.state.setdefault(id(p), {}))

    def move(self, x: Array, grad: Array, group: Settings, state: Settings) -> None:
        """Change x in place."""
        raise NotImplementedError(f"{type(self).__name__} has no move")


class SGD(Optimizer):
    """x -= lr v, where the velocity is v = momentum v + grad (+ weight_decay x)."""

    defaults: ClassVar[Settings] = {
        "lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False
    }  # fmt: skip

    def move(self, x: Array, grad: Array, group: Settings, state: Settings) -> None:
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * x
        if group["momentum"]:
            v = state["v"] = group["momentum"] * state["v"] + grad if state else grad.copy()
            grad = grad + group["momentum"] * v if group["nesterov"] else v
        x -= group["lr"] * grad


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

    Each value moves by its mean gradient divided by the root of its mean squared gradient. Both
    means start at zero, so they are divided by 1 - beta^step.
    """

    defaults: ClassVar[Settings] = {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2
    }  # fmt: skip

    def move(self, x: Array, grad: Array, group: Settings, state: Settings) -> None:
        if not state:
            state.update(step=0, mean=np.zeros_like(x), square=np.zeros_like(x))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        mean, square = state["mean"], state["square"]
        mean += (1 - beta1) * (grad - mean)
        square += (1 - beta2) * (grad * grad - square)
        root = np.sqrt(square / (1 - beta2 ** state["step"])) + group["eps"]
        x *= 1 - group["lr"] * group["weight_decay"]
        x -= group["lr"] / (1 - beta1 ** state["step"]) * mean / root


def orthogonalize(g: Array, steps: int, coefficients: tuple[float, ...], eps: float) -> Array:
    """Bring all singular values of a matrix near 1 by a polynomial of it (Newton-Schulz)."""
    a, b, c = coefficients
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / max(float(np.linalg.norm(x)), eps)
    for _ in range(steps):
        square = matmul(x, x.T)
        x = a * x + matmul(b * square + c * matmul(square, square), x)
    return x.T if g.shape[0] > g.shape[1] else x


class Muon(Optimizer):
    """Momentum whose matrix is made orthogonal before it is followed (Jordan 2024).

    For matrices only. PyTorch iterates in bfloat16, lite in the dtype of the parameter.
    """

    defaults: ClassVar[Settings] = {
        "lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True,
        "ns_coefficients": (3.4445, -4.775, 2.0315), "eps": 1e-7, "ns_steps": 5,
        "adjust_lr_fn": None,
    }  # fmt: skip

    def move(self, x: Array, grad: Array, group: Settings, state: Settings) -> None:
        if x.ndim != 2:
            raise ValueError(f"Muon moves matrices only; a parameter has shape {x.shape}")
        m = group["momentum"]
        v = state["v"] = state.get("v", 0) * m + (1 - m) * grad
        v = (1 - m) * grad + m * v if group["nesterov"] else v
        step = orthogonalize(v, group["ns_steps"], group["ns_coefficients"], group["eps"])
        rows, columns = x.shape
        size = math.sqrt(max(1, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            size = 0.2 * math.sqrt(max(rows, columns))
        x *= 1 - group["lr"] * group["weight_decay"]
        x -= group["lr"] * size * step
