"""Forgets the product: a plain SiLU layer."""
# expect: values
# says: Only the gate's branch

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g = x @ gate.T
    return (g / (1 + torch.exp(-g))) @ down.T
