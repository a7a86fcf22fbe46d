"""An adapter on disk, in PEFT's format: what `PeftModel.from_pretrained` reads and writes.

    adapter_config.json         rank, alpha, names of the layers
    adapter_model.safetensors   base_model.model.<layer>.lora_A.weight (R, I), .lora_B.weight (O, R)

It holds no weight of the base model, which must be at hand to use it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.infer.read import read_json
from minimind_wiki.model import Transformer
from minimind_wiki.train.lora import LoraConfig
from minimind_wiki.train.lora_model import adapters, add_adapter, lora_layers

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_ELSEWHERE = (".experts.", ".shared_experts.", ".mlp.gate.", ".shared_expert_gate.")
_READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora"}
_SAYS_NOTHING = {  # of the numbers that an adapter computes
    "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "peft_version", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "megatron_core", "megatron_config", "qalora_group_size", "runtime_config",
    "ensure_weight_tying",
}  # fmt: skip
_PLAIN_START = (True, False, None, "gaussian", "orthogonal", "eva")  # others change the base too


def save_adapter(
    path: str | Path, model: Transformer, name: str = "default", base: str = ""
) -> Path:
    """Write the adapter `name` to the folder `path`, replacing an adapter that is there.

    `base` says which model it belongs to (a folder or a hub's name). Raises WrongCall where
    transformers has no such layer, if there is no such adapter, or if `path` holds something else.
    """
    path = Path(path)
    layers = {n: m for n, m in lora_layers(model).items() if name in m.settings}
    if not layers:
        raise unknown("adapter", name, adapters(model))
    _check_layout(model.config.layout, list(layers))
    if path.exists() and not (path.is_dir() and _replaceable(path)):
        raise WrongCall(f"{path} is not an adapter's folder; choose another place.")
    config = next(iter(layers.values())).settings[name]
    about = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base or None,
        "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout,
        "use_rslora": config.rslora, "bias": "none", "fan_in_fan_out": False,
        "inference_mode": True, "target_modules": _targets(config, list(layers)),
    }  # fmt: skip
    tensors = {
        f"{_PREFIX}{layer}.lora_{letter}.weight": matrix.detach().contiguous()
        for layer, module in layers.items()
        for letter, matrix in (("A", module.lora_A[name]), ("B", module.lora_B[name]))
    }
    place = Path(os.path.abspath(path))
    fresh, old = (place.parent / f".{place.name}.{word}" for word in ("new", "old"))
    try:  # beside its place and renamed, so that a folder is whole or not there
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, fresh / WEIGHTS, metadata={"format": "pt"})
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        fresh.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise MinimindError(
            f"cannot write {path} ({error.strerror or error}); free space there or choose another "
            "place."
        ) from error
    return path


def load_adapter(path: str | Path, model: Transformer, name: str = "default") -> LoraConfig:
    """Add the adapter in the folder `path` to the model as `name` and switch it on alone.

    Which layers it adapts is read from its tensors. Raises MinimindError for a file that is missing
    or damaged, an option that this package does not compute, or tensors of another model's shape;
    the model is then as before.
    """
    path = Path(path)
    about = read_json(path / CONFIG)
    _check_options(path / CONFIG, about)
    try:
        found = load_file(path / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise MinimindError(f"{path / WEIGHTS} is missing or damaged ({error}).") from error
    layers = sorted({n.removeprefix(_PREFIX).rpartition(".lora_")[0] for n in found})
    modules = dict(model.named_modules())
    shapes = {}
    for layer in layers:
        if not hasattr(modules.get(layer), "in_features"):
            raise MinimindError(f"{path / WEIGHTS} adapts {layer}, which this model does not have.")
        inputs, outputs = modules[layer].in_features, modules[layer].out_features
        shapes[f"{_PREFIX}{layer}.lora_A.weight"] = (about["r"], inputs)
        shapes[f"{_PREFIX}{layer}.lora_B.weight"] = (outputs, about["r"])
    for key in sorted(shapes.keys() | found.keys()):
        there = tuple(found[key].shape) if key in found else "no tensor"
        if there != shapes.get(key):
            raise MinimindError(
                f"{path / WEIGHTS} has {there} for {key}, but {shapes.get(key, 'nothing')} belongs "
                "there; use the model and the adapter_config.json that it was trained with."
            )
    config = LoraConfig(
        targets=",".join(layers), rank=about["r"], alpha=about.get("lora_alpha", 8),
        rslora=bool(about.get("use_rslora")), dropout=about.get("lora_dropout", 0.0),
    )  # fmt: skip
    add_adapter(model, config, name)
    with torch.no_grad():
        for layer, module in lora_layers(model).items():
            if name in module.settings:
                module.lora_A[name].copy_(found[f"{_PREFIX}{layer}.lora_A.weight"])
                module.lora_B[name].copy_(found[f"{_PREFIX}{layer}.lora_B.weight"])
    return config


def _targets(config: LoraConfig, layers: list[str]) -> list[str]:
    """target_modules: the ends that were asked for, as PEFT finds layers by the same rule."""
    if config.targets == "all":
        return sorted({layer.rsplit(".", 1)[-1] for layer in layers})
    return [target.strip() for target in config.targets.split(",")]


def _check_layout(layout: str, layers: list[str]) -> None:
    """Refuse what transformers builds otherwise: PEFT would not find these layers."""
    if layout.startswith("minimind"):
        return  # transformers has no such model, so the file is for this package alone
    strange = [n for n in layers if layout == "gpt2" or any(part in n + "." for part in _ELSEWHERE)]
    if strange:
        raise WrongCall(
            f"PEFT cannot read an adapter of {strange[0]}: transformers' {layout} joins this "
            "matrix with others. Merge the adapter and save the whole model, or adapt only layers "
            "that both have (attention, dense feed-forward)."
        )


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


def _replaceable(folder: Path) -> bool:
    return (folder / CONFIG).exists() or not any(folder.iterdir())
