"""What a run trains that no plain model has: adapters in its layers, and a method's own head.

A checkpoint keeps these tensors beside the model, as method.safetensors. Its model is plain, with
the adapters merged into the weights and without the head, so that anything reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.frozen import trainable_share
from minimind_wiki.train.lora import LoraConfig
from minimind_wiki.train.lora_model import add_adapter, lora_layers, merged
from minimind_wiki.train.quantized import quantize_layers

EXTRA = "method.safetensors"
HEAD = "extra"  # the name under which a method's head hangs on the model


def adapt(model: Transformer, config: TrainConfig) -> str:
    """Give the model the adapters that the run trains; returns the line to tell."""
    if config.quantize:
        quantize_layers(model, config.lora_targets)
    lora = LoraConfig(config.lora_targets, config.lora_rank, config.lora_alpha, config.rslora,
                      config.lora_dropout)  # fmt: skip
    layers = add_adapter(model, lora, seed=config.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    beside = " beside weights of four bits" if config.quantize else ""
    return (f"LoRA: rank {lora.rank} in {len(layers)} layers{beside}; {trained:,} numbers are "
            f"trained, {trainable_share(model):.1%} of all that are not packed.")  # fmt: skip


def attach(model: Transformer, head: nn.Module) -> None:
    """Make the head a part of the model, to be optimized, clipped and saved with it."""
    device = next(model.parameters()).device
    model.add_module(HEAD, head.to(device))


@contextmanager
def plain(model: Transformer) -> Iterator[Transformer]:
    """Inside, the model is one that any program reads: adapters merged, without a head."""
    head = model._modules.pop(HEAD, None)
    try:
        with merged(model) if lora_layers(model) else nullcontext():
            yield model
    finally:
        if head is not None:
            model.add_module(HEAD, head)


def extra_tensors(model: Transformer) -> dict[str, Tensor]:
    """The tensors that `plain` leaves out, by name; what an adapted layer was before is not one."""
    with plain(model):
        known = set(model.state_dict())
    state = model.state_dict().items()
    return {n: t.detach() for n, t in state if n not in known and ".base." not in n}


def save_extra(folder: Path, model: Transformer) -> None:
    """Write method.safetensors, if there is something to write."""
    if tensors := extra_tensors(model):
        save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, folder / EXTRA)


@torch.no_grad()
def load_extra(folder: Path, model: Transformer) -> None:
    """Put back what `save_extra` wrote. KeyError or RuntimeError if it is of another model."""
    mine = extra_tensors(model)
    stored = load_file(folder / EXTRA) if mine else {}
    if mine.keys() != stored.keys():
        raise KeyError(f"{EXTRA} and this run name different tensors: "
                       f"{sorted(mine.keys() ^ stored.keys())[:3]}")  # fmt: skip
    for name, tensor in mine.items():
        tensor.copy_(stored[name])


def restore(folder: Path, model: Transformer) -> None:
    """Give the model the weights of a checkpoint, and what the method added to them."""
    if not lora_layers(model):  # else the folder's weights have them merged in
        found = load_model_folder(folder, next(model.parameters()).device)[0].state_dict()
        with plain(model):
            model.load_state_dict(found)
    load_extra(folder, model)
