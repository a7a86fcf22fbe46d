"""Adds eps to the quotient."""
# expect: eps inside the root
# says: after the division

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True))
    return (x.float() / rms + eps).to(x.dtype) * weight
