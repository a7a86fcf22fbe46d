"""Who may look at whom: the past, a sliding window of it, the first tokens, one's own document.

One rule, `sees`, says it for the places of a query and a key; every mask is that rule over a grid.
A window (Beltagy et al. 2020, arXiv:2004.05150; Mistral 7B, arXiv:2310.06825) bounds what a token
costs. Trained without one, a model breaks as soon as the first tokens leave the window, because
softmax keeps its unneeded weight there; left visible as *sinks* they keep it working (Xiao et al.
2023, arXiv:2309.17453, who count positions from the oldest token still visible; here they are those
of the text).

Shapes: B batch, T query positions, S key positions (the queries are the last T of them).
"""

from __future__ import annotations

import torch
from torch import Tensor

Lengths = list[list[int]]  # of the documents in each row


def sees(query: Tensor, key: Tensor, window: int = 0, sinks: int = 0) -> Tensor:
    """Whether the token at place `query` looks at the one at place `key`; bool, they broadcast.

    Never ahead. With a window only at itself and the window - 1 tokens before it (transformers'
    meaning of sliding_window), and at the first `sinks` tokens.

    >>> place = torch.arange(5)
    >>> sees(place[:, None], place, window=2, sinks=1).int()
    tensor([[1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 0, 1, 1, 0],
            [1, 0, 0, 1, 1]], dtype=torch.int32)
    """
    seen = key <= query
    return seen & ((query - key < window) | (key < sinks)) if window else seen


def causal_mask(
    queries: int, keys: int, device: torch.device | None = None, window: int = 0, sinks: int = 0
) -> Tensor:
    """`sees` for the last `queries` of `keys` tokens; (T, S) bool.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    place_S = torch.arange(keys, device=device)
    return sees(place_S[keys - queries :, None], place_S, window, sinks)


def document_starts(documents_BT: Tensor) -> Tensor:
    """Where the document of each token begins in its row, (B, T) int64.

    Two tokens of a row are in one document where it is the same.

    >>> document_starts(torch.tensor([[1, 1, 2, 2, 2]]))
    tensor([[0, 0, 2, 2, 2]])
    """
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return torch.where(begins_BT, place_T, 0).cummax(dim=1).values


def positions_in(documents_BT: Tensor) -> Tensor:
    """Place of each token in its own document of a packed row, (B, T) int64.

    >>> positions_in(torch.tensor([[1, 1, 2, 2, 2]]))
    tensor([[0, 1, 0, 1, 2]])
    """
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    return place_T - document_starts(documents_BT)


def document_mask(documents_BT: Tensor, window: int = 0, sinks: int = 0) -> Tensor:
    """`sees` in packed rows, where nobody sees another document; (B, 1, T, T) bool.

    The sinks are each document's own. A place of padding looks at the padding before it, so that
    no row of the softmax is empty.

    >>> document_mask(torch.tensor([[1, 1, 2]]))[0, 0].int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [0, 0, 1]], dtype=torch.int32)
    """
    start_BT, place_BT = document_starts(documents_BT), positions_in(documents_BT)
    same_BTT = start_BT[:, :, None] == start_BT[:, None, :]
    return (same_BTT & sees(place_BT[:, :, None], place_BT[:, None, :], window, sinks))[:, None]


def document_lengths(documents_BT: Tensor) -> Lengths:
    """Tokens of each document of each packed row, padding counted as one more document.

    To read them an accelerator has to wait for the tensor, and a compiled graph has to break.

    >>> document_lengths(torch.tensor([[1, 1, 2], [1, 0, 0]]))
    [[2, 1], [1, 2]]
    """
    return [torch.unique_consecutive(row, return_counts=True)[1].tolist() for row in documents_BT]
