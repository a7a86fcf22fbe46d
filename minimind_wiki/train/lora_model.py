"""LoRA adapters of a whole model: add, switch, merge.

A model can hold several by name, of which some, one or none take part. A merged model is a plain
one again, with the base model's names, and is saved like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.train.frozen import freeze, layers_named, plain_layer, swap
from minimind_wiki.train.lora import LoraConfig, LoraLinear


def lora_layers(model: nn.Module) -> dict[str, LoraLinear]:
    """The layers that have adapters, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, LoraLinear)}


def adapters(model: nn.Module) -> list[str]:
    """The names of all adapters in the model, sorted."""
    return sorted(set(chain.from_iterable(m.settings for m in lora_layers(model).values())))


def add_adapter(
    model: nn.Module, config: LoraConfig, name: str = "default", seed: int = 0
) -> list[str]:
    """Freeze the model, give the target layers a branch called `name` and switch it on alone.

    Returns the names of the layers. Raises WrongCall if the name is taken or no name, or a target
    is no layer.
    """
    if name in adapters(model):
        raise WrongCall(f"there is already an adapter {name!r}; choose another name.")
    if not name or "." in name or hasattr(nn.ParameterDict, name):
        raise WrongCall(f"{name!r} cannot name an adapter; take a word without a dot.")
    generator = torch.Generator().manual_seed(seed)
    found = layers_named(model, config.targets)
    freeze(model)
    for path, layer in found.items():
        adapted = layer if isinstance(layer, LoraLinear) else LoraLinear(layer)
        adapted.add(name, config, generator)
        swap(model, path, adapted)
    use_adapters(model, name)
    return list(found)


def use_adapters(model: nn.Module, *names: str) -> None:
    """Switch these adapters on and all others off; without a name, all off.

    Several add up. Those that are on ask for gradients, the others do not.
    """
    for name in names:
        if name not in adapters(model):
            raise unknown("adapter", name, adapters(model))
    for layer in lora_layers(model).values():
        layer.active = tuple(name for name in dict.fromkeys(names) if name in layer.settings)
        for name in layer.settings:
            for matrix in (layer.lora_A[name], layer.lora_B[name]):
                matrix.requires_grad_(name in names)


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Inside, the model is what it was before: the reference of DPO or PPO without a second copy.

    >>> from minimind_wiki.model import Transformer, preset
    >>> model = Transformer(preset("nano"))
    >>> _ = add_adapter(model, LoraConfig("q_proj"))
    >>> with adapters_off(model):
    ...     print([layer.active for layer in lora_layers(model).values()])
    [(), ()]
    >>> [layer.active for layer in lora_layers(model).values()]
    [('default',), ('default',)]
    """
    before = {layer: layer.active for layer in lora_layers(model).values()}
    try:
        for layer in before:
            layer.active = ()
        yield
    finally:
        for layer, active in before.items():
            layer.active = active


@torch.no_grad()
def merge(model: nn.Module) -> dict[str, LoraLinear]:
    """Add the active adapters into the weights; the model is then one without adapters.

    Each adapted layer is replaced by a plain one under the base model's own names, frozen as
    before. Returns the replaced layers, which hold the old weights: `unmerge` puts them back to
    the bit; forget them, and their memory is free. Raises WrongCall without an adapter or if a
    merged weight would not be finite; nothing is replaced then.
    """
    layers, plain = lora_layers(model), {}
    if not layers:
        raise WrongCall("the model has no adapter to merge; add or load one first.")
    for path, layer in layers.items():
        weight_OI = layer.changed_weight()
        if not weight_OI.isfinite().all():
            raise WrongCall(
                f"with its adapter {path} would not be finite, so nothing was merged; use an "
                "adapter from before its training went wrong."
            )
        plain[path] = plain_layer(weight_OI, layer.bias)
    for path, module in plain.items():
        swap(model, path, module)
    return layers


def unmerge(model: nn.Module, layers: dict[str, LoraLinear]) -> None:
    """Put back the layers that `merge` returned; not by subtraction, so no rounding stays."""
    for path, layer in layers.items():
        swap(model, path, layer)


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Inside, the model is merged, to be written or measured as a plain one; after it, training
    goes on with the same parameters.
    """
    layers = merge(model)
    try:
        yield
    finally:
        unmerge(model, layers)
