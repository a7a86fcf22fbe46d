"""Drops the averaged axis, so that the division does not broadcast."""
# expect: shape
# says: keep the averaged axis

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1) + eps)
    return (x.float() / rms).to(x.dtype) * weight
