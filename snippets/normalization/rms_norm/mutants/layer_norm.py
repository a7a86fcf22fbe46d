"""Is LayerNorm: subtracts the mean."""
# expect: no mean subtraction
# says: LayerNorm

import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.float()
    centred = wide - wide.mean(-1, keepdim=True)
    std = torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + eps)
    return (centred / std).to(x.dtype) * weight
