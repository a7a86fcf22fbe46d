"""An adapter folder in PEFT's format, read: a LoRA, and which model it belongs to.

    adapter_config.json         rank, alpha, the model's folder or name
    adapter_model.safetensors   base_model.model.<layer>.lora_A.weight (R, I), .lora_B.weight (O, R)

Such a folder is opened like a model's: what comes is its model with s · B A added to the weights,
where s is alpha / R, or alpha / √R with rank stabilization (Hu et al. 2021, arXiv:2106.09685;
Kalajdzievski 2023, arXiv:2312.03732). The model may be an adapter's folder itself.
Shapes: I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.read import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora"}
_SAYS_NOTHING = {  # of the numbers that an adapter computes
    "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "peft_version", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "megatron_core", "megatron_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying",
}  # fmt: skip
_PLAIN_START = (True, False, None, "gaussian", "orthogonal", "eva")  # others change the base too


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """What a folder holds: for each layer, by its full name, A (R, I) and B (O, R)."""

    layers: dict[str, tuple[Tensor, Tensor]]
    rank: int
    alpha: float
    rslora: bool
    dropout: float
    base: str
    """The model that it belongs to, as the folder says: a path or a hub's name; may be empty."""

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").exists()


def whole_folder(folder: Path) -> Path:
    """The folder of the whole model that is at the bottom of an adapter's; any other is its own."""
    seen = {folder.resolve()}
    while is_adapter(folder):
        folder = base_folder(folder)
        if folder.resolve() in seen:
            raise MinimindError(f"{folder / CONFIG} names itself as the model that it belongs to.")
        seen.add(folder.resolve())
    return folder


def base_folder(folder: Path) -> Path:
    """The model's folder that an adapter's folder names, from there if it is relative.

    MinimindError where it is not on this machine.
    """
    base = str(read_json(folder / CONFIG).get("base_model_name_or_path") or "")
    for place in (folder / base, Path(base)):
        if base and place.is_dir():
            return place
    raise MinimindError(
        f"{folder / CONFIG} belongs to the model {base!r}, which is not here; put its folder there "
        "and its path into base_model_name_or_path."
    )


def read_adapter(folder: Path, model: nn.Module) -> StoredAdapter:
    """The adapter in a folder, checked against the model that it is to change.

    Which layers it adapts is read from its tensors. Raises MinimindError for a file that is missing
    or damaged, an option that this package does not compute, or tensors of another model's shape.
    """
    about = read_json(folder / CONFIG)
    _check_options(folder / CONFIG, about)
    try:
        found = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise MinimindError(f"{folder / WEIGHTS} is missing or damaged ({error}).") from error
    names = sorted({n.removeprefix(PREFIX).rpartition(".lora_")[0] for n in found})
    modules: dict[str, Any] = dict(model.named_modules())
    shapes = {}
    for name in names:
        if not hasattr(modules.get(name), "in_features"):
            raise MinimindError(f"{folder / WEIGHTS} adapts {name}, which this model has not.")
        inputs, outputs = modules[name].in_features, modules[name].out_features
        shapes[f"{PREFIX}{name}.lora_A.weight"] = (about["r"], inputs)
        shapes[f"{PREFIX}{name}.lora_B.weight"] = (outputs, about["r"])
    for key in sorted(shapes.keys() | found.keys()):
        there = tuple(found[key].shape) if key in found else "no tensor"
        if there != shapes.get(key):
            raise MinimindError(
                f"{folder / WEIGHTS} has {there} for {key}, but {shapes.get(key, 'nothing')} "
                "belongs there; use the model and the adapter_config.json that it was trained with."
            )
    layers = {
        name: (found[f"{PREFIX}{name}.lora_A.weight"], found[f"{PREFIX}{name}.lora_B.weight"])
        for name in names
    }
    return StoredAdapter(layers, about["r"], about.get("lora_alpha", 8),
                         bool(about.get("use_rslora")), about.get("lora_dropout", 0.0),
                         str(about.get("base_model_name_or_path") or ""))  # fmt: skip


@torch.no_grad()
def merge_stored(adapter: StoredAdapter, model: nn.Module) -> None:
    """Add s · B A to the model's weights, in their own number format."""
    modules: dict[str, Any] = dict(model.named_modules())
    for name, (a_RI, b_OR) in adapter.layers.items():
        weight_OI = modules[name].weight
        change_OI = adapter.scale * (b_OR.float() @ a_RI.float())
        weight_OI.copy_(weight_OI.float() + change_OI.to(weight_OI.device))


def _check_options(file: Path, about: dict[str, Any]) -> None:
    if about.get("peft_type") != "LORA" or not isinstance(about.get("r"), int):
        raise MinimindError(f"{file} describes no LoRA adapter with a rank; give another folder.")
    strange = {
        key: value
        for key, value in about.items()
        if value and key not in _READ | _SAYS_NOTHING | {"bias", "init_lora_weights"}
    }
    if about.get("bias", "none") != "none":
        strange["bias"] = about["bias"]
    start = about.get("init_lora_weights")
    if start not in _PLAIN_START:
        strange["init_lora_weights"] = start
    if strange:
        key, value = next(iter(strange.items()))
        raise MinimindError(
            f"{file} sets {key} to {value!r}, which this package does not compute; merge the "
            "adapter with PEFT and load the merged model."
        )
