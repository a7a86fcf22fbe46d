import minimind_wiki.lite as torch  # on a laptop: import torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (heads * D, ...) in the order of neighbours, returned in the order of halves."""
    raise NotImplementedError
