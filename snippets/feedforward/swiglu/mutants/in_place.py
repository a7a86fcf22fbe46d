"""Scales the caller's tensor and back."""
# expect: inputs unchanged
# says: changed in place

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    x *= 2
    return (g / (1 + torch.exp(-g)) * u) @ down.T
