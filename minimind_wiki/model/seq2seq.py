"""An encoder that reads and a decoder that writes: T5's layout (Raffel et al. 2020,
arXiv:1910.10683; gated feed-forward: Shazeer 2020, arXiv:2002.05202).

Positions enter as one learned number per head and *bucket* of distance, added to every score and
shared by all blocks of a stack. Queries meet keys without 1 / sqrt(D); the small start of q makes
up for it. Blocks are pre-norm with RMS norm. A tied head sees the stream divided by sqrt(hidden).
Names in `state_dict` are those of transformers' `T5ForConditionalGeneration`; no dropout.

Shapes: B batch, S source, T target or query positions, E hidden, V vocabulary, H heads, D head_dim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model.encoder import padding_mask
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.masks import causal_mask
from minimind_wiki.model.norm import RMSNorm


@dataclass(frozen=True, slots=True)
class Seq2SeqConfig:
    """Everything that decides the shape of both stacks; the defaults are T5-small's."""

    vocab_size: int = 32128  # rows of the token embedding, which both stacks share
    hidden_size: int = 512  # width of the residual stream (E); transformers: d_model
    num_hidden_layers: int = 6  # blocks of the encoder; transformers: num_layers
    num_decoder_layers: int = 6  # blocks of the decoder
    num_attention_heads: int = 8  # heads (H); transformers: num_heads
    head_dim: int = 64  # width of a head (D), free of hidden_size; transformers: d_kv
    intermediate_size: int = 2048  # inner width of the feed-forward; transformers: d_ff
    relative_attention_num_buckets: int = 32  # rows of the table of distances
    relative_attention_max_distance: int = 128  # from here on all distances share a bucket
    rms_norm_eps: float = 1e-6  # inside the root of every norm; transformers: layer_norm_epsilon
    feed_forward_proj: str = "relu"  # or "gated-gelu" (T5 1.1)
    tie_word_embeddings: bool = True  # head = embedding, and its input scaled; False in T5 1.1

    def __post_init__(self) -> None:
        if self.feed_forward_proj not in (kinds := ("relu", "gated-gelu")):
            raise unknown("feed_forward_proj", self.feed_forward_proj, kinds)
        buckets, most = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4 or buckets % 2 or buckets // 2 >= most:
            raise WrongCall(
                f"relative_attention_num_buckets is {buckets}; give an even number from 4 to "
                f"{2 * most - 2} (twice relative_attention_max_distance, less two)."
            )


def relative_buckets(distance: Tensor, buckets: int, most: int, both_ways: bool) -> Tensor:
    """The row of the distance table for each key position - query position (any shape, int64).

    Half of the rows of a direction are exact distances, the others grow as powers; from distance
    `most` on all share the last. Causal attention spends no rows on the future.

    >>> relative_buckets(torch.tensor([0, -1, -2, -4, -8, -99, 5]), 8, 16, both_ways=False)
    tensor([0, 1, 2, 4, 6, 7, 0])
    >>> relative_buckets(torch.tensor([0, -1, -2, -99, 1, 2, 99]), 8, 16, both_ways=True)
    tensor([0, 1, 2, 3, 5, 6, 7])
    """
    rows = buckets // 2 if both_ways else buckets
    offset = (distance > 0) * rows if both_ways else torch.zeros_like(distance)
    distance, exact = distance.abs() if both_ways else (-distance).clamp(min=0), rows // 2
    ratio = distance.clamp(min=exact).float() / exact  # the clamp keeps log(0) away
    grown = exact + (ratio.log() / math.log(most / exact) * (rows - exact)).long()
    return offset + torch.where(distance < exact, distance, grown.clamp(max=rows - 1))


class BiasedAttention(nn.Module):
    """softmax(q kᵀ + bias) v, projected: q from x, k and v from memory, or from x too; (B, T, E).
    The bias, (1 or B, 1 or H, 1 or T, S), is -inf where a query may not look."""

    def __init__(self, config: Seq2SeqConfig, has_table: bool = False) -> None:
        super().__init__()
        hidden, self.heads = config.hidden_size, config.num_attention_heads
        inner, rows = self.heads * config.head_dim, config.relative_attention_num_buckets
        self.q, self.k, self.v = (Linear(hidden, inner, bias=False) for _ in range(3))
        self.o = Linear(inner, hidden, bias=False)
        self.relative_attention_bias = nn.Embedding(rows, self.heads) if has_table else None

    def forward(self, x_BTE: Tensor, bias: Tensor, memory_BSE: Tensor | None = None) -> Tensor:
        memory_BSE = x_BTE if memory_BSE is None else memory_BSE
        q_BHTD, k_BHSD, v_BHSD = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q(x_BTE), self.k(memory_BSE), self.v(memory_BSE))
        )
        out = F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=bias, scale=1.0)
        return self.o(out.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """wo(relu(wi(x))), or gated wo(gelu(wi_0(x)) · wi_1(x)) with GELU's tanh form; no biases."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.gated = config.feed_forward_proj == "gated-gelu"
        for name in ("wi_0", "wi_1") if self.gated else ("wi",):
            self.add_module(name, Linear(config.hidden_size, config.intermediate_size, False))
        self.wo = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.get_submodule("wi_0" if self.gated else "wi")(x)
        if self.gated:
            return self.wo(F.gelu(wide, approximate="tanh") * self.get_submodule("wi_1")(x))
        return self.wo(F.relu(wide))


class Branch(nn.Module):
    """x + part(norm(x), *context[name]): one pre-norm branch; the name is transformers'."""

    def __init__(self, name: str, part: nn.Module, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, part)
        self.layer_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x_BTE: Tensor, context: dict[str, tuple[Tensor, ...]]) -> Tensor:
        return x_BTE + getattr(self, self.name)(self.layer_norm(x_BTE), *context[self.name])


