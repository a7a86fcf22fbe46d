"""Computes with numpy: right values, no gradient."""
# expect: gradient of x
# says: No gradient reaches x

import numpy as np

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    a = np.asarray(x.detach())
    wide = a.astype(np.float32)
    rms = np.sqrt((wide * wide).mean(-1, keepdims=True) + eps)
    return torch.tensor((wide / rms).astype(a.dtype)) * weight
