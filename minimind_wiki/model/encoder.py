"""An encoder: every token sees the whole text, and the model fills in what was hidden.

The layout is BERT's (Devlin et al. 2019, arXiv:1810.04805): learned positions and segments, GELU,
and the norm *after* each sum (post-norm, as in Vaswani et al. 2017), so that the residual stream
itself is normalized. Names in `state_dict` are those of transformers' `BertForMaskedLM`. There is
no dropout, as in the decoder of `transformer`.

Shapes: B batch, T time, S key positions (here T), D hidden, V vocabulary, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.attention import fused_causal_attention
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.norm import LayerNorm


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Everything that decides the shape of an encoder; the defaults are BERT-base's."""

    vocab_size: int = 30522  # rows of the token embedding
    hidden_size: int = 768  # width of the residual stream (D)
    num_hidden_layers: int = 12  # blocks
    num_attention_heads: int = 12  # heads (H), each hidden_size / H wide
    intermediate_size: int = 3072  # inner width of the feed-forward
    max_position_embeddings: int = 512  # the longest text, in tokens
    type_vocab_size: int = 2  # segments of a text (BERT: first and second sentence)
    layer_norm_eps: float = 1e-12  # inside the root of every norm
    initializer_range: float = 0.02  # standard deviation of the initial weights
    pad_token_id: int = 0  # fills a row; looking it up teaches its embedding nothing

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise WrongCall(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}; change one of them."
            )


def padding_mask(ids_BS: Tensor, real_BS: Tensor | None) -> Tensor:
    """True where any query may look: at the tokens that are real; (B, 1, 1, S) bool.

    `real_BS` is bool, None where there is no padding. A row of padding alone sees all of itself,
    so that no softmax is empty. Raises WrongCall where the shapes do not fit.

    >>> padding_mask(torch.zeros(2, 3), torch.tensor([[1, 1, 0], [0, 0, 0]]).bool())[:, 0, 0].int()
    tensor([[1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    real_BS = torch.ones_like(ids_BS, dtype=torch.bool) if real_BS is None else real_BS
    if ids_BS.dim() != 2 or real_BS.shape != ids_BS.shape or real_BS.dtype != torch.bool:
        raise WrongCall(
            f"token ids have shape {tuple(ids_BS.shape)} and real has {tuple(real_BS.shape)}, "
            f"{real_BS.dtype}; give ids (batch, time) and a bool for each (ids != pad_token_id)."
        )
    return (real_BS | ~real_BS.any(dim=1, keepdim=True))[:, None, None]


class Embeddings(nn.Module):
    """Token + position + segment, then a norm; ids (B, T) to (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, pad = config.hidden_size, config.pad_token_id
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden, padding_idx=pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        self.LayerNorm = LayerNorm(hidden, config.layer_norm_eps)

    def forward(self, ids_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
        time, room = ids_BT.shape[1], self.position_embeddings.num_embeddings
        if time > room:
            raise WrongCall(f"{time} tokens are more than the {room} positions; shorten the text.")
        segments_BT = torch.zeros_like(ids_BT) if segments_BT is None else segments_BT
        x_BTD = self.word_embeddings(ids_BT) + self.token_type_embeddings(segments_BT)
        return self.LayerNorm(x_BTD + self.position_embeddings.weight[:time])


class SelfAttention(nn.Module):
    """Each position's mix of all real ones, before the output projection; (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query = Linear(config.hidden_size, config.hidden_size)
        self.key = Linear(config.hidden_size, config.hidden_size)
        self.value = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTD: Tensor, allowed: Tensor) -> Tensor:
        q_BHTD, k_BHTD, v_BHTD = (
            project(x_BTD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        # `allowed` takes the causal mask's place: the decoder's kernel, looking both ways
        return fused_causal_attention(q_BHTD, k_BHTD, v_BHTD, allowed).transpose(1, 2).flatten(2)


class AddNorm(nn.Module):
    """norm(residual + dense(x)): how both branches of a post-norm block end."""

    def __init__(self, size: int, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = Linear(size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, residual_BTD: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual_BTD)


class EncoderBlock(nn.Module):
    """Attention, then the feed-forward, each added and normed; (B, T, D) in and out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        mix, end = SelfAttention(config), AddNorm(config.hidden_size, config)
        wide = Linear(config.hidden_size, config.intermediate_size)
        self.attention = nn.ModuleDict({"self": mix, "output": end})
        self.intermediate = nn.ModuleDict({"dense": wide})
        self.output = AddNorm(config.intermediate_size, config)

    def forward(self, x_BTD: Tensor, allowed: Tensor) -> Tensor:
        x_BTD = self.attention["output"](self.attention["self"](x_BTD, allowed), x_BTD)
        return self.output(F.gelu(self.intermediate["dense"](x_BTD)), x_BTD)  # exact GELU, not tanh


class Encoder(nn.Module):
    """Token ids (B, T) to hidden states (B, T, D); transformers' `BertModel` without pooler."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        blocks = (EncoderBlock(config) for _ in range(config.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(blocks)})

    def forward(self, ids_BT: Tensor, real_BT: Tensor | None, segments_BT: Tensor | None) -> Tensor:
        allowed = padding_mask(ids_BT, real_BT)
        x_BTD = self.embeddings(ids_BT, segments_BT)
        for block in self.encoder["layer"].children():
            x_BTD = block(x_BTD, allowed)
        return x_BTD


class Predictions(nn.Module):
    """The masked-language-model head: dense, GELU, norm, then the token embedding and a bias."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        dense, norm = Linear(hidden, hidden), LayerNorm(hidden, config.layer_norm_eps)
        self.transform = nn.ModuleDict({"dense": dense, "LayerNorm": norm})
        self.decoder = Linear(hidden, config.vocab_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.decoder(self.transform["LayerNorm"](F.gelu(self.transform["dense"](x_BTD))))


class MaskedLM(nn.Module):
    """`logits_BTV = model(ids_BT)`: which token belongs at each place. `seed=None`: unwritten."""

    def __init__(self, config: EncoderConfig, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        device = torch.get_default_device()
        with torch.device("meta"):  # no memory yet, and no draw from torch's global generator
            self.bert = Encoder(config)
            head = Predictions(config)
            self.cls = nn.ModuleDict({"predictions": head})
        if device.type != "meta":
            self.to_empty(device=device)
        head.decoder.weight = self.bert.embeddings.word_embeddings.weight
        head.decoder.bias = head.bias
        if seed is not None and device.type != "meta":
            self.reset_parameters(seed)

    def forward(
        self, ids_BT: Tensor, real_BT: Tensor | None = None, segments_BT: Tensor | None = None
    ) -> Tensor:
        """Scores (B, T, V). `real_BT` is False at padding, which no token sees; segments are 0."""
        return self.cls["predictions"](self.bert(ids_BT, real_BT, segments_BT))

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Matrices N(0, initializer_range²), gains one; biases and the padding's row zero."""
        generator = torch.Generator("cpu").manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            drawn = torch.empty(parameter.shape, device="cpu")
            parameter.copy_(drawn.normal_(0, self.config.initializer_range, generator=generator))
        self.bert.embeddings.word_embeddings.weight[self.config.pad_token_id] = 0
