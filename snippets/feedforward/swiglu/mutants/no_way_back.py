"""Stays in the wide space."""
# expect: shape
# says: goes back to D

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    return g / (1 + torch.exp(-g)) * u
