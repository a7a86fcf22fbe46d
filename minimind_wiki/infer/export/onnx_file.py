"""ONNX: the model as a graph of standard operators, for onnxruntime on any machine.

One graph does both passes: the prompt with an empty cache (P = 0), then one token a step. The cache
goes in and comes out, because a graph keeps nothing. Names are those of optimum's exports.

| way | name | shape |
|---|---|---|
| in | input_ids | (B, T) int64 |
| in | past_key_values.{layer}.key and .value | (B, K, P, D) |
| out | logits | (B, T, V) |
| out | present.{layer}.key and .value | (B, K, P + T, D) |

All rows of a batch have texts of one length. B, T and P are free.

Three traps. The head is untied first: tied, it would be written as a transpose of the embedding,
and onnxruntime's quantizers skip a product without a weight of its own, in silence. A size of 0 or
1 in the example would be taken for a constant by torch.export. And which tokens an expert works on
cannot be written in a graph of fixed operators: there every expert answers every token.

Shapes: B batch, T new tokens, P tokens in the cache, K key-value heads, D head_dim, V vocabulary.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.infer.export.place import whole_file
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.attention import View
from minimind_wiki.model.masks import sees
from minimind_wiki.model.moe import MixtureOfExperts, route
from minimind_wiki.model.rope_scaling import scaled_frequencies

OPSET = 20
TYPES = ("f32", "int8")


class Passing:
    """A cache that is a value: `extend` puts the new behind the past and remembers the whole."""

    turns_late = False

    def __init__(self, past: list[Tensor]) -> None:
        self.past, self.present = past, list(past)

    def extend(self, layer: int, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        for at, new in ((2 * layer, k_BKTD), (2 * layer + 1, v_BKTD)):
            self.present[at] = torch.cat((self.past[at], new), dim=2)
        return self.present[2 * layer], self.present[2 * layer + 1]


class EveryExpert(nn.Module):
    """What `MixtureOfExperts` answers, without asking who comes: most answers are times zero."""

    def __init__(self, experts: MixtureOfExperts) -> None:
        super().__init__()
        self.of = experts

    def forward(self, x_BTD: Tensor) -> Tensor:
        of, config = self.of, self.of.config
        logits_NE = of.scores(x_BTD.flatten(0, 1))
        weight_Nk, expert_Nk = route(
            logits_NE, config.num_experts_per_tok, config.norm_topk_prob, of.e_score_correction_bias
        )
        weight_NE = torch.zeros_like(logits_NE).scatter(1, expert_Nk, weight_Nk)
        weight_BTE = weight_NE.unflatten(0, x_BTD.shape[:2])
        out_BTD = torch.zeros_like(x_BTD)
        for number, expert in enumerate(of.experts):
            out_BTD = out_BTD + weight_BTE[..., number, None] * expert(x_BTD)
        for expert in of.shared_experts:
            gate = of.shared_expert_gate
            share = 1.0 if gate is None else torch.sigmoid(gate(x_BTD))
            out_BTD = out_BTD + share * expert(x_BTD)
        return out_BTD


class Step(nn.Module):
    """The decoder as a function of ids and cache: its blocks, with places that are tensors."""

    frequency_D: Tensor

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        model = copy.deepcopy(model).float().cpu()
        self.config, self.decoder, self.head = model.config, model.model, model.lm_head
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())  # untied
        for layer in self.decoder.layers:
            if isinstance(layer.mlp, MixtureOfExperts):
                layer.mlp = EveryExpert(layer.mlp)
        frequency_D, self.factor = scaled_frequencies(model.config)
        self.register_buffer("frequency_D", frequency_D, persistent=False)
        self.eval()

    def forward(self, ids_BT: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        config, cache = self.config, Passing(past)
        start = past[0].shape[2]
        place_S = torch.arange(start + ids_BT.shape[1])
        place_T = place_S[start:]
        x_BTD = self.decoder.embed_tokens(ids_BT)
        if self.decoder.embed_positions is not None:
            x_BTD = x_BTD + self.decoder.embed_positions(place_T)
        rope = None
        if config.positions == "rotary":
            angle_TD = place_T[:, None] * self.frequency_D
            rope = (angle_TD.cos() * self.factor, angle_TD.sin() * self.factor)
        for number, layer in enumerate(self.decoder.layers):
            window, sinks = config.window(number), config.attention_sinks
            mask_TS = sees(place_T[:, None], place_S, window, sinks)
            x_BTD = layer(x_BTD, rope, cache, View(mask_TS, plain=True))
        return self.head(self.decoder.norm(x_BTD)), cache.present


def check_onnx(model: Transformer) -> None:
    """Raise MinimindError, with the reason, for a model that this graph does not compute."""
    config, reasons = model.config, []
    if config.positions in ("alibi", "sinusoidal"):
        reasons.append(f"positions {config.positions!r} are not exported")
    if config.rope_type == "dynamic":
        reasons.append("dynamic rotary scaling turns old keys anew for every length")
    if 4 * model.num_parameters() > 1_900_000_000:
        reasons.append("an ONNX file ends at 2 GB, and this model is larger in float32")
    if reasons:
        raise MinimindError(
            f"this model has no ONNX graph here: {'; '.join(reasons)}. Export with --to hf."
        )


def cache_names(config: ModelConfig, word: str) -> list[str]:
    """Names of keys and values, layer by layer; `word` is "past_key_values" or "present"."""
    layers = range(config.num_hidden_layers)
    return [f"{word}.{layer}.{kind}" for layer in layers for kind in ("key", "value")]


def export_onnx(model: Transformer, out: str | Path, kind: str = "f32") -> Path:
    """Write the graph to `out`, in float32 or with weights of "int8"; return the path.

    MinimindError as `check_onnx`, WrongCall for another kind.
    """
    if kind not in TYPES:
        raise unknown("type", kind, TYPES)
    check_onnx(model)
    config, step = model.config, Step(model)
    shape = (2, config.num_key_value_heads, 5, config.head_dim)
    past = [torch.zeros(shape) for _ in range(2 * config.num_hidden_layers)]
    batch, time, seen = (torch.export.Dim(name) for name in ("batch", "time", "past"))
    with whole_file(out) as fresh, _quietly(), torch.no_grad():
        program: Any = torch.onnx.export(
            step,
            (torch.zeros(2, 3, dtype=torch.int64), past),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", *cache_names(config, "past_key_values")],
            output_names=["logits", *cache_names(config, "present")],
            dynamic_shapes=({0: batch, 1: time}, [{0: batch, 2: seen} for _ in past]),
            verbose=False,
        )
        program.save(fresh)
        if kind == "int8":
            quantize(fresh)
    return Path(out)


def quantize(file: Path) -> None:
    """Weights of all products to int8, a scale for each output channel, in place.

    Activations are rounded to 8 bits too, each time anew ("dynamic"): of the two it costs more.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(file, file, op_types_to_quantize=["MatMul"], per_channel=True,
                     weight_type=QuantType.QInt8)  # fmt: skip


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' remarks about packages that nobody needs here."""
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
