import minimind_wiki.lite as torch  # on a laptop: import torch


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Each vector of x (..., D) over its root mean square, times weight (D,)."""
    raise NotImplementedError


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The planes of x (H, T, D), left half and right half, turned; cos and sin are (T, D)."""
    raise NotImplementedError


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """What each token gathers from itself and those before it; all (H, T, D)."""
    raise NotImplementedError
