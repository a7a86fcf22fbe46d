"""Reading the files of a model folder, with errors that name the file and the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minimind_wiki.errors import MinimindError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MinimindError(f"{file} is missing; a model folder needs it.") from None
    except (ValueError, OSError) as error:
        raise MinimindError(f"{file} is not readable as JSON ({error}); copy it again.") from error
    if not isinstance(content, dict):
        raise MinimindError(f"{file} holds no JSON object; copy it again.")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors, or of the shards that its index names."""
    names = [WEIGHTS]
    if not (path / WEIGHTS).exists() and (path / INDEX).exists():
        named = set(read_json(path / INDEX)["weight_map"].values())
        names = sorted(Path(name).name for name in named)  # .name: never leave the folder
    tensors: dict[str, Tensor] = {}
    for name in names:
        file = path / name
        if not file.exists():
            others = sorted(p.name for p in path.glob("*.bin"))
            hint = (
                f"{others[0]} is a pickle, which this package does not open; save the model as "
                "safetensors"
                if others
                else "copy the folder again"
            )
            raise MinimindError(f"{file} is missing; {hint}.")
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise MinimindError(
                f"{file} is damaged or cut short ({file.stat().st_size:,} bytes: {error}); "
                "copy it again or save the model again."
            ) from error
    return tensors


def check_tensors(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Compare names and shapes; name the first that differ."""
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        parts = [
            f"{what} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" * (len(names) > 3))
            for what, names in (("lacks", missing), ("has besides", extra))
            if names
        ]
        raise MinimindError(
            f"the weights in {path} do not belong to its config.json: the file "
            f"{'; it '.join(parts)}. Use the config.json that was saved with these weights."
        )
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise MinimindError(
                f"{name} in {path} has shape {tuple(found[name].shape)}, but config.json asks for "
                f"{tuple(tensor.shape)}; use the config.json that was saved with these weights."
            )
