"""Takes the mean of absolute values instead of squares."""
# expect: root mean square
# says: mean of |x|

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    size = x.float().abs().mean(-1, keepdim=True) + eps
    return (x.float() / size).to(x.dtype) * weight
