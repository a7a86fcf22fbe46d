"""Normalizes with 0/0 for a vector of zeros: eps only where the root is not zero."""
# expect: zero vector
# says: nan

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    mean_square = x.float().pow(2).mean(-1, keepdim=True)
    rms = torch.sqrt(mean_square + eps * (mean_square > 0).float())
    return (x.float() / rms).to(x.dtype) * weight
