"""Divides by a mean over the positions."""
# expect: each position alone
# says: depends on the others

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    y = (g / (1 + torch.exp(-g)) * u) @ down.T
    return y - y.mean(0, keepdim=True) * 0.01
