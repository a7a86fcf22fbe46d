"""Divides by the length of the vector: sum instead of mean."""
# expect: root mean square
# says: sum of squares

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    length = torch.sqrt(x.float().pow(2).sum(-1, keepdim=True) + eps)
    return (x.float() / length).to(x.dtype) * weight
