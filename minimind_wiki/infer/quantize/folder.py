"""A quantized model's folder: config.json says how its codes are read, and only we read them.

    config.json        "quantization_config": {"quant_method": "minimind", "bits": 4, "group": 32 …
    model.safetensors  <layer>.codes, .scales, perhaps .zeros; norms as they were; a tied head once

All other files are those of a model folder. The tensors have our names, whatever the family. The
model_type is our own too: transformers only warns of a quantization that it does not know, and
would go on with random weights.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.folder import _load_tokenizer, write_description
from minimind_wiki.infer.hub_config import config_from_hub
from minimind_wiki.infer.quantize.calibrate import block_linears
from minimind_wiki.infer.quantize.layers import QuantEmbedding, QuantLinear
from minimind_wiki.infer.quantize.model import (
    Quantization,
    empty_like,
    finish,
    put,
    quantization_of,
    tie,
)
from minimind_wiki.infer.read import WEIGHTS, check_tensors, read_json, read_tensors
from minimind_wiki.model import Transformer

KEY, NAME = "quantization_config", "minimind"


def is_quantized(folder: Path) -> bool:
    """Whether a folder holds a model that `save_quantized` wrote."""
    file = folder / "config.json"
    return file.is_file() and (read_json(file).get(KEY) or {}).get("quant_method") == NAME


def save_quantized(
    path: str | Path, model: Transformer, tokenizer: Any = None, run: dict[str, Any] | None = None
) -> Path:
    """Write a quantized model to a new folder, whole or not at all; return the path.

    Raises WrongCall if the place is taken or the model is not quantized, MinimindError if it cannot
    be written.
    """
    path, how = Path(os.path.abspath(path)), quantization_of(model)
    if how is None:
        raise WrongCall("the model is not quantized; write it with save_model_folder.")
    if path.exists():
        raise WrongCall(f"{path} exists and is not overwritten; choose another place.")
    fresh = path.parent / f".{path.name}.new"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write_description(fresh, model, tokenizer, run)
        config = read_json(fresh / "config.json")
        about = {"quant_method": NAME, "model_type": config["model_type"]} | how
        config |= {"model_type": f"{NAME}_quantized", KEY: about}
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (fresh / "config.json").write_text(text, encoding="utf-8")
        save_file(stored(model), fresh / WEIGHTS, metadata={"format": "pt"})
        fresh.rename(path)
    except OSError as error:
        raise MinimindError(
            f"cannot write {path} ({error.strerror or error}); free space there or choose another "
            "place."
        ) from error
    return path


def stored(model: Transformer) -> dict[str, torch.Tensor]:
    """The tensors of the file."""
    tied = model.config.tie_word_embeddings
    return {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if not (tied and name.startswith("lm_head."))
    }


def load_quantized(
    path: str | Path, device: str | torch.device = "cpu", with_tokenizer: bool = True
) -> tuple[Transformer, Any]:
    """Read a folder of `save_quantized`; return (model, tokenizer or None).

    Raises MinimindError, with the file and what to do, if something is missing, damaged or not of
    config.json's shape.
    """
    path = Path(path)
    if not is_quantized(path):
        raise MinimindError(
            f"{path / 'config.json'} names no quantization of this package; a plain model is read "
            "by load_model_folder."
        )
    hub = read_json(path / "config.json")
    fields = {field.name for field in dataclasses.fields(Quantization)}
    try:
        how = Quantization(**{k: v for k, v in hub[KEY].items() if k in fields})
        hub["model_type"] = hub[KEY]["model_type"]
        model = shell(Transformer(config_from_hub(hub), seed=None), how)
    except (KeyError, TypeError, ValueError) as error:
        raise MinimindError(
            f"{path / 'config.json'} has no usable {error}; copy the folder again from its source."
        ) from error
    state = read_tensors(path)
    wanted = stored(model)
    check_tensors(path, wanted, state)
    for name, tensor in wanted.items():
        if state[name].dtype != tensor.dtype and not tensor.is_floating_point():
            raise MinimindError(
                f"{name} in {path} is {state[name].dtype} and not {tensor.dtype}; copy the folder "
                "again from its source."
            )
    model.load_state_dict(state, strict=False)  # all but a shared head, as was checked
    tie(model)
    return finish(model.to(device), how), _load_tokenizer(path) if with_tokenizer else None


def shell(model: Transformer, how: Quantization) -> Transformer:
    """The model with quantized layers in place of its own, which wait for their codes."""
    how.validate(model)
    for name, linear in block_linears(model).items():
        put(model, name, empty_like(linear, how))
    table, head = model.model.embed_tokens, model.lm_head
    put(model, "model.embed_tokens",
        QuantEmbedding(table.num_embeddings, table.embedding_dim, 8))  # fmt: skip
    put(model, "lm_head", QuantLinear(head.out_features, head.in_features, 8))
    return model
