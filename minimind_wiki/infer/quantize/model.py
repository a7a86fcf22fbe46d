"""A whole model in eight or four bits.

Every matrix of the blocks is rounded, by one of three methods: `round` needs no data, `gptq` and
`awq` read some text. Norms and routers stay as they are: they are small, and a router decides by
small differences. The output head, with the embedding that it may share its table with, always
gets eight bits, a scale a row: it is a large part of a small model, and its errors go straight
into the scores.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.infer.quantize.awq import awq
from minimind_wiki.infer.quantize.calibrate import block_linears, hessians, inputs
from minimind_wiki.infer.quantize.gptq import gptq
from minimind_wiki.infer.quantize.layers import Coded, QuantEmbedding, QuantLinear
from minimind_wiki.infer.quantize.round import in_groups, round_weight
from minimind_wiki.model import Transformer

METHODS = ("round", "gptq", "awq")


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a model's weights are stored."""

    bits: int = 8
    """Of the matrices of the blocks: 8 or 4."""
    group: int = 0
    """Neighbours in a row that share a scale; 0: the whole row."""
    symmetric: bool = True
    """Absmax; else zero-point."""
    method: str = "round"
    """round, gptq or awq."""

    def validate(self, model: Transformer) -> None:
        """Raise WrongCall, with the layer, if the model cannot be stored so."""
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        for name, linear in block_linears(model).items():
            try:
                in_groups(linear.weight, self.bits, self.group)
            except WrongCall as error:
                raise WrongCall(f"{name}: {error}") from None
            if self.bits == 4 and linear.in_features % 2:
                raise WrongCall(f"{name} has an odd number of inputs; use 8 bits.")


def quantize_model(
    model: Transformer,
    bits: int = 8,
    group: int = 0,
    method: str = "round",
    calibration: Sequence[Tensor] = (),
    symmetric: bool = True,
    act_order: bool = False,
) -> Transformer:
    """A copy of the model with its weights in codes, ready to use and not to train.

    `calibration` are batches of token ids, (B, T) each, for gptq and awq: some thousand tokens of
    texts like those that the model will read. `act_order` is gptq's. Raises WrongCall for what
    does not fit the model.
    """
    how = Quantization(bits, group, symmetric, method)
    if any(isinstance(module, Coded) for module in model.modules()):
        raise WrongCall("the model is quantized already; quantize the one that it was made from.")
    how.validate(model)
    if method != "round" and not calibration:
        raise WrongCall(f"{method} needs texts to calibrate with; give some batches of token ids.")
    if act_order and method != "gptq":
        raise WrongCall(f"act_order is an option of gptq, not of {method}.")
    model = copy.deepcopy(model).eval()
    if method == "awq":
        awq(model, inputs(model, calibration), bits, group, symmetric)
    for block in range(model.config.num_hidden_layers):
        # of the model as it is by now: a block makes up for the errors of those before it, too
        seen = hessians(model, block, calibration) if method == "gptq" else {}
        for name, linear in block_linears(model, block).items():
            if method == "gptq":
                rounded = gptq(linear.weight, seen[name], bits, group, symmetric,
                               act_order=act_order)  # fmt: skip
            else:
                rounded = round_weight(linear.weight, bits, group, symmetric)
            layer = empty_like(linear, how)
            layer.fill(rounded)
            if linear.bias is not None:
                layer.bias = linear.bias.detach().clone()
            put(model, name, layer)
    quantize_ends(model)
    return finish(model, how)


def quantize_ends(model: Transformer) -> None:
    """Embedding and head in eight bits; a shared table stays one table."""
    embedding, head = model.model.embed_tokens, model.lm_head
    table = QuantEmbedding(embedding.num_embeddings, embedding.embedding_dim, 8)
    last = QuantLinear(head.out_features, head.in_features, 8)
    table.fill(round_weight(embedding.weight, 8))
    last.fill(round_weight(head.weight, 8))
    put(model, "model.embed_tokens", table)
    put(model, "lm_head", last)
    tie(model)


def tie(model: Transformer) -> None:
    """Let head and embedding share one table, where the configuration says so."""
    if model.config.tie_word_embeddings:
        table, head = model.get_submodule("model.embed_tokens"), model.get_submodule("lm_head")
        head.codes, head.scales = table.codes, table.scales


def empty_like(linear: nn.Linear, how: Quantization) -> QuantLinear:
    """A layer of this shape, without its numbers."""
    return QuantLinear(linear.out_features, linear.in_features, how.bits, how.group,
                       how.symmetric, linear.bias is not None)  # fmt: skip


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place called `name`."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def finish(model: Transformer, how: Quantization) -> Transformer:
    """Nothing learns any more; and the model says how it is stored."""
    model.requires_grad_(False).eval()
    model.quantization = asdict(how)  # type: ignore[assignment]
    return model


def quantization_of(model: nn.Module) -> dict[str, Any] | None:
    """How a model's weights are stored; None where they are plain numbers."""
    about = getattr(model, "quantization", None)
    return dict(about) if isinstance(about, dict) else None


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all weights and buffers that a file would hold; a shared table counts once."""
    tensors = {t.data_ptr(): t for t in model.state_dict().values()}
    return sum(t.numel() * t.element_size() for t in tensors.values())
