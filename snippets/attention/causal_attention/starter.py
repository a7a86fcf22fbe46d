import minimind_wiki.lite as torch  # on a laptop: import torch


def causal_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
) -> torch.Tensor:
    """What each place gathers from itself and those before it.

    q and k (..., T, D), v (..., T, E); returns (..., T, E).
    """
    raise NotImplementedError
