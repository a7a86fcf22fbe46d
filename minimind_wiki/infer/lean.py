"""A flat row through the decoder in fewer and larger calls, for a CPU.

A step with one token reads every weight once, and that is the least it can take. `Decoder.flat`
takes longer, as each of its small calls costs some microseconds. Here the same numbers come from
fewer: queries, keys and values from one product, gate and up from another, both rotations at once,
a norm in one kernel; and products go through oneDNN however small they are (see `model.linear`).

It takes what a step needs, Llama's family in float32; for other models `flat` itself is used.

Shapes: T tokens of the row, D hidden, H query heads, K key-value heads, E head_dim, I inputs, O
outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model import PagedCache, Transformer
from minimind_wiki.model.attention import View, paged_attention
from minimind_wiki.model.block import Block
from minimind_wiki.model.feedforward import SwiGLU
from minimind_wiki.model.linear import AVAILABLE, Linear, onednn
from minimind_wiki.model.norm import RMSNorm, fused_rms_norm
from minimind_wiki.model.views import paged_views


def flat_decoder(model: Transformer) -> Callable[[Tensor, PagedCache], Tensor]:
    """The quickest function that computes `model.model.flat` here."""
    decoder, weight = model.model, model.lm_head.weight
    linears = [
        getattr(layer.self_attn, name)
        for layer in decoder.layers
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    ]
    plain = all(type(linear) is Linear for linear in linears)  # an adapter makes another of it
    suits = AVAILABLE and weight.device.type == "cpu" and weight.dtype == torch.float32
    lean = suits and plain and model.config.family == "llama"
    return LeanDecoder(model) if lean else decoder.flat


def join(*linears: nn.Linear) -> Tensor:
    """The weights of several layers below each other, (O, I); they become views of it.

    So nothing is stored twice, and who changes a layer's weights in place changes this as well.
    """
    weights = [linear.weight.data for linear in linears]
    first, place = weights[0], weights[0].storage_offset()
    joined = True
    for weight in weights:
        same = weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        joined = joined and same and weight.storage_offset() == place and weight.is_contiguous()
        place += weight.numel()
    rows = [len(weight) for weight in weights]
    if joined:  # by an engine before this one
        return first.as_strided((sum(rows), first.shape[1]), first.stride())
    joined_OI = torch.cat(weights)
    for linear, part_OI in zip(linears, joined_OI.split(rows), strict=True):
        linear.weight.data = part_OI
    return joined_OI


class LeanDecoder:
    """`Decoder.flat` for Llama's family."""

    def __init__(self, model: Transformer) -> None:
        self.decoder = model.model
        layers = [layer for layer in model.model.layers if isinstance(layer, Block)]
        self.blocks = [LeanBlock(layer) for layer in layers]

    def __call__(self, ids_1T: Tensor, cache: PagedCache) -> Tensor:
        decoder = self.decoder
        x_TD = decoder._embed(ids_1T, place=cache.place_T)[0]
        turn = None
        if decoder.rotary is not None:
            cos_TE, sin_TE = decoder.rotary.at(cache.place_T)
            # both halves of a head at once: (a, b) · cos + (b, a) · (-sin, sin)
            turn = (
                torch.cat((cos_TE, cos_TE), dim=-1)[:, None],
                torch.cat((-sin_TE, sin_TE), dim=-1)[:, None],
            )
        views = paged_views(decoder.config, cache.parts)
        for block, view in zip(self.blocks, views, strict=True):
            x_TD = block(x_TD, turn, cache, view)
        assert isinstance(decoder.norm, RMSNorm)
        return norm(x_TD, decoder.norm)[None]


class LeanBlock:
    """`Block` on a flat row, (T, D) in and out."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.self_attn, block.mlp
        before, between = block.input_layernorm, block.post_attention_layernorm
        assert isinstance(before, RMSNorm) and isinstance(between, RMSNorm)
        self.attention, self.mlp, self.norms = attention, mlp, (before, between)
        self.qkv_OI = join(attention.q_proj, attention.k_proj, attention.v_proj)
        self.heads = [
            linear.weight.shape[0] // attention.head_dim
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        self.dense: SwiGLU | None = None
        if type(mlp) is SwiGLU and all(type(part) is Linear for part in mlp.children()):
            self.dense, self.gate_up_OI = mlp, join(mlp.gate_proj, mlp.up_proj)

    def __call__(
        self, x_TD: Tensor, turn: tuple[Tensor, Tensor] | None, cache: PagedCache, view: View
    ) -> Tensor:
        x_TD = x_TD + self.attend(norm(x_TD, self.norms[0]), turn, cache, view)
        y_TD = norm(x_TD, self.norms[1])
        if self.dense is None:  # experts
            return x_TD + self.mlp(y_TD[None])[0]
        gate_TI, up_TI = onednn(y_TD, self.gate_up_OI).chunk(2, dim=-1)
        return x_TD + onednn(F.silu(gate_TI) * up_TI, self.dense.down_proj.weight)

    def attend(
        self, x_TD: Tensor, turn: tuple[Tensor, Tensor] | None, cache: PagedCache, view: View
    ) -> Tensor:
        """`Attention.forward`: queries and keys are turned together."""
        attention, (heads, shared, _) = self.attention, self.heads
        qkv_THE = onednn(x_TD, self.qkv_OI).unflatten(-1, (-1, attention.head_dim))
        qk_THE, v_TKE = qkv_THE.split((heads + shared, shared), dim=1)
        if attention.q_norm is not None and attention.k_norm is not None:
            q_THE, k_TKE = qk_THE.split((heads, shared), dim=1)
            qk_THE = torch.cat((norm(q_THE, attention.q_norm), norm(k_TKE, attention.k_norm)), 1)
        if turn is not None:
            half = attention.head_dim // 2
            qk_THE = qk_THE * turn[0] + qk_THE.roll(half, dims=-1) * turn[1]
        q_1HTE, k_1KTE = qk_THE.transpose(0, 1)[None].split((heads, shared), dim=1)
        keys, values = cache.extend(attention.layer, k_1KTE, v_TKE.transpose(0, 1)[None])
        assert view.pages is not None
        y_HTE = paged_attention(q_1HTE, keys, values, view.pages)[0]
        return onednn(y_HTE.transpose(0, 1).flatten(1), attention.o_proj.weight)


def norm(x: Tensor, module: RMSNorm) -> Tensor:
    """An RMSNorm in one kernel."""
    return fused_rms_norm(x, module.weight, module.eps)
