"""Detaches the gain, which then never learns."""
# expect: gradient of the gain
# says: No gradient reaches weight

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True) + eps)
    return (x.float() / rms).to(x.dtype) * weight.detach()
