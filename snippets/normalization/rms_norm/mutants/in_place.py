"""Divides in place and so changes the caller's tensor."""
# expect: input unchanged
# says: in place

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)
    x /= rms
    return x * weight