class Stack(nn.Module):
    """Ids (B, T) to normed hidden states (B, T, E): the encoder, or the decoder over a memory."""

    def __init__(self, config: Seq2SeqConfig, embedding: nn.Embedding, decodes: bool) -> None:
        super().__init__()
        most = config.relative_attention_max_distance
        self.distances = (config.relative_attention_num_buckets, most, not decodes)
        self.embed_tokens = embedding
        self.block = nn.ModuleList()
        for i in range(config.num_decoder_layers if decodes else config.num_hidden_layers):
            parts: dict[str, nn.Module] = {"SelfAttention": BiasedAttention(config, i == 0)}
            if decodes:
                parts["EncDecAttention"] = BiasedAttention(config)
            parts["DenseReluDense"] = FeedForward(config)
            layers = nn.ModuleList(Branch(name, part, config) for name, part in parts.items())
            self.block.append(nn.ModuleDict({"layer": layers}))
        self.final_layer_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids_BT: Tensor, allowed: Tensor, *cross: Tensor) -> Tensor:
        """`cross`: the mask's bias over the memory, (B, 1, 1, S), and the memory, (B, S, E)."""
        table = self.get_submodule("block.0.layer.0.SelfAttention.relative_attention_bias")
        place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        row_TT = relative_buckets(place_T[None, :] - place_T[:, None], *self.distances)
        bias = table(row_TT).permute(2, 0, 1)[None].masked_fill(~allowed, -math.inf)
        context = {"SelfAttention": (bias,), "EncDecAttention": cross, "DenseReluDense": ()}
        x_BTE = self.embed_tokens(ids_BT)
        for block in self.block:
            for layer in block.get_submodule("layer").children():
                x_BTE = layer(x_BTE, context)
        return self.final_layer_norm(x_BTE)


class EncoderDecoder(nn.Module):
    """`logits_BTV = model(source_BS, target_BT, real_BS)`. `seed=None` leaves it unwritten."""

    def __init__(self, config: Seq2SeqConfig, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        device = torch.get_default_device()
        with torch.device("meta"):  # no memory yet, and no draw from torch's global generator
            self.shared = nn.Embedding(config.vocab_size, config.hidden_size)
            self.encoder = Stack(config, self.shared, decodes=False)
            self.decoder = Stack(config, self.shared, decodes=True)
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if device.type != "meta":
            self.to_empty(device=device)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.shared.weight
        if seed is not None and device.type != "meta":
            self.reset_parameters(seed)

    def forward(
        self, source_BS: Tensor, target_BT: Tensor, real_BS: Tensor | None = None
    ) -> Tensor:
        """Scores (B, T, V) of what follows each target token. `real_BS` is False at padding, which
        no token sees; padding at the end of the target needs no mask, as nothing looks ahead."""
        seen = padding_mask(source_BS, real_BS)
        memory_BSE = self.encoder(source_BS, seen)
        bias = torch.zeros_like(seen, dtype=memory_BSE.dtype).masked_fill(~seen, -math.inf)
        time, scale = target_BT.shape[1], self.config.hidden_size**-0.5
        x_BTE = self.decoder(target_BT, causal_mask(time, time, bias.device), bias, memory_BSE)
        return self.lm_head(x_BTE * scale if self.config.tie_word_embeddings else x_BTE)

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Gains 1, embedding N(0, 1), q N(0, 1/(E·D)), distances N(0, 1/E), rest N(0, 1/inputs)."""
        generator = torch.Generator("cpu").manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
                continue
            inputs = self.config.hidden_size if "_bias." in name else parameter.shape[1]
            inputs *= self.config.head_dim if name.endswith(".q.weight") else 1
            drawn = torch.empty(parameter.shape, device="cpu").normal_(generator=generator)
            parameter.copy_(drawn if name == "shared.weight" else drawn * inputs**-0.5)
