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

import torch
from safetensors.torch import save_file

from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.infer.adapter import CONFIG, PREFIX, WEIGHTS, read_adapter
from minimind_wiki.model import Transformer
from minimind_wiki.train.lora import LoraConfig
from minimind_wiki.train.lora_model import adapters, add_adapter, lora_layers

_ELSEWHERE = (".experts.", ".shared_experts.", ".mlp.gate.", ".shared_expert_gate.")


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
        f"{PREFIX}{layer}.lora_{letter}.weight": matrix.detach().contiguous()
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
    stored = read_adapter(Path(path), model)
    config = LoraConfig(",".join(stored.layers), stored.rank, stored.alpha, stored.rslora,
                        stored.dropout)  # fmt: skip
    add_adapter(model, config, name)
    with torch.no_grad():
        for layer, module in lora_layers(model).items():
            if name in module.settings:
                a_RI, b_OR = stored.layers[layer]
                module.lora_A[name].copy_(a_RI)
                module.lora_B[name].copy_(b_OR)
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


def _replaceable(folder: Path) -> bool:
    return (folder / CONFIG).exists() or not any(folder.iterdir())
