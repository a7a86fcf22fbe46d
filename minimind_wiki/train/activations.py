"""How much memory a row needs between the forward and the backward pass, and how many rows fit.

The count is made without memory: the model runs once on fake tensors, which have shapes and no
numbers, and each tensor that autograd keeps for the backward pass is added up. So it holds for
every layout, number format and loss, and needs no formula for each.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.recompute import recompute_blocks


def kept_bytes(
    config: ModelConfig, rows: int, length: int, dtype: torch.dtype, recompute: bool, chunk: int
) -> int:
    """Bytes that autograd keeps of a forward pass over `rows` rows of `length` tokens."""
    with torch.device("meta"):
        model = LossModel(Transformer(config, seed=None), chunk)
    if recompute:
        recompute_blocks(model.model)
    sizes: dict[int, int] = {}
    alive = []  # storages are told apart by address, so none may be freed meanwhile

    def count(kept: Tensor) -> Tensor:
        storage = kept.untyped_storage()
        alive.append(storage)
        sizes[storage._cdata] = storage.nbytes()
        return kept

    hooks = torch.autograd.graph.saved_tensors_hooks(count, lambda kept: kept)
    auto = torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32)
    with FakeTensorMode():
        weights = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").requires_grad_(
                tensor.requires_grad
            )
            for part in (model.named_parameters(), model.named_buffers())
            for name, tensor in part
        }
        ids_BT = torch.zeros(rows, length, dtype=torch.int64, device="cpu")
        with hooks, auto:
            torch.func.functional_call(model, weights, (ids_BT, ids_BT))
        for weight in weights.values():  # there in any case
            sizes.pop(weight.untyped_storage()._cdata, None)
    return sum(sizes.values())


def row_bytes(
    config: ModelConfig, length: int, dtype: torch.dtype, recompute: bool = False, chunk: int = 0
) -> int:
    """Bytes that one more row of `length` tokens costs; 0 where fake tensors cannot tell.

    >>> from minimind_wiki.model import preset
    >>> round(row_bytes(preset("26m"), 512, torch.float32) / 1e6)
    188
    """
    try:
        one, two = (kept_bytes(config, n, length, dtype, recompute, chunk) for n in (1, 2))
    except RuntimeError:  # a kernel whose result depends on numbers, such as a sort by expert
        return 0
    return two - one


def free_bytes(device: torch.device) -> int:
    """Memory that the device has left, or the machine for a CPU; 0 where nothing tells."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0


def rows_that_fit(batch_size: int, row: int, free: int) -> int:
    """The largest micro-batch that divides the batch and fits nine tenths of `free`; 0 if none.

    >>> rows_that_fit(32, 10, 100), rows_that_fit(12, 10, 80), rows_that_fit(32, 10, 9)
    (8, 6, 0)
    """
    most = int(0.9 * free // max(1, row))
    return max(
        (n for n in range(1, batch_size + 1) if batch_size % n == 0 and n <= most), default=0
    )
