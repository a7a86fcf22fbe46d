import minimind_wiki.lite as torch  # on a laptop: import torch


def swiglu(
    x: torch.Tensor,
    gate: torch.Tensor,
    up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """The gated feed-forward of Llama: (..., D) in and out; gate, up (F, D), down (D, F)."""
    raise NotImplementedError
