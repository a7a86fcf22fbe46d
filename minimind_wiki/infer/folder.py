"""The model folder: what a trained model is on disk. A Hugging Face folder, so that transformers,
vLLM and llama.cpp's converter read it, and never a pickle, which may run code when opened.

    config.json              shape, with transformers' names
    generation_config.json   which tokens begin, end and pad
    model.safetensors        weights; a tied head is stored once
    run.json                 how it was made
    tokenizer.json …         whatever tokenizer.save(folder) writes

A folder appears whole or not at all: it is written beside its place and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from minimind_wiki import __version__
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.adapter import (
    base_folder,
    is_adapter,
    merge_stored,
    read_adapter,
    whole_folder,
)
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_from_hub, tensors_to_hub
from minimind_wiki.infer.read import WEIGHTS, check_tensors, read_json, read_tensors
from minimind_wiki.model import Transformer


def save_model_folder(
    path: str | Path, model: Transformer, tokenizer: Any = None, run: dict[str, Any] | None = None
) -> Path:
    """Write the model to `path`, replacing a model folder that is there; return the path.

    `tokenizer` needs a method save(folder). `run` is kept as run.json. Raises WrongCall if `path`
    is a file or holds something that is not a model, MinimindError if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and _replaceable(path)):
        raise WrongCall(
            f"{path} is not a model folder, so it is not overwritten; choose another place."
        )
    fresh, old = _beside(path, "new"), _beside(path, "old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write_model_files(fresh, model, tokenizer, run)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            fresh.rename(path)
            _keep_strangers(old, path)
            shutil.rmtree(old)
        else:
            fresh.rename(path)
    except OSError as error:
        raise MinimindError(
            f"cannot write {path} ({error.strerror or error}); free space there or choose another "
            "place."
        ) from error
    return path


def write_model_files(
    folder: str | Path,
    model: Transformer,
    tokenizer: Any = None,
    run: dict[str, Any] | None = None,
) -> None:
    """Write the files of a model into an existing folder, for a caller who renames it himself."""
    write_description(folder, model, tokenizer, run)
    tensors = tensors_to_hub(model.state_dict(), model.config)
    save_file(tensors, Path(folder) / WEIGHTS, metadata={"format": "pt"})


def write_description(
    folder: str | Path,
    model: Transformer,
    tokenizer: Any = None,
    run: dict[str, Any] | None = None,
) -> None:
    """All files of a model but its weights."""
    folder, config = Path(folder), model.config
    first = next(model.parameters())
    dtype = str(first.dtype).removeprefix("torch.")
    tokens = {name: getattr(config, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    made = {"minimind_wiki": __version__, "parameters": model.num_parameters()}
    _write_json(folder / "config.json", config_to_hub(config) | {"dtype": dtype})
    _write_json(
        folder / "generation_config.json", {f"{name}_token_id": i for name, i in tokens.items()}
    )
    _write_json(folder / "run.json", made | (run or {}))
    if tokenizer is not None:
        tokenizer.save(folder)


def load_model_folder(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    with_tokenizer: bool = True,
) -> tuple[Transformer, Any]:
    """Read a folder of ours, of transformers or of a LoRA; return (model, tokenizer or None).

    The weights keep the file's number format unless `dtype` is given; an adapter's model comes in
    float32, with the adapter merged (see `infer.adapter`). Raises MinimindError, with the file and
    what to do, if something is missing, damaged or not of config.json's shape.
    `with_tokenizer=False` reads the model alone, for a folder whose tokenizer is not ours.
    """
    path = Path(path)
    if not path.is_dir():
        left = [p for p in (_beside(path, "old"), _beside(path, "new")) if p.is_dir()]
        hint = f"an interrupted save left {left[0]}; rename it" if left else "check the path"
        raise MinimindError(f"there is no model folder {path}; {hint}.")
    if is_adapter(path):
        whole_folder(path)  # which is an error where adapters name each other
        # in 16 bits a small change would be lost in the rounding of what it is added to
        model, tokenizer = load_model_folder(base_folder(path), device, torch.float32,
                                             with_tokenizer)  # fmt: skip
        merge_stored(read_adapter(path, model), model)
        return model.to(dtype or torch.float32), tokenizer
    hub = read_json(path / "config.json")
    try:
        config = config_from_hub(hub)
    except (KeyError, TypeError) as error:
        raise MinimindError(
            f"{path / 'config.json'} has no usable {error}; copy the folder again from its source."
        ) from error
    state = tensors_from_hub(read_tensors(path), config)
    with torch.device(device):
        model = Transformer(config, seed=None)
    check_tensors(path, model.state_dict(), state)
    model.to(dtype or state["model.norm.weight"].dtype)
    model.load_state_dict(state)
    model.eval()
    return model, _load_tokenizer(path) if with_tokenizer else None


def _load_tokenizer(path: Path) -> Any:
    if not (path / "tokenizer.json").exists():
        return None
    from minimind_wiki.tokenizer import load_tokenizer

    return load_tokenizer(path)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _beside(path: Path, word: str) -> Path:
    """A hidden neighbour of `path`, on the same disk, so that a rename is one step."""
    path = Path(os.path.abspath(path))
    return path.parent / f".{path.name}.{word}"


def _replaceable(folder: Path) -> bool:
    return (folder / "config.json").exists() or not any(folder.iterdir())


def _keep_strangers(old: Path, new: Path) -> None:
    """Move over what is not a model's (a log, notes): replacing a model must not delete it."""
    for entry in old.iterdir():
        ours = entry.suffix in (".json", ".safetensors", ".jinja")
        if not ours and not (new / entry.name).exists():
            entry.rename(new / entry.name)
