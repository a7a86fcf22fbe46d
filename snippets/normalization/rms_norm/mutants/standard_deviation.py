"""Divides by the standard deviation without subtracting the mean."""
# expect: no mean subtraction
# says: standard deviation

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.float()
    std = torch.sqrt(wide.var(-1, unbiased=False, keepdim=True) + eps)
    return (wide / std).to(x.dtype) * weight
