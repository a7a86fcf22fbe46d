"""A model or an adapter for the page's engine: the files that `bundle.py` describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.errors import unknown
from minimind_wiki.infer.adapter import StoredAdapter
from minimind_wiki.infer.export.bundle import (
    ADAPTER,
    FILE,
    adapter_file,
    model_file,
    read_bundle,
    sha256,
)
from minimind_wiki.infer.export.place import whole_folder
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.model import Transformer

__all__ = ["ADAPTER", "FILE", "export_adapter", "export_browser", "read_bundle"]


def export_browser(model: Transformer, tokenizer: Any, out: str | Path, kind: str = "int8") -> Path:
    """Write the folder `out`; return the path."""
    if kind != "int8":
        raise unknown("type", kind, ["int8"])
    with whole_folder(out, mark=FILE) as fresh:
        tokenizer.save(fresh)
        beside = {file.name: sha256(file.read_bytes()) for file in sorted(fresh.iterdir())}
        written = model_file(config_to_hub(model.config), _in_reading_order(model), beside)
        (fresh / FILE).write_bytes(written)
    return Path(out)


def export_adapter(adapter: StoredAdapter, bundle: str | Path, out: str | Path) -> Path:
    """Write the folder `out` of an adapter beside its model's `bundle`; return the path.

    MinimindError where the bundle is damaged.
    """
    header, _ = read_bundle(bundle)
    layers = {
        name: (a_RI.float().cpu().numpy(), b_OR.float().cpu().numpy())
        for name, (a_RI, b_OR) in adapter.layers.items()
    }
    with whole_folder(out, mark=ADAPTER) as fresh:
        written = adapter_file(layers, adapter.scale, header["sha256"])
        (fresh / ADAPTER).write_bytes(written)
    return Path(out)


def _in_reading_order(model: Transformer) -> Iterator[tuple[str, np.ndarray]]:
    """A module's state is in the order in which its parts were made, which is that of a pass."""
    tied = model.config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if not (tied and name == "lm_head.weight"):
            yield name, tensor.detach().float().cpu().numpy()
