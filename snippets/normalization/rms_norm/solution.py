import minimind_wiki.lite as torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Divide each vector by its root mean square, then multiply by the gain.

    x (..., D), weight (D,); returns (..., D) in the dtype of x.
    """
    wide = x.float()  # in float16 the square of 300 would already be infinite
    rms = torch.sqrt(wide.pow(2).mean(-1, keepdim=True) + eps)  # (..., 1)
    return (wide / rms).to(x.dtype) * weight
