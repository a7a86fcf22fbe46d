"""Gates with a sigmoid, as the first GLU did."""
# expect: values
# says: older GLU

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    return (u / (1 + torch.exp(-g))) @ down.T
