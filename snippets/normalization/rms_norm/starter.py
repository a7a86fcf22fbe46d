import minimind_wiki.lite as torch  # on a laptop: import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Divide each vector by its root mean square, then multiply by the gain.

    x (..., D), weight (D,); returns (..., D) in the dtype of x.
    """
    raise NotImplementedError
