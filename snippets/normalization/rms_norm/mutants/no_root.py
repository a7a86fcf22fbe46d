"""Forgets the root."""
# expect: root mean square
# says: root is missing

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    mean_square = x.float().pow(2).mean(-1, keepdim=True) + eps
    return (x.float() / mean_square).to(x.dtype) * weight
