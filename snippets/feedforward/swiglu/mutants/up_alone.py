"""Forgets the gate."""
# expect: values
# says: Only up's branch

import minimind_wiki.lite as torch


def swiglu(
    x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    return (x @ up.T) @ down.T
