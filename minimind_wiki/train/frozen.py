"""A frozen model with small parts in place of some of its layers: what all methods share that train
few parameters instead of all.

A layer is found by its name and replaced by a module that holds it. What learns is what still asks
for a gradient; `trained_tensors` are the few megabytes that such a run has to save.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model.linear import Linear

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What "all" means: every matrix of attention and feed-forward, and neither head nor router."""


def layers_named(model: nn.Module, targets: str = "all") -> dict[str, nn.Linear]:
    """The linear layers that one of the comma-separated targets names, by their full name: plain
    ones, and the modules of this package that stand for one (`weight`, `bias`, `in_features` …).

    A target is the end of a name, from a dot on: "q_proj", "mlp.down_proj", "layers.3.mlp.up_proj".
    That is PEFT's rule. Raises WrongCall for a target that no layer has, and for an output head
    that shares its weight with the embedding, as a change of one would be a change of both.

    >>> from minimind_wiki.model import Transformer, preset
    >>> list(layers_named(Transformer(preset("nano")), "layers.1.self_attn.q_proj, mlp.up_proj"))
    ['model.layers.0.mlp.up_proj', 'model.layers.1.self_attn.q_proj', 'model.layers.1.mlp.up_proj']
    """
    linear = {
        name: cast(nn.Linear, module)
        for name, module in model.named_modules()
        if hasattr(module, "in_features") and not name.endswith(".base")
    }
    asked = [target.strip() for target in targets.split(",")]
    ends = [*PROJECTIONS] if targets == "all" else asked
    found: dict[str, nn.Linear] = {}
    for end in ends:
        hits = {n: m for n, m in linear.items() if n == end or n.endswith("." + end)}
        if not hits and targets != "all":
            raise unknown("layer", end, {name.rsplit(".", 1)[-1] for name in linear})
        found |= hits
    if not found:
        raise WrongCall("the model has none of the projections; name the layers to change.")
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for name, module in found.items():
        if isinstance(module, nn.Linear) and id(module.weight) in tied:
            raise WrongCall(
                f"{name} shares its weight with the embedding; leave it out of the layers, or use "
                "a model with tie_word_embeddings=False."
            )
    return {name: module for name, module in linear.items() if name in found}  # the model's order


def swap(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place called `name`, in the mode (train or eval) of what was there."""
    module.train(model.get_submodule(name).training)
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def plain_layer(weight_OI: Tensor, bias_O: Tensor | None) -> Linear:
    """A frozen layer with copies of these."""
    outputs, inputs = weight_OI.shape
    with torch.device("meta"):  # no memory for a start that is replaced at once
        layer = Linear(inputs, outputs, bias=bias_O is not None)
    layer.weight = nn.Parameter(weight_OI.detach().clone(), requires_grad=False)
    if bias_O is not None:
        layer.bias = nn.Parameter(bias_O.detach().clone(), requires_grad=False)
    return layer


def freeze(model: nn.Module) -> None:
    """No parameter asks for a gradient any more."""
    model.requires_grad_(False)


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that ask for a gradient, by name, detached: what a run has to save."""
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def trainable_share(model: nn.Module) -> float:
    """Share of the model's numbers that learn; packed weights (`quantized.py`) are not counted.

    >>> layer = nn.Linear(3, 1)
    >>> _ = layer.weight.requires_grad_(False)
    >>> trainable_share(layer)  # 1 bias, 3 weights
    0.25
    """
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, learns in sizes if learns) / max(1, sum(n for n, _ in sizes))
