"""The decoder: embed the tokens, run the blocks, norm, and score every next token.

Initial weights (one generator on the CPU, so that a seed means the same model on every device):

| tensor | start |
|---|---|
| embeddings, q, k, v, gate, up, router, head | N(0, 0.02²) (`initializer_range`) |
| o_proj and down_proj, which write to the residual stream | N(0, (0.02 / sqrt(2 · layers))²) |
| norm gains; norm biases and linear biases | 1; 0 |

The smaller start of the second row (Radford et al. 2019) keeps the stream's size independent of
depth: 2 · layers branches add to it. `scale_residual_init=False` switches it off, as in MiniMind.

Shapes: B batch, T time, D hidden, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.block import Block, make_norm
from minimind_wiki.model.cache import RowCache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.masks import positions_in
from minimind_wiki.model.pages import PagedCache
from minimind_wiki.model.positions import sinusoidal
from minimind_wiki.model.rope_scaling import RotaryTables
from minimind_wiki.model.views import layer_views, paged_views, placed_views

RESIDUAL_WRITERS = ("o_proj.weight", "down_proj.weight")


class Decoder(nn.Module):
    """Token ids (B, T) to hidden states (B, T, D), the last norm included."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.attention_backend = "auto"  # how attention is computed; see `views.BACKENDS`
        hidden, learned = config.hidden_size, config.positions == "learned"
        self.embed_tokens = nn.Embedding(config.vocab_size, hidden)
        self.embed_positions = (
            nn.Embedding(config.max_position_embeddings, hidden) if learned else None
        )
        self.rotary = RotaryTables(config) if config.positions == "rotary" else None
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.norm = make_norm(config)

    def forward(
        self,
        ids_BT: Tensor,
        cache: RowCache | PagedCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        if isinstance(cache, PagedCache):
            return self.flat(ids_BT, cache)
        start = 0 if cache is None else cache.length
        stop = start + ids_BT.shape[-1]
        self._check(ids_BT, stop, cache, documents_BT)
        x_BTD = self._embed(ids_BT, start, documents_BT)
        # Rotary positions need not begin anew in each document: they only enter as differences,
        # and the mask leaves none between documents.
        late = cache is not None and cache.turns_late
        rope = None if self.rotary is None else self.rotary(0 if late else start, stop)
        if cache is None or cache.whole:
            views = layer_views(self.config, ids_BT, start, documents_BT, self.attention_backend)
        else:
            views = placed_views(self.config, ids_BT, cache, self.attention_backend)
        for layer, view in zip(self.layers, views, strict=True):
            x_BTD = layer(x_BTD, rope, cache, view)
        if cache is not None:
            cache.advance(ids_BT.shape[1])
        return self.norm(x_BTD)

    def flat(self, ids_1T: Tensor, cache: PagedCache) -> Tensor:
        """New tokens of many requests in one row, as `cache.lay` made it; (1, T, D)."""
        x_1TD = self._embed(ids_1T, place=cache.place_T)
        rope = None if self.rotary is None else self.rotary.at(cache.place_T)
        views = paged_views(self.config, cache.parts)
        for layer, view in zip(self.layers, views, strict=True):
            x_1TD = layer(x_1TD, rope, cache, view)
        return self.norm(x_1TD)

    def _embed(
        self, ids_BT: Tensor, start: int = 0, documents_BT: Tensor | None = None,
        place: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Token embeddings, with what absolute positions add; they begin anew in each document."""
        x_BTD = self.embed_tokens(ids_BT)
        if self.config.positions not in ("learned", "sinusoidal"):
            return x_BTD
        if documents_BT is not None:
            place = positions_in(documents_BT)
        elif place is None:
            place = torch.arange(start, start + ids_BT.shape[1], device=ids_BT.device)
        if self.embed_positions is not None:
            return x_BTD + self.embed_positions(place).to(x_BTD.dtype)
        # sines of size 1 would drown embeddings that start at 0.02: sqrt(D), as in the paper
        hidden = self.config.hidden_size
        return x_BTD * math.sqrt(hidden) + sinusoidal(place, hidden).to(x_BTD.dtype)

    def _check(
        self, ids_BT: Tensor, stop: int, cache: RowCache | None, documents_BT: Tensor | None
    ) -> None:
        config = self.config
        if ids_BT.dim() != 2:
            raise WrongCall(
                f"token ids have shape {tuple(ids_BT.shape)}; give (batch, time), for one sequence "
                "ids[None]."
            )
        if stop > config.max_position_embeddings:
            raise WrongCall(
                f"{stop} tokens are more than max_position_embeddings "
                f"{config.max_position_embeddings}; shorten the text."
            )
        if documents_BT is None:
            return
        if cache is not None:
            raise WrongCall("packed rows have no cache: give documents or a cache, not both.")
        if documents_BT.shape != ids_BT.shape:
            raise WrongCall(
                f"documents have shape {tuple(documents_BT.shape)} and token ids "
                f"{tuple(ids_BT.shape)}; give the number of a document for each token."
            )
        if config.rope_type == "dynamic" and stop > config.rope_original_positions:
            raise WrongCall(
                "rope_type 'dynamic' turns by the length of a text, and packed rows hold several; "
                f"give rows of at most {config.rope_original_positions} tokens, or no documents."
            )


class Transformer(nn.Module):
    """A causal language model. `logits_BTV = model(ids_BT)`; `state_dict` has transformers' names.

    With `seed=None` the weights are left unwritten, for a caller who loads them. Built inside
    `with torch.device("meta")` it has shapes and no memory.
    """

    def __init__(self, config: ModelConfig, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        device = torch.get_default_device()
        with torch.device("meta"):  # no memory yet, and no draw from torch's global generator
            self.model = Decoder(config)
            self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if device.type != "meta":
            self.to_empty(device=device)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        if seed is not None and device.type != "meta":
            self.reset_parameters(seed)

    def forward(
        self,
        ids_BT: Tensor,
        cache: RowCache | PagedCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Scores of the next token at every position, (B, T, V).

        With a cache, the ids continue the tokens that it holds, and are added to it; with a
        `PagedCache` they are the row of many requests that its `lay` returned. In packed
        rows `documents_BT` numbers the document of each token (see `minimind_wiki.data.packing`),
        and no token sees another document. Raises WrongCall if the shape is not (B, T), the
        sequence is too long for the model, or both a cache and documents are given.
        """
        return self.lm_head(self.model(ids_BT, cache, documents_BT))

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Write the initial weights of the table above."""
        config = self.config
        generator = torch.Generator("cpu").manual_seed(seed)
        shrink = math.sqrt(2 * config.num_hidden_layers) if config.scale_residual_init else 1.0
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            std = config.initializer_range
            if name.endswith(RESIDUAL_WRITERS):
                std = std / shrink
            drawn = torch.empty(parameter.shape, device="cpu").normal_(0, std, generator=generator)
            parameter.copy_(drawn)
        for name, buffer in self.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.zero_()

    def num_parameters(self) -> int:
        """Parameters, with tied weights counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but the experts that it does not visit."""
        config = self.config
        idle = max(0, config.num_experts - config.num_experts_per_tok)
        expert = 3 * config.hidden_size * config.intermediate_size
        layers = sum(config.has_experts(layer) for layer in range(config.num_hidden_layers))
        return self.num_parameters() - layers * idle * expert
