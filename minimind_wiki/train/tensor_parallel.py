"""Tensor parallel: every matrix of a block is cut, and all processes work on the same rows
(Megatron-LM, Shoeybi et al. 2019, arXiv:1909.08053, section 3).

The first matrix of a branch (q, k, v; gate, up) is cut by outputs, so that each process has whole
heads, or whole inner features, of its own and nothing is sent. The second (o, down) is cut by
inputs: each process has a part of the sum, and one all-reduce completes it. Backward is the mirror
image, so a block sends four times the activations B x T x D in a step, and never a weight.

Embedding, norms and head are whole in every process: they see the same inputs and get the same
gradients. The gains of q/k-norm are the exception, as each process norms only its own heads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import ModelConfig
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.parallel import Group

BY_OUTPUTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
              "mlp.up_proj")  # fmt: skip
BY_INPUTS = ("self_attn.o_proj", "mlp.down_proj")


def check_split(config: ModelConfig, size: int) -> None:
    """WrongCall unless heads and inner features can be dealt evenly to `size` processes."""
    if config.num_experts:
        raise WrongCall("tensor parallel cuts dense blocks only; train experts with ddp or fsdp.")
    if config.positions == "alibi":
        raise WrongCall("tensor parallel has no alibi: its slopes count all heads; use fsdp.")
    for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        if getattr(config, name) % size:
            raise WrongCall(
                f"{name} is {getattr(config, name)}, which {size} processes cannot share evenly; "
                "start fewer processes, or use fsdp."
            )


def split_block(block: nn.Module, mesh: DeviceMesh) -> None:
    """Cut the matrices of one block in place; its inputs and outputs stay whole (B, T, D)."""
    names = {name for name, _ in block.named_modules()}
    plan: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in BY_OUTPUTS}
    plan |= {name: RowwiseParallel() for name in BY_INPUTS}
    parallelize_module(block, mesh, {name: how for name, how in plan.items() if name in names})
    # Wrapped once, the input gets one gradient from its two or three matrices together; left to
    # them, each would send its own: five sums backward instead of two.
    for branch in (block.self_attn, block.mlp):
        branch.register_forward_pre_hook(partial(_enter, mesh))  # type: ignore[union-attr]
    for name, parameter in block.named_parameters():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            parameter.register_hook(_summed)


def _enter(mesh: DeviceMesh, branch: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The stream as a tensor that is whole in every process, and its gradient a sum over them."""
    return (DTensor.from_local(inputs[0], mesh, [Replicate()]), *inputs[1:])


def _summed(grad: Tensor) -> Tensor:
    """The gradient of a gain that each process applied to other heads."""
    total = grad.clone()
    dist.all_reduce(total)
    return total


class Split(Group):
    """All processes read all rows; each has a part of every block."""

    kind = "tensor"
    apart = True
    writes_text = False  # a cache has room for all heads, a process has some of them

    def spread(self, loss: LossModel) -> nn.Module:
        check_split(loss.model.config, self.size)
        mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (self.size,))
        for block in loss.model.model.layers:
            split_block(block, mesh)
        return loss
