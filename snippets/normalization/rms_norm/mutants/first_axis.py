"""Averages over the first axis, the batch."""
# expect: last axis only
# says: first axis

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(0, keepdim=True) + eps)
    return (x.float() / rms).to(x.dtype) * weight
