import minimind_wiki.lite as torch


def rms_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """Each vector of x (..., D) over its root mean square, times weight (D,).

    Returns the shape and the dtype of x.
    """
    wide = x.float()  # in float16 the square of 300 would be infinite
    mean_square = wide.pow(2).mean(-1, keepdim=True)  # (..., 1)
    rms = torch.sqrt(mean_square + eps)
    return (wide / rms).to(x.dtype) * weight
