"""Counts what a piece of code gives to the network, collective by collective.

Torch sends through operators as any other, so a dispatch mode sees each of them with its tensors
(as torch's own CommDebugMode, which counts calls and not bytes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

# The operator's name in torch, and the argument whose size is that of the whole payload: what goes
# in for a reduction, what comes out of a gathering.
OPERATORS = {
    "c10d::allreduce_": ("all_reduce", 0),
    "c10d::_allgather_base_": ("all_gather", 0),
    "c10d::_reduce_scatter_base_": ("reduce_scatter", 1),
    "_c10d_functional::all_reduce": ("all_reduce", 0),
    "_c10d_functional::all_reduce_": ("all_reduce", 0),
    "_c10d_functional::reduce_scatter_tensor": ("reduce_scatter", 0),
}


class Traffic(TorchDispatchMode):
    """Inside `with Traffic() as traffic`: `traffic.payload` in bytes, `traffic.calls` in number.

    A collective on one number or two (a loss, a flag) is counted as `small`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.payload: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # come back with the pieces
        name = func._schema.name
        if name in OPERATORS:
            kind, place = OPERATORS[name]
            given = args[place]
            tensors: Sequence[Tensor] = [given] if isinstance(given, Tensor) else given
            size = sum(tensor.nbytes for tensor in tensors)
            kind = kind if size > 16 else "small"
            self.payload[kind] += size
            self.calls[kind] += 1
        return func(*args, **(kwargs or {}))
