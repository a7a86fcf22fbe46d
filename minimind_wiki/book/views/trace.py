"""One pass over a text with everything kept: the weights of attention, the stream, the lens.

Written beside the model and not into it, so that the model stays as short as it is; a test holds
the logits equal to the model's own. The weights are first rounded to eight bits a row, as the
bundle for the page does it, so that a recorded picture shows what the live one computes.

Shapes: T time, L layers, H query heads, D hidden, V vocabulary, E head size, F neurons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.export.bundle import quantize_rows
from minimind_wiki.model import Transformer
from minimind_wiki.model.rope import apply_rope
from minimind_wiki.model.views import layer_views


@dataclass(frozen=True)
class Cuts:
    """What is changed in a pass: heads and parts that add nothing, a stream from another pass."""

    heads: frozenset[tuple[int, int]] = frozenset()  # (layer, head)
    parts: frozenset[tuple[int, str]] = frozenset()  # (layer, "attention" or "mlp")
    patch: tuple[int, int, Tensor] | None = None  # after layer (-1: embedding), position, (D)


@dataclass(frozen=True)
class Traced:
    """What a pass shows; `stream` is that after the embedding and after each layer."""

    weights: list[Tensor]  # L of (H, T, T)
    valued: list[Tensor]  # L of (H, T, T): weight times length of what it brings, rows sum to one
    stream: list[Tensor]  # L + 1 of (T, D)
    added: list[Tensor]  # L of (T, 2): lengths of what attention and the MLP add
    fired: list[Tensor]  # L of (T, F): what the feed-forward projects back; (T, 0) with experts
    odds: list[Tensor]  # L + 1 of (T, V): the next token if the model ended there


def round_weights(model: Transformer) -> Transformer:
    """Put each matrix to what eight bits a row keep of it, in place; return the model."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                steps, scale = quantize_rows(parameter.float().numpy())
                parameter.copy_(torch.from_numpy(steps * scale[:, None]))
    return model


@torch.no_grad()
def trace(model: Transformer, ids: Iterable[int], cuts: Cuts | None = None) -> Traced:
    """The pass over `ids`. WrongCall for a family that has no views (GPT-2)."""
    cuts = cuts or Cuts()
    config = model.config
    decoder: Any = model.model
    if config.family == "gpt2" or decoder.rotary is None:
        raise WrongCall("views know models with rotary positions only; choose another model.")
    ids_1T = torch.tensor([list(ids)])
    rope = decoder.rotary(0, ids_1T.shape[1])
    views = layer_views(config, ids_1T, 0, None, "plain")
    x_TD = _patched(decoder.embed_tokens(ids_1T)[0].float(), -1, cuts)
    traced = Traced([], [], [x_TD], [], [], [])
    for layer, (block, view) in enumerate(zip(decoder.layers, views, strict=True)):
        weight_HTT, brought_HTD = _attention(block, x_TD, rope, view.mask)
        length_HT = brought_HTD.norm(dim=-1)
        valued_HTT = weight_HTT * length_HT[:, None]
        off = [head for place, head in cuts.heads if place == layer]
        kept_HTD = torch.einsum("hts,hsd->htd", weight_HTT, brought_HTD)
        kept_HTD[off] = 0
        said_TD = kept_HTD.sum(0) * ((layer, "attention") not in cuts.parts)
        x_TD = x_TD + said_TD
        thought_TD, fired_TF = _feed_forward(block.mlp, block.post_attention_layernorm(x_TD))
        thought_TD = thought_TD * ((layer, "mlp") not in cuts.parts)
        x_TD = _patched(x_TD + thought_TD, layer, cuts)
        traced.weights.append(weight_HTT)
        traced.valued.append(valued_HTT / valued_HTT.sum(-1, keepdim=True).clamp_min(1e-30))
        traced.added.append(torch.stack([said_TD.norm(dim=-1), thought_TD.norm(dim=-1)], -1))
        traced.fired.append(fired_TF)
        traced.stream.append(x_TD)
    for x_TD in traced.stream:
        traced.odds.append(model.lm_head(decoder.norm(x_TD)).float().softmax(-1))
    return traced


def _patched(x_TD: Tensor, layer: int, cuts: Cuts) -> Tensor:
    if cuts.patch is None or cuts.patch[0] != layer:
        return x_TD
    x_TD = x_TD.clone()
    x_TD[cuts.patch[1]] = cuts.patch[2]
    return x_TD


def _feed_forward(mlp: Any, x_TD: Tensor) -> tuple[Tensor, Tensor]:
    """What it adds (T, D), and what it held before the last projection (T, F)."""
    fired = [x_TD[:, :0]]
    if hasattr(mlp, "down_proj"):
        handle = mlp.down_proj.register_forward_pre_hook(
            lambda _m, given: fired.append(given[0][0])
        )
        try:
            return mlp(x_TD[None])[0], fired[-1]
        finally:
            handle.remove()
    return mlp(x_TD[None])[0], fired[-1]


def _attention(
    block: Any, x_TD: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Weights (H, T, T), and what each position would bring to the stream by each head (H, T, D).

    A head's output is its weights times its values, and o_proj is linear: so o_proj may be applied
    to each position's values first, and what comes out is a sum over positions and heads.
    """
    attention = block.self_attn
    y_1TD = block.input_layernorm(x_TD)[None]
    q_HTE = apply_rope(attention._heads(attention.q_proj(y_1TD), attention.q_norm), *rope)[0]
    k_KTE = apply_rope(attention._heads(attention.k_proj(y_1TD), attention.k_norm), *rope)[0]
    v_KTE = attention._heads(attention.v_proj(y_1TD), None)[0]
    group = q_HTE.shape[0] // k_KTE.shape[0]
    k_HTE, v_HTE = k_KTE.repeat_interleave(group, 0), v_KTE.repeat_interleave(group, 0)
    score_HTT = q_HTE @ k_HTE.transpose(-1, -2) / math.sqrt(q_HTE.shape[-1])
    size = score_HTT.shape[-1]
    seen = torch.ones(size, size, dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        seen = seen & mask.reshape(size, size)
    weight_HTT = score_HTT.masked_fill(~seen, float("-inf")).softmax(-1)
    out_HED = attention.o_proj.weight.T.unflatten(0, (q_HTE.shape[0], -1))
    return weight_HTT, v_HTE @ out_HED
