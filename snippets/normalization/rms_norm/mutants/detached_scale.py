"""Detaches the root mean square, so its part of the gradient is lost."""
# expect: gradient of x
# says: as a constant

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().detach().pow(2).mean(-1, keepdim=True) + eps)
    return (x.float() / rms).to(x.dtype) * weight
