import minimind_wiki.lite as torch


def to_half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (heads * D, ...) in the order of neighbours, returned in the order of halves."""
    pairs = weight.shape[0] // heads // 2
    # (head, pair, which of the two, the rest): read each head's table by columns
    table = weight.reshape(heads, pairs, 2, -1)
    return table.transpose(1, 2).reshape(weight.shape)
