"""Takes one mean over all axes."""
# expect: last axis only
# says: all axes

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean() + eps)
    return (x.float() / rms).to(x.dtype) * weight
