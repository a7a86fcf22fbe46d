"""Computes everything and returns nothing."""
# expect: shape
# says: returns None

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)
    y = (x.float() / rms).to(x.dtype) * weight  # noqa: F841
