"""Is ReGLU."""
# expect: values
# says: ReGLU

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    g, u = x @ gate.T, x @ up.T
    return (torch.relu(g) * u) @ down.T
