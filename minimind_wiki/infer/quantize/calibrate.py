"""What the layers of a model are given to read, recorded while it reads calibration texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.quantize.gptq import hessian
from minimind_wiki.model import Transformer

ROWS = 512
"""Rows of inputs that AWQ compares outputs on."""


def batches_of(
    texts: Iterable[str], encode: Callable[[str], list[int]], begin: Sequence[int] = (),
    rows: int = 32, length: int = 256, batch: int = 8,
) -> list[Tensor]:  # fmt: skip
    """Texts one behind the other, each after the ids `begin`, cut into rows; (batch, length) each.

    It stops reading when there are `rows` of them. Raises WrongCall if the texts fill not even one.

    >>> batches_of(["ab", "cd"], lambda text: [ord(c) for c in text], [0], rows=2, length=3)
    [tensor([[  0,  97,  98],
             [  0,  99, 100]])]
    """
    ids: list[int] = []
    for text in texts:
        ids += [*begin, *encode(text)]
        if len(ids) >= rows * length:
            break
    full = min(rows, len(ids) // length)
    if not full:
        raise WrongCall(
            f"the calibration texts have {len(ids)} tokens, and a row takes {length}; give more."
        )
    return list(torch.tensor(ids[: full * length]).view(full, length).split(batch))


def block_linears(model: Transformer, block: int | None = None) -> dict[str, nn.Linear]:
    """The matrices of one block, or of all, by full name; not a router, which decides by rank."""
    start = "model.layers." + ("" if block is None else f"{block}.")
    return {
        name: module
        for name, module in model.named_modules()
        if name.startswith(start)
        and isinstance(module, nn.Linear)
        and not name.endswith((".gate", ".shared_expert_gate"))
    }


@contextmanager
def watching(layers: dict[str, nn.Linear], see: dict[str, Tensor], keep: bool) -> Iterator[None]:
    """While this lasts, `see` gathers each layer's inputs (N, I), or (not `keep`) their Hessian."""

    def hook(name: str):  # type: ignore[no-untyped-def]
        def record(module: nn.Module, args: tuple[Tensor]) -> None:
            x_NI = args[0].detach().flatten(0, -2)
            if not keep:
                found = hessian(x_NI)
                see[name] = see[name] + found if name in see else found
            else:
                see[name] = torch.cat((see[name], x_NI)) if name in see else x_NI.clone()

        return record

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def hessians(model: Transformer, block: int, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """H = xᵀ x of the inputs of each matrix of a block, by full name; 0 for an idle expert."""
    layers, found = block_linears(model, block), dict[str, Tensor]()
    with watching(layers, found, keep=False):
        for ids_BT in batches:
            model.model(ids_BT)
    return {
        name: found.get(name, torch.zeros(layer.in_features, layer.in_features))
        for name, layer in layers.items()
    }


@torch.no_grad()
def inputs(model: Transformer, batches: Iterable[Tensor], rows: int = ROWS) -> dict[str, Tensor]:
    """At most `rows` inputs (N, I) of each matrix, evenly from all of them, by full name."""
    found: dict[str, Tensor] = {}
    with watching(block_linears(model), found, keep=True):
        for ids_BT in batches:
            model.model(ids_BT)
    return {name: x_NI[:: -(-len(x_NI) // rows)].clone() for name, x_NI in found.items()}
