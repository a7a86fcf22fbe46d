"""The bundle that the page's engine reads: int8 weights in one file, and the tokenizer beside it.

    model.bin               the file below
    tokenizer.json …        whatever tokenizer.save(folder) writes

    bytes 0–3       "MMB1"
    bytes 4–7       length H of the header, uint32, little-endian
    bytes 8–8+H     the header, JSON in UTF-8, filled with spaces so that the data begins at a
                    multiple of 64
    then            the data; every offset in the header counts from here, and is a multiple of 64

Header: `config` (config.json's content), `files` (those beside it, with their sha256), `sha256` and
`bytes` of the data, and `tensors`: name, shape, dtype, offset, and for int8 `scales`, the offset
of one float32 for each output channel. A weight is int8 · scale of its row. Vectors are float32.

Tensors stand in the order in which a pass reads them (embedding, layer after layer, last norm,
head), so that an engine can begin before all has come. A tied head is left out. The steps of a row
lie on both sides of zero alike: zero stays zero, and a product needs no second sum (Jacob et al.
2017, arXiv:1712.05877, keep an offset; Wu et al. 2020, arXiv:2004.09602, find it unneeded for
weights).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.infer.export.place import whole_folder
from minimind_wiki.infer.hub_config import config_to_hub
from minimind_wiki.model import Transformer

MAGIC, ALIGN, FILE = b"MMB1", 64, "model.bin"
STEPS = 127  # of int8, on each side


def quantize_rows(weight_OI: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 (O, I) and the scale of each row (O) float32, so that their product is near the weight.

    >>> quantize_rows(np.array([[-1.0, 0.5], [0.0, 0.0]], dtype=np.float32))[0].tolist()
    [[-127, 64], [0, 0]]
    """
    scale_O = np.abs(weight_OI).max(axis=1) / STEPS
    scale_O[scale_O == 0] = 1.0  # a row of zeros
    steps_OI = np.rint(weight_OI / scale_O[:, None]).astype(np.int8)
    return steps_OI, scale_O.astype(np.float32)


def export_browser(model: Transformer, tokenizer: Any, out: str | Path, kind: str = "int8") -> Path:
    """Write the folder `out`; return the path."""
    if kind != "int8":
        raise unknown("type", kind, ["int8"])
    data, tensors = bytearray(), []

    def put(values: np.ndarray) -> int:
        data.extend(bytes(-len(data) % ALIGN))
        offset = len(data)
        data.extend(values.tobytes())
        return offset

    for name, tensor in _in_reading_order(model):
        values = tensor.detach().float().cpu().numpy()
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape)}
        if values.ndim == 2:
            steps_OI, scale_O = quantize_rows(values)
            entry |= {"dtype": "int8", "offset": put(steps_OI), "scales": put(scale_O)}
        else:
            entry |= {"dtype": "float32", "offset": put(values)}
        tensors.append(entry)
    with whole_folder(out, mark=FILE) as fresh:
        tokenizer.save(fresh)
        beside = {file.name: _sha256(file.read_bytes()) for file in sorted(fresh.iterdir())}
        header = {
            "config": config_to_hub(model.config),
            "files": beside,
            "bytes": len(data),
            "sha256": _sha256(data),
            "tensors": tensors,
        }
        text = json.dumps(header, ensure_ascii=False).encode()
        text += b" " * (-(8 + len(text)) % ALIGN)
        head = MAGIC + len(text).to_bytes(4, "little") + text
        (fresh / FILE).write_bytes(head + data)
    return Path(out)


def read_bundle(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the weights as float32: what an engine must make of the files.

    MinimindError for a damaged file.
    """
    folder = Path(folder)
    raw = (folder / FILE).read_bytes()
    start = 8 + int.from_bytes(raw[4:8], "little")
    if raw[:4] != MAGIC or start > len(raw):
        raise MinimindError(f"{folder / FILE} is no bundle of this format; export it again.")
    header, data = json.loads(raw[8:start]), memoryview(raw)[start:]
    parts = {FILE: (header["sha256"], _sha256(data))}
    for name, wanted in header["files"].items():
        parts[name] = (wanted, _sha256((folder / Path(name).name).read_bytes()))
    for name, (wanted, found) in parts.items():
        if wanted != found:
            raise MinimindError(f"{folder / name} is damaged or cut short; export it again.")
    weights = {}
    for entry in header["tensors"]:
        shape, count = entry["shape"], int(np.prod(entry["shape"]))
        values = np.frombuffer(data, entry["dtype"], count, entry["offset"]).reshape(shape)
        if "scales" in entry:
            scale_O = np.frombuffer(data, "float32", shape[0], entry["scales"])
            values = values.astype(np.float32) * scale_O[:, None]
        weights[entry["name"]] = values
    return header, weights


def _in_reading_order(model: Transformer) -> list[tuple[str, Tensor]]:
    """A module's state is in the order in which its parts were made, which is that of a pass."""
    state = list(model.state_dict().items())
    tied = model.config.tie_word_embeddings
    return [(name, tensor) for name, tensor in state if not (tied and name == "lm_head.weight")]


def _sha256(data: bytes | bytearray | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
