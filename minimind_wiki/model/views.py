"""What the layers of a decoder see in one pass, in the form that suits device and batch.

Shapes: B batch, T query positions, S key positions, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from minimind_wiki.errors import unknown
from minimind_wiki.model.attention import View
from minimind_wiki.model.cache import RowCache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.masks import (
    causal_mask,
    document_lengths,
    document_mask,
    document_starts,
    sees,
)
from minimind_wiki.model.pages import Part, mask_of
from minimind_wiki.model.positions import alibi_bias, alibi_slopes

BACKENDS = ("auto", "plain", "fused", "packed", "flex")
"""plain: the formula. fused: torch's kernel. packed: it, document by document (CPU). flex:
FlexAttention (CUDA, inside torch.compile). auto: packed for documents on a CPU, otherwise fused.
The last three go on from a cache as fused does."""


def layer_views(
    config: ModelConfig,
    ids_BT: Tensor,
    start: int,
    documents_BT: Tensor | None = None,
    backend: str = "auto",
) -> list[View]:
    """What each layer sees of the `start` tokens in the cache and of `ids_BT` behind them.

    Layers with the same window share one view. Raises WrongCall for an unknown backend.
    """
    if backend not in BACKENDS:
        raise unknown("attention backend", backend, BACKENDS)
    if backend != "plain" and start:
        backend = "fused"
    elif backend == "auto":
        # a compiled graph would have to break to read the documents' lengths
        alone = ids_BT.device.type == "cpu" and not torch.compiler.is_compiling()
        backend = "packed" if documents_BT is not None and alone else "fused"
    stop = start + ids_BT.shape[1]
    windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
    windows = [0 if window >= stop else window for window in windows]  # it would hide nothing
    make = flex_view if backend == "flex" else view
    views = {
        window: make(config, window, ids_BT, start, documents_BT, backend)
        for window in sorted(set(windows))
    }
    return [views[window] for window in windows]


def view(
    config: ModelConfig, window: int, ids_BT: Tensor, start: int, documents_BT: Tensor | None,
    backend: str,
) -> View:  # fmt: skip
    """The view through a mask; None where the kernel's own causal mask is enough."""
    time, sinks, device = ids_BT.shape[1], config.attention_sinks, ids_BT.device
    lengths, mask = None, None
    if backend == "packed":  # one document after the other, and the mask is that of any one
        one_BT = torch.zeros_like(ids_BT)
        lengths = document_lengths(one_BT if documents_BT is None else documents_BT)
    if lengths is None and documents_BT is not None:
        mask = document_mask(documents_BT, window, sinks)
    elif window or config.positions == "alibi":
        mask = causal_mask(time, start + time, device, window, sinks)
    if mask is not None and config.positions == "alibi":
        bias_HTS = alibi_bias(config.num_attention_heads, time, start + time, device)
        mask = bias_HTS.masked_fill(~mask, float("-inf"))
    return View(mask, plain=backend == "plain", lengths=lengths)


def flex_view(
    config: ModelConfig, window: int, ids_BT: Tensor, start: int, documents_BT: Tensor | None,
    backend: str,
) -> View:  # fmt: skip
    """The view as functions of places, from which FlexAttention finds the blocks to skip."""
    (batch, time), device = ids_BT.shape, ids_BT.device
    start_BT = document_starts(torch.zeros_like(ids_BT) if documents_BT is None else documents_BT)
    slope_H = alibi_slopes(config.num_attention_heads, device)

    def allowed(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        begin = start_BT[b, query]
        same = start_BT[b, key] == begin
        return same & sees(query - begin, key - begin, window, config.attention_sinks)

    def score(value: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return value - slope_H[h] * (query - key)

    blocks = create_block_mask(allowed, batch, None, time, time, device=device)
    return View(blocks=blocks, score=score if config.positions == "alibi" else None)


def placed_views(
    config: ModelConfig, ids_BT: Tensor, cache: RowCache, backend: str = "auto"
) -> list[View]:
    """What each layer sees where the cache has dropped tokens and tells which are left."""
    start, time, device = cache.length, ids_BT.shape[1], ids_BT.device
    place_T1 = torch.arange(start, start + time, device=device)[:, None]
    windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
    views = {}
    for window in sorted(set(windows)):
        place_S = cache.places(window, time)
        mask = sees(place_T1, place_S, window, config.attention_sinks)
        if config.positions == "alibi":
            slope_H11 = alibi_slopes(config.num_attention_heads, device)[:, None, None]
            mask = (slope_H11 * (place_S - place_T1)).masked_fill(~mask, float("-inf"))
        views[window] = View(mask, plain=backend == "plain")
    return [views[window] for window in windows]


def paged_views(config: ModelConfig, parts: Sequence[Part]) -> list[View]:
    """What each layer sees in a flat row of many requests, from the blocks of their texts."""
    windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
    views = {
        window: View(pages=[part._replace(mask=mask_of(config, part, window)) for part in parts])
        for window in sorted(set(windows))
    }
    return [views[window] for window in windows]
