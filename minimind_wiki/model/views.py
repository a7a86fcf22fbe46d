"""What the layers of a decoder see in one pass, in the form that suits device and batch.

Shapes: B batch, T query positions, S key positions, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model.attention import View
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.masks import (
    causal_mask,
    document_lengths,
    document_mask,
    document_starts,
    sees,
)
from minimind_wiki.model.positions import alibi_bias, alibi_slopes

BACKENDS = ("auto", "plain", "fused", "packed", "flex")
"""plain: the formula. fused: torch's kernel. packed: it, document by document (CPU). flex:
FlexAttention (CUDA, inside torch.compile). auto: packed for documents on a CPU, otherwise fused."""


def layer_views(
    config: ModelConfig,
    ids_BT: Tensor,
    start: int,
    documents_BT: Tensor | None = None,
    backend: str = "auto",
) -> list[View]:
    """What each layer sees of the `start` tokens in the cache and of `ids_BT` behind them.

    Layers with the same window share one view. Raises WrongCall for a backend that cannot do it.
    """
    if backend not in BACKENDS:
        raise unknown("attention backend", backend, BACKENDS)
    if backend in ("packed", "flex") and start:
        raise WrongCall(f"attention backend '{backend}' has no cache; use 'auto', which has.")
    if backend == "auto":
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
    """The view through a mask. None where the kernel's own causal mask is enough."""
    time, sinks, device = ids_BT.shape[1], config.attention_sinks, ids_BT.device
    packed, heads = backend == "packed", config.num_attention_heads
    lengths = None
    if packed:
        ones_BT = torch.ones_like(ids_BT)
        lengths = document_lengths(ones_BT if documents_BT is None else documents_BT)
    bias = config.positions == "alibi"
    mask = None
    if documents_BT is not None and not packed:
        mask = document_mask(documents_BT, window, sinks)
    elif window or bias:
        mask = causal_mask(time, start + time, device, window, sinks)
    if bias and mask is not None:
        bias_HTS = alibi_bias(heads, time, start + time, device)
        mask = bias_HTS.masked_fill(~mask, float("-inf"))
    return View(mask, plain=backend == "plain", lengths=lengths)


def flex_view(
    config: ModelConfig, window: int, ids_BT: Tensor, start: int, documents_BT: Tensor | None,
    backend: str,
) -> View:  # fmt: skip
    """The view as functions of one place, from which FlexAttention finds the blocks to skip."""
    (batch, time), sinks = ids_BT.shape, config.attention_sinks
    rows = torch.zeros_like(ids_BT) if documents_BT is None else documents_BT
    start_BT = document_starts(rows)

    def allowed(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        begin = start_BT[b, query]
        same = start_BT[b, key] == begin
        return same & sees(query - begin, key - begin, window, sinks)

    blocks = create_block_mask(allowed, batch, None, time, time, device=ids_BT.device)
    if config.positions != "alibi":
        return View(blocks=blocks)
    slope_H = alibi_slopes(config.num_attention_heads, ids_BT.device)

    def score(value: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return value - slope_H[h] * (query - key)

    return View(blocks=blocks, score=score)
