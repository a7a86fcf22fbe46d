"""Self-attention with shared key-value heads (Vaswani et al. 2017, arXiv:1706.03762; GQA: Ainslie
et al. 2023, arXiv:2305.13245).

`causal_attention` is the formula. Four more compute the same, each the quickest somewhere:
`fused_causal_attention` is torch's kernel, which never writes the T × S score matrix;
`packed_attention` runs it on the documents of packed rows one by one (on a CPU); `flex_attention`
skips what a mask hides (on CUDA, compiled); `paged_attention` reads the keys of many requests from
a cache in blocks. A `View` says which of them a layer uses and what it sees; tests hold all equal.

Shapes: B batch, T query positions, S key positions (the queries are the last T of them), H query
heads, K key-value heads, G = H / K query heads to a key head, D head_dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from minimind_wiki.model.cache import Cache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.masks import Lengths, causal_mask
from minimind_wiki.model.norm import RMSNorm
from minimind_wiki.model.pages import Part, read_blocks
from minimind_wiki.model.rope import apply_rope


class View(NamedTuple):
    """What a layer sees, in the form that one way of computing takes; as it stands: all before.

    `mask` is bool (may look) or float (added to the scores), and broadcasts to (B, H, T, S). Beside
    `lengths` it is that of one document, (T, T) or (H, T, T), from which a shorter one is cut.
    """

    mask: Tensor | None = None
    plain: bool = False  # the formula itself
    lengths: Lengths | None = None  # document by document
    blocks: BlockMask | None = None  # FlexAttention
    score: Callable[..., Tensor] | None = None  # what FlexAttention adds
    pages: Sequence[Part] | None = None  # the requests of a flat row, over a cache in blocks


ALL_BEFORE = View()


def causal_attention(
    q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Tensor | None = None
) -> Tensor:
    """softmax(q kᵀ / sqrt(D) + mask) v, as it is written; (B, H, T, D). Softmax in float32.

    `mask` takes the causal mask's place: bool, True where a query may look, or float, to be added.
    """
    group = q_BHTD.shape[1] // k_BKSD.shape[1]
    k_BHSD = k_BKSD.repeat_interleave(group, dim=1)
    v_BHSD = v_BKSD.repeat_interleave(group, dim=1)
    score_BHTS = q_BHTD @ k_BHSD.transpose(-1, -2) / math.sqrt(q_BHTD.shape[-1])
    if mask is None:
        mask = causal_mask(score_BHTS.shape[-2], score_BHTS.shape[-1], score_BHTS.device)
    if mask.dtype == torch.bool:
        score_BHTS = score_BHTS.masked_fill(~mask, float("-inf"))
    else:
        score_BHTS = score_BHTS + mask
    weight_BHTS = torch.softmax(score_BHTS.float(), dim=-1).to(q_BHTD.dtype)
    return weight_BHTS @ v_BHSD


def fused_causal_attention(
    q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Tensor | None = None
) -> Tensor:
    """`causal_attention` in one kernel. A single query needs no mask: it may see everything."""
    queries, keys = q_BHTD.shape[2], k_BKSD.shape[2]
    # torch's is_causal aligns the wrong corner where the queries go on from a cache
    if mask is None and 1 < queries != keys:
        mask = causal_mask(queries, keys, q_BHTD.device)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q_BHTD.dtype)  # the kernel takes no other
    causal = False
    if mask is None and queries > 1:  # an `if`, as `queries` may be a symbol of the compiler's
        causal = True
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BKSD,
        v_BKSD,
        attn_mask=mask,
        is_causal=causal,
        enable_gqa=q_BHTD.shape[1] != k_BKSD.shape[1],
    )


def packed_attention(
    q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, lengths: Lengths, mask: Tensor | None = None
) -> Tensor:
    """`causal_attention` with the mask of those documents, without the scores between documents.

    A document of n tokens costs n² then and not n · T. In float32 also under autocast: the CPU's
    kernel is quicker in it where a head is small, as it converts bfloat16 piece by piece.
    """
    with torch.autocast(q_BHTD.device.type, enabled=False):
        rows = []
        for row, counts in enumerate(lengths):
            parts = [x[row : row + 1].float().split(counts, 2) for x in (q_BHTD, k_BKTD, v_BKTD)]
            masks = [None if mask is None else mask[..., :n, :n] for n in counts]
            alone = [fused_causal_attention(*part) for part in zip(*parts, masks, strict=True)]
            rows.append(torch.cat(alone, dim=2))
        return torch.cat(rows).to(v_BKTD.dtype)


def paged_attention(q_1HTD: Tensor, keys: Tensor, values: Tensor, parts: Sequence[Part]) -> Tensor:
    """`causal_attention` of each request of a flat row on its own text, (1, H, T, D).

    `keys` and `values` are all blocks of a layer, (blocks, size, K, D), the new tokens' included.
    """
    (heads, _, dim), out = q_1HTD.shape[1:], []
    for part in parts:
        requests, time = part.place_RT.shape
        q_HTD = q_1HTD[0, :, part.first : part.first + requests * time]
        q_RHTD = q_HTD.unflatten(1, (requests, time)).transpose(0, 1)
        k_RKSD = read_blocks(keys, part.table_RN, part.keys)
        v_RKSD = read_blocks(values, part.table_RN, part.keys)
        if time == 1:
            y_RHTD = single_attention(q_RHTD, k_RKSD, v_RKSD, part.mask)
        else:
            y_RHTD = fused_causal_attention(q_RHTD, k_RKSD, v_RKSD, part.mask)
        out.append(y_RHTD.transpose(0, 1).reshape(heads, requests * time, dim))
    return (out[0] if len(out) == 1 else torch.cat(out, dim=1))[None]


def single_attention(
    q_RH1D: Tensor, k_RKSD: Tensor, v_RKSD: Tensor, mask: Tensor | None = None
) -> Tensor:
    """`causal_attention` of one query each: the query heads of a key head are like G queries.

    So keys need not be repeated for each head of a group; (R, H, 1, D).
    """
    requests, shared = k_RKSD.shape[:2]
    q_RKGD = q_RH1D.reshape(requests, shared, -1, q_RH1D.shape[-1])
    if mask is not None and mask.shape[1] > 1:  # another for each head
        mask = mask.reshape(requests, shared, -1, mask.shape[-1])
    y_RKGD = F.scaled_dot_product_attention(q_RKGD, k_RKSD, v_RKSD, attn_mask=mask)
    return y_RKGD.flatten(1, 2)[:, :, None]


def attend(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, view: View) -> Tensor:
    """What the queries gather from what they see, (B, H, T, D), computed as the view says."""
    if view.pages is not None:
        return paged_attention(q_BHTD, k_BKSD, v_BKSD, view.pages)
    if view.blocks is not None:
        many = q_BHTD.shape[1] != k_BKSD.shape[1]
        out = flex_attention(q_BHTD, k_BKSD, v_BKSD, view.score, view.blocks, enable_gqa=many)
        assert isinstance(out, Tensor)  # it returns more only where it is asked for more
        return out
    if view.lengths is not None:
        return packed_attention(q_BHTD, k_BKSD, v_BKSD, view.lengths, view.mask)
    if view.plain:
        return causal_attention(q_BHTD, k_BKSD, v_BKSD, view.mask)
    return fused_causal_attention(q_BHTD, k_BKSD, v_BKSD, view.mask)


class Attention(nn.Module):
    """Project, norm and turn queries and keys, attend, project back. (B, T, hidden) in and out."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.turns_late = config.rope_type == "dynamic"
        hidden, bias = config.hidden_size, config.family == "gpt2"
        inner = config.num_attention_heads * config.head_dim
        shared = config.num_key_value_heads * config.head_dim
        self.q_proj = Linear(hidden, inner, bias=bias)
        self.k_proj = Linear(hidden, shared, bias=bias)
        self.v_proj = Linear(hidden, shared, bias=bias)
        self.o_proj = Linear(inner, hidden, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else None

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
        view: View = ALL_BEFORE,
    ) -> Tensor:
        q_BHTD = self._heads(self.q_proj(x_BTD), self.q_norm)
        k_BKTD = self._heads(self.k_proj(x_BTD), self.k_norm)
        v_BKTD = self._heads(self.v_proj(x_BTD), None)
        if rope is not None:
            q_BHTD = apply_rope(q_BHTD, *(table[-x_BTD.shape[1] :] for table in rope))
        # Dynamic scaling turns old keys anew for every length, so the cache keeps them unturned
        # (arXiv:2309.00071 asks for it); transformers keeps each as its own length turned it.
        # Exact in one layer: in deeper ones an old key comes from what was seen with old turns.
        # The texts of a flat row stay in the trained length, where nothing is scaled.
        late = self.turns_late and view.pages is None
        late = late or (cache is not None and cache.turns_late)
        if rope is not None and not late:
            k_BKTD = apply_rope(k_BKTD, *rope)
        if cache is not None:
            k_BKTD, v_BKTD = cache.extend(self.layer, k_BKTD, v_BKTD)
        if rope is not None and late:
            k_BKTD = apply_rope(k_BKTD, *rope)
        return self.o_proj(attend(q_BHTD, k_BKTD, v_BKTD, view).transpose(1, 2).flatten(2))

    def _heads(self, x_BTE: Tensor, norm: nn.Module | None) -> Tensor:
        """Split (B, T, heads · D) into (B, heads, T, D); norm each head's vector."""
        x_BTHD = x_BTE.unflatten(-1, (-1, self.head_dim))
        return (x_BTHD if norm is None else norm(x_BTHD)).transpose(1, 2)
