"""AdamW (Loshchilov & Hutter 2019), or Muon for the matrices; weight decay on matrices only.

Decay pulls a weight towards zero. For a matrix that limits how strongly it mixes; for a norm's
gain it would switch the layer off, and an embedding row that is rarely seen would only ever shrink.

With a base width, a rate that was found for a narrow model serves a wide one: the matrices' groups
carry a `scale`, by which the loop multiplies the learning rate. A row of a matrix sums over its
inputs. AdamW moves each weight by about the rate, in directions that agree, so that the sum moves
with the number of inputs; divided by it, it moves as in the narrow model (Yang et al. 2022,
arXiv:2203.03466, table 8; without the paper's other changes: Wortsman et al. 2023,
arXiv:2309.14322). Muon's step, of the same size, spreads over all directions, so that one input
moves the sum only with the root (Yang et al. 2023, arXiv:2310.17813).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from minimind_wiki.errors import WrongCall
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


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step: each group's is the run's times its own `scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def make_adamw(
    model: nn.Module, weight_decay: float, betas: tuple[float, float], scale: float = 1.0
) -> torch.optim.AdamW:
    """AdamW over both groups. The learning rate is set by the loop before each step.

    `scale` is base width / width. AdamW multiplies the decay with the rate, so the decay is divided
    by it: weights of all widths forget equally fast (Kosson et al. 2025, arXiv:2510.19093).
    """
    named = dict(model.named_parameters())
    decayed, plain = decay_groups(model)
    groups = [
        {"params": [named[name] for name in decayed], "weight_decay": weight_decay / scale,
         "scale": scale},
        {"params": [named[name] for name in plain], "weight_decay": 0.0},
    ]  # fmt: skip
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
    scale: float = 1.0,
) -> torch.optim.Optimizer:
    """`adamw`, or `muon`: the blocks' matrices by Muon, the rest by AdamW (see `muon.py`).

    `dtype` is that of Muon's products. An untied output head is a matrix, but it works on tokens
    like an embedding, and stays with AdamW, as does a method's head. `scale` is base width / width
    (see the module's text). `adamw8bit` keeps AdamW's state in eight bits, `paged_adamw8bit` also
    moves it to the computer's memory where a card's is full (Dettmers et al., arXiv:2110.02861).
    """
    if name == "adamw":
        return make_adamw(model, weight_decay, betas, scale)
    if name != "muon":
        return _in_eight_bits(name, make_adamw(model, weight_decay, betas, scale), betas)
    named = dict(model.named_parameters())
    decayed, plain = decay_groups(model)
    matrices = [
        n for n in decayed if named[n].dim() == 2 and not n.startswith(("lm_head", "extra"))
    ]
    others = [n for n in decayed if n not in matrices]
    groups: list[dict[str, Any]] = [
        {"params": [named[n] for n in matrices], "weight_decay": weight_decay / math.sqrt(scale),
         "scale": math.sqrt(scale), "muon": True},
        {"params": [named[n] for n in others], "weight_decay": weight_decay / scale,
         "scale": scale},
        {"params": [named[n] for n in plain], "weight_decay": 0.0},
    ]  # fmt: skip
    return MuonAdamW([group for group in groups if group["params"]], betas, dtype)


def _in_eight_bits(
    name: str, plain: torch.optim.AdamW, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """The groups of `plain` under bitsandbytes' optimizer."""
    try:
        from bitsandbytes import optim as eight_bit
    except ImportError as error:
        raise WrongCall(
            f"{name} needs bitsandbytes: pip install bitsandbytes, or take --optimizer adamw."
        ) from error
    kind = {"adamw8bit": eight_bit.AdamW8bit, "paged_adamw8bit": eight_bit.PagedAdamW8bit}[name]
    keep = ("params", "weight_decay", "scale")
    groups = [{k: group[k] for k in keep if k in group} for group in plain.param_groups]
    optimizer: torch.optim.Optimizer = kind(groups, lr=0.0, betas=betas)
    return optimizer


def optimizer_pieces(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state by `<parameter>|<key>`, in pieces where the parameter is."""
    return {
        f"{name}|{key}": torch.as_tensor(value).detach()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The same, ready for safetensors.

    On a CPU these are the optimizer's own, not copies: they change with its next step.
    """
    tensors, seen = {}, set[int]()
    for name, piece in optimizer_pieces(model, optimizer).items():
        piece = piece.cpu().contiguous()
        # a table that all parameters share (bitsandbytes) is copied: safetensors refuses the second
        tensors[name] = piece.clone() if piece.data_ptr() in seen else piece
        seen.add(piece.data_ptr())
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
        kept: Any = value.to(target, copy=True)
        if key == "step" and not isinstance(optimizer, torch.optim.AdamW | MuonAdamW):
            kept = int(value)  # bitsandbytes counts in Python
        optimizer.state[parameter][key] = kept
