"""Uses the usual 1e-6 and ignores the argument."""
# expect: eps inside the root
# says: number of your own

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    rms = torch.sqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
    return (x.float() / rms).to(x.dtype) * weight
