"""Activates the other branch: gate and up swapped."""
# expect: values
# says: wrong branch

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    return (g * (u / (1 + torch.exp(-u)))) @ down.T
