"""Multiplies by 1 + weight, as Gemma does."""
# expect: gain
# says: 1 + weight

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)
    return (x.float() / rms).to(x.dtype) * (1 + weight)
