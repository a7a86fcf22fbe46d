"""Causal self-attention with shared key-value heads (Vaswani et al. 2017, arXiv:1706.03762; GQA:
Ainslie et al. 2023, arXiv:2305.13245).

`causal_attention` is the formula; `fused_causal_attention` is the same through torch's kernel,
which never writes the T × S score matrix. `packed_attention` runs that kernel on the documents of
packed rows one by one. The module uses the last two; tests hold all three equal.

Shapes: B batch, T query positions, S key positions (the queries are the last T of them), H query
heads, K key-value heads, G = H / K query heads to a key head, D head_dim.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.model.cache import KVCache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.norm import RMSNorm
from minimind_wiki.model.rope import apply_rope

Lengths = list[list[int]]  # of the documents in each row


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """True where a query may look: at its own position and before; (T, S) bool.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def document_mask(documents_BT: Tensor) -> Tensor:
    """True where a query may look in packed rows: before it, in its own document; (B, 1, T, T).

    A place of padding looks at the padding before it, so that no row of the softmax is empty.

    >>> document_mask(torch.tensor([[1, 1, 2]]))[0, 0].int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [0, 0, 1]], dtype=torch.int32)
    """
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    return same_BTT.tril()[:, None]


def document_lengths(documents_BT: Tensor) -> Lengths:
    """Tokens of each document of each packed row, padding counted as one more document.

    >>> document_lengths(torch.tensor([[1, 1, 2], [1, 0, 0]]))
    [[2, 1], [1, 2]]
    """
    return [torch.unique_consecutive(row, return_counts=True)[1].tolist() for row in documents_BT]


def causal_attention(
    q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, allowed: Tensor | None = None
) -> Tensor:
    """softmax(q kᵀ / sqrt(D) + mask) v, as it is written; (B, H, T, D). Softmax in float32.

    `allowed`, where given, takes the causal mask's place: bool, broadcast to (B, H, T, S).
    """
    group = q_BHTD.shape[1] // k_BKSD.shape[1]
    k_BHSD = k_BKSD.repeat_interleave(group, dim=1)
    v_BHSD = v_BKSD.repeat_interleave(group, dim=1)
    score_BHTS = q_BHTD @ k_BHSD.transpose(-1, -2) / math.sqrt(q_BHTD.shape[-1])
    if allowed is None:
        allowed = causal_mask(score_BHTS.shape[-2], score_BHTS.shape[-1], score_BHTS.device)
    score_BHTS = score_BHTS.masked_fill(~allowed, float("-inf"))
    weight_BHTS = torch.softmax(score_BHTS.float(), dim=-1).to(q_BHTD.dtype)
    return weight_BHTS @ v_BHSD


def fused_causal_attention(
    q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, allowed: Tensor | None = None
) -> Tensor:
    """`causal_attention` in one kernel. A single query needs no mask: it may see everything."""
    queries, keys = q_BHTD.shape[2], k_BKSD.shape[2]
    # torch's is_causal aligns the wrong corner where the queries go on from a cache
    if allowed is None and 1 < queries != keys:
        allowed = causal_mask(queries, keys, q_BHTD.device)
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BKSD,
        v_BKSD,
        attn_mask=allowed,
        is_causal=allowed is None and queries > 1,
        enable_gqa=q_BHTD.shape[1] != k_BKSD.shape[1],
    )


def packed_attention(q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, lengths: Lengths) -> Tensor:
    """`causal_attention` with the mask of those documents, without the scores between documents.

    A document of n tokens costs n² then and not n · T. In float32 also under autocast: the CPU's
    kernel is quicker in it where a head is small, as it converts bfloat16 piece by piece.
    """
    with torch.autocast(q_BHTD.device.type, enabled=False):
        rows = []
        for row, counts in enumerate(lengths):
            parts = [x[row : row + 1].float().split(counts, 2) for x in (q_BHTD, k_BKTD, v_BKTD)]
            alone = [fused_causal_attention(q, k, v) for q, k, v in zip(*parts, strict=True)]
            rows.append(torch.cat(alone, dim=2))
        return torch.cat(rows).to(v_BKTD.dtype)


class Attention(nn.Module):
    """Project, norm and turn queries and keys, attend, project back. (B, T, hidden) in and out."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        hidden, bias = config.hidden_size, config.family == "gpt2"
        inner = config.num_attention_heads * config.head_dim
        shared = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(hidden, inner, bias=bias)
        self.k_proj = nn.Linear(hidden, shared, bias=bias)
        self.v_proj = nn.Linear(hidden, shared, bias=bias)
        self.o_proj = nn.Linear(inner, hidden, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else None

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
        allowed: Tensor | Lengths | None = None,
    ) -> Tensor:
        q_BHTD = self._heads(self.q_proj(x_BTD), self.q_norm)
        k_BKTD = self._heads(self.k_proj(x_BTD), self.k_norm)
        v_BKTD = self._heads(self.v_proj(x_BTD), None)
        if rope is not None:
            q_BHTD, k_BKTD = apply_rope(q_BHTD, *rope), apply_rope(k_BKTD, *rope)
        if cache is not None:
            k_BKTD, v_BKTD = cache.extend(self.layer, k_BKTD, v_BKTD)
        if isinstance(allowed, list):
            out_BHTD = packed_attention(q_BHTD, k_BKTD, v_BKTD, allowed)
        else:
            out_BHTD = fused_causal_attention(q_BHTD, k_BKTD, v_BKTD, allowed)
        return self.o_proj(out_BHTD.transpose(1, 2).flatten(2))

    def _heads(self, x_BTE: Tensor, norm: nn.Module | None) -> Tensor:
        """Split (B, T, heads · D) into (B, heads, T, D); norm each head's vector."""
        x_BTHD = x_BTE.unflatten(-1, (-1, self.head_dim))
        return (x_BTHD if norm is None else norm(x_BTHD)).transpose(1, 2)
