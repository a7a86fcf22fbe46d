"""Activates the product."""
# expect: values
# says: after the product

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    product = g * u
    return (product / (1 + torch.exp(-product))) @ down.T
