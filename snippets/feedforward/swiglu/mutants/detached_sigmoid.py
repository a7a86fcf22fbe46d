"""Treats the sigmoid as a constant."""
# expect: every gradient
# says: The gradient of x is not

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    sigmoid = (1 / (1 + torch.exp(-g))).detach()
    return (g * sigmoid * u) @ down.T
