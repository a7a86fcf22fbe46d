"""The bundle that the page's engine reads: int8 weights in one file, and the tokenizer beside it.

    model.bin               the file below; an adapter's is called adapter.bin
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

An adapter's header has `adapter` in the place of `config` and `files`: `base`, the sha256 of the
data of the model that it changes, and `rank` and `scale`; its tensors are float32, NAME.lora_A
(R, I) and NAME.lora_B (O, R), and the weight NAME becomes W + scale · B A.

Nothing here needs torch, so that the site is built without it (`scripts/site_models.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minimind_wiki.errors import MinimindError

MAGIC, ALIGN, FILE, ADAPTER = b"MMB1", 64, "model.bin", "adapter.bin"
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


class _Data:
    """Arrays behind one another, each at a multiple of ALIGN."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def put(self, values: np.ndarray) -> int:
        self.bytes.extend(bytes(-len(self.bytes) % ALIGN))
        offset = len(self.bytes)
        self.bytes.extend(values.tobytes())
        return offset

    def file(self, header: dict[str, Any]) -> bytes:
        """The whole file, with the data's length and hash in its header."""
        header = {k: v for k, v in header.items() if k != "tensors"} | {
            "bytes": len(self.bytes),
            "sha256": sha256(self.bytes),
            "tensors": header["tensors"],
        }
        text = json.dumps(header, ensure_ascii=False).encode()
        text += b" " * (-(8 + len(text)) % ALIGN)
        return MAGIC + len(text).to_bytes(4, "little") + text + bytes(self.bytes)


def model_file(
    config: dict[str, Any], tensors: Iterable[tuple[str, np.ndarray]], beside: dict[str, str]
) -> bytes:
    """model.bin of a model whose config.json, float32 tensors and files beside (name: sha256) are
    these; the tensors in the order of a pass, without a tied head."""
    data, entries = _Data(), []
    for name, values in tensors:
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape)}
        if values.ndim == 2:
            steps_OI, scale_O = quantize_rows(values)
            entry |= {"dtype": "int8", "offset": data.put(steps_OI), "scales": data.put(scale_O)}
        else:
            entry |= {"dtype": "float32", "offset": data.put(values)}
        entries.append(entry)
    return data.file({"config": config, "files": beside, "tensors": entries})


def adapter_file(
    layers: dict[str, tuple[np.ndarray, np.ndarray]], scale: float, base: str
) -> bytes:
    """adapter.bin of a LoRA, for each layer by its full name A (R, I) and B (O, R), float32.

    `base` is the sha256 of the data of its model's bundle.
    """
    data, entries = _Data(), []
    for name, (a_RI, b_OR) in layers.items():
        for letter, values in (("A", a_RI), ("B", b_OR)):
            values = np.ascontiguousarray(values, dtype=np.float32)
            entries.append(
                {"name": f"{name}.lora_{letter}", "shape": list(values.shape), "dtype": "float32",
                 "offset": data.put(values)}
            )  # fmt: skip
    rank = int(next(iter(layers.values()))[0].shape[0])
    return data.file(
        {"adapter": {"base": base, "rank": rank, "scale": float(scale)}, "tensors": entries}
    )


def read_file(file: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and weights as float32 of a model.bin or adapter.bin; MinimindError if damaged."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise MinimindError(f"{file} is missing; export it again.") from None
    start = 8 + int.from_bytes(raw[4:8], "little")
    if raw[:4] != MAGIC or start > len(raw):
        raise MinimindError(f"{file} is no bundle of this format; export it again.")
    header, data = json.loads(raw[8:start]), memoryview(raw)[start:]
    if header["sha256"] != sha256(data):
        raise _damaged(file)
    weights = {}
    for entry in header["tensors"]:
        shape, count = entry["shape"], int(np.prod(entry["shape"]))
        values = np.frombuffer(data, entry["dtype"], count, entry["offset"]).reshape(shape)
        if "scales" in entry:
            scale_O = np.frombuffer(data, "float32", shape[0], entry["scales"])
            values = values.astype(np.float32) * scale_O[:, None]
        weights[entry["name"]] = values
    return header, weights


def read_bundle(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the weights as float32: what an engine must make of a model's files.

    MinimindError for a damaged file.
    """
    folder = Path(folder)
    header, weights = read_file(folder / FILE)
    for name, wanted in header["files"].items():
        if wanted != sha256((folder / Path(name).name).read_bytes()):
            raise _damaged(folder / name)
    return header, weights


def sha256(data: bytes | bytearray | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _damaged(file: Path) -> MinimindError:
    return MinimindError(f"{file} is damaged or cut short; export it again.")
