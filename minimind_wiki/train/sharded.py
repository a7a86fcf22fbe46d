"""Tensors that lie in pieces, written by all processes together and read by any number of them.

Each tensor is gathered for a moment, and one process writes it whole: the tensors are dealt so that
all write about as many bytes. The result is Hugging Face's layout of large models, so a checkpoint
of a sharded run is a model folder like any other and does not know how many processes wrote it:

    model-00001-of-00002.safetensors   …   model.safetensors.index.json: which file has what

torch.distributed.checkpoint would write pieces without gathering, but its index is a pickle, which
may run code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from minimind_wiki.errors import MinimindError
from minimind_wiki.train.optim import load_optimizer_tensors
from minimind_wiki.train.parallel import Alone


def dealt(sizes: Mapping[str, int], processes: int) -> dict[str, int]:
    """Which process writes each tensor: the largest first, to whoever has least so far.

    >>> dealt({"a": 5, "b": 3, "c": 2, "d": 1}, 2)
    {'a': 0, 'b': 1, 'c': 1, 'd': 0}
    """
    load = [0] * processes
    writer = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        writer[name] = load.index(min(load))
        load[writer[name]] += sizes[name]
    return writer


def write_dealt(folder: Path, stem: str, tensors: Mapping[str, Tensor], group: Alone) -> None:
    """Write the tensors to `stem-…` files in an existing folder; all processes must call.

    All of them name the same tensors. Returns when every file is there.
    """
    writer = dealt({name: t.numel() * t.element_size() for name, t in tensors.items()}, group.size)
    names = [f"{stem}-{i + 1:05d}-of-{group.size:05d}.safetensors" for i in range(group.size)]
    mine = {}
    for name in writer:  # in the same order everywhere: gathering is done together
        whole = group.whole(tensors[name])
        if writer[name] == group.rank:
            mine[name] = whole.cpu().clone().contiguous()
    save_file(mine, folder / names[group.rank], metadata={"format": "pt"})
    if group.first:
        index = {"metadata": {}, "weight_map": {name: names[i] for name, i in writer.items()}}
        file = folder / f"{stem}.safetensors.index.json"
        file.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    group.wait()


class Dealt:
    """The tensors that `write_dealt` wrote, one at a time, so that no process holds all of them.

    One process alone writes `stem.safetensors` without an index; that is read as well.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.index = folder / f"{stem}.safetensors.index.json"
        single = folder / f"{stem}.safetensors"
        try:
            if single.exists():
                with safe_open(single, framework="pt") as opened:
                    self.files = dict.fromkeys(opened.keys(), single.name)
                return
            self.files = dict(json.loads(self.index.read_text(encoding="utf-8"))["weight_map"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise MinimindError(
                f"{self.index} is missing or damaged ({error}). Delete {folder} and resume from an "
                "older checkpoint."
            ) from error

    def whole(self, name: str) -> Tensor:
        """One tensor. MinimindError, naming the file, if it is not there or damaged."""
        file = self.folder / Path(self.files.get(name, "?")).name  # .name: never leave the folder
        try:
            with safe_open(file, framework="pt") as opened:
                return opened.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise MinimindError(
                f"{file} has no readable {name} ({error}). Delete {self.folder} and resume from an "
                "older checkpoint."
            ) from error

    def like(self, name: str, pattern: Tensor) -> Tensor:
        """The tensor, or this process's piece of it, cut and placed as `pattern` is."""
        whole = self.whole(name)
        if isinstance(pattern, DTensor) and whole.shape == pattern.shape:
            place = pattern.device_mesh
            whole = whole.to(pattern.device)
            return distribute_tensor(whole, place, pattern.placements, src_data_rank=None)
        return whole


def load_optimizer_pieces(
    folder: Path, stem: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put back what one or several processes wrote, cut as the model is now.

    KeyError when a tensor is of no parameter here.
    """
    stored, named = Dealt(folder, stem), dict(model.named_parameters())
    pieces = {name: stored.like(name, named[name.rsplit("|", 1)[0]]) for name in stored.files}
    load_optimizer_tensors(model, optimizer, pieces)
