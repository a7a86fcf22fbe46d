"""Computes everything and returns nothing."""
# expect: shape
# says: returns None

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    y = (g / (1 + torch.exp(-g)) * u) @ down.T  # noqa: F841
