"""Writes SiLU so that a large gate overflows."""
# expect: large inputs
# says: infinity over infinity

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    e = torch.exp(g)
    return (g * e / (1 + e) * u) @ down.T
