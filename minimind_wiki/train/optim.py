"""AdamW (Loshchilov & Hutter 2019), or Muon for the matrices; weight decay on matrices only.

Decay pulls a weight towards zero. For a matrix that limits how strongly it mixes; for a norm's
gain it would switch the layer off, and an embedding row that is rarely seen would only ever shrink.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from minimind_wiki.train.muon import MuonAdamW


def decay_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the parameters with and without decay; a tied weight is counted once.

    No decay: every vector (norm gains, biases) and every embedding, also where the embedding is at
    the same time the output head.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    decayed: list[str] = []
    plain: list[str] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        skip = parameter.dim() < 2 or id(parameter) in embeddings
        (plain if skip else decayed).append(name)
    return decayed, plain


def make_adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """AdamW over both groups. The learning rate is set by the loop before each step."""
    named = dict(model.named_parameters())
    decayed, plain = decay_groups(model)
    groups = [
        {"params": [named[name] for name in decayed], "weight_decay": weight_decay},
        {"params": [named[name] for name in plain], "weight_decay": 0.0},
    ]
    cut = [isinstance(parameter, DTensor) for parameter in model.parameters()]
    fused = next(model.parameters()).device.type in ("cuda", "cpu")
    fused = fused and all(cut) == any(cut)  # the kernel does not mix whole tensors and pieces
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, fused=fused)


def make_optimizer(
    name: str,
    model: nn.Module,
    weight_decay: float,
    betas: tuple[float, float],
    dtype: torch.dtype = torch.float32,
) -> torch.optim.Optimizer:
    """`adamw`, or `muon`: the blocks' matrices by Muon, the rest by AdamW (see `muon.py`).

    `dtype` is that of Muon's products. An untied output head is a matrix, but it works on tokens
    like an embedding, and stays with AdamW.
    """
    if name == "adamw":
        return make_adamw(model, weight_decay, betas)
    named = dict(model.named_parameters())
    decayed, plain = decay_groups(model)
    matrices = [n for n in decayed if named[n].dim() == 2 and not n.startswith("lm_head")]
    others = [n for n in decayed if n not in matrices]
    groups: list[dict[str, Any]] = [
        {"params": [named[n] for n in matrices], "weight_decay": weight_decay, "muon": True},
        {"params": [named[n] for n in others], "weight_decay": weight_decay},
        {"params": [named[n] for n in plain], "weight_decay": 0.0},
    ]
    return MuonAdamW([group for group in groups if group["params"]], betas, dtype)


def optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The optimizer's state as flat named tensors, `<parameter>|<key>`, ready for safetensors.

    On a CPU these are the optimizer's own, not copies: they change with its next step.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return tensors


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` took. KeyError when a tensor is of no parameter here."""
    named = dict(model.named_parameters())
    for full, value in tensors.items():
        name, key = full.rsplit("|", 1)
        parameter = named[name]
        # only AdamW's fused CUDA kernel counts steps on the device, every other form on the CPU
        fused = parameter.device.type == "cuda" and not isinstance(optimizer, MuonAdamW)
        on_device = key != "step" or fused
        target = parameter.device if on_device else "cpu"
        optimizer.state[parameter][key] = value.to(target, copy=True)
