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
from minimind_wiki.model.attention import Lengths, document_lengths, document_mask
from minimind_wiki.model.block import Block, make_norm
from minimind_wiki.model.cache import KVCache
from minimind_wiki.model.config import ModelConfig
from minimind_wiki.model.rope import RotaryTables

RESIDUAL_WRITERS = ("o_proj.weight", "down_proj.weight")


def positions_in(documents_BT: Tensor) -> Tensor:
    """Place of each token in its own document of a packed row, (B, T) int64.

    >>> positions_in(torch.tensor([[1, 1, 2, 2, 2]]))
    tensor([[0, 1, 0, 1, 2]])
    """
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return place_T - torch.where(begins_BT, place_T, 0).cummax(dim=1).values


def apart(documents_BT: Tensor) -> Tensor | Lengths:
    """What keeps documents apart: a mask on an accelerator, on a CPU their lengths (quicker there).

    To read the lengths an accelerator would have to wait for the tensor, and a compiled graph
    would have to break.
    """
    if documents_BT.device.type == "cpu" and not torch.compiler.is_compiling():
        return document_lengths(documents_BT)
    return document_mask(documents_BT)


class Decoder(nn.Module):
    """Token ids (B, T) to hidden states (B, T, D), the last norm included."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        hidden, positions = config.hidden_size, config.max_position_embeddings
        learned = config.family == "gpt2"
        self.embed_tokens = nn.Embedding(config.vocab_size, hidden)
        self.embed_positions = nn.Embedding(positions, hidden) if learned else None
        self.rotary = (
            None if learned else RotaryTables(positions, config.head_dim, config.rope_theta)
        )
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.norm = make_norm(config)

    def forward(
        self,
        ids_BT: Tensor,
        cache: KVCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        if ids_BT.dim() != 2:
            raise WrongCall(
                f"token ids have shape {tuple(ids_BT.shape)}; give (batch, time), for one sequence "
                "ids[None]."
            )
        if documents_BT is not None and cache is not None:
            raise WrongCall("packed rows have no cache: give documents or a cache, not both.")
        start = 0 if cache is None else cache.length
        stop = start + ids_BT.shape[1]
        if stop > self.config.max_position_embeddings:
            raise WrongCall(
                f"{stop} tokens are more than max_position_embeddings "
                f"{self.config.max_position_embeddings}; shorten the text."
            )
        x_BTD = self.embed_tokens(ids_BT)
        if self.embed_positions is not None:
            if documents_BT is None:
                place_TD = self.embed_positions.weight[start:stop]
            else:
                place_TD = self.embed_positions(positions_in(documents_BT))
            x_BTD = x_BTD + place_TD.to(x_BTD.dtype)
        # Rotary positions need not begin anew in each document: they only enter as differences,
        # and the mask leaves none between documents.
        rope = None if self.rotary is None else self.rotary(start, stop)
        allowed = None if documents_BT is None else apart(documents_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, rope, cache, allowed)
        if cache is not None:
            cache.advance(ids_BT.shape[1])
        return self.norm(x_BTD)


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
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if device.type != "meta":
            self.to_empty(device=device)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        if seed is not None and device.type != "meta":
            self.reset_parameters(seed)

    def forward(
        self,
        ids_BT: Tensor,
        cache: KVCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Scores of the next token at every position, (B, T, V).

        With a cache, the ids continue the tokens that it holds, and are added to it. In packed
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

    def num_parameters(self) -> int:
        """Parameters, with tied weights counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but the experts that it does not visit."""
        config = self.config
        idle = max(0, config.num_experts - config.num_experts_per_tok)
        expert = 3 * config.hidden_size * config.intermediate_size
        return self.num_parameters() - config.num_hidden_layers * idle * expert
