"""A transformers folder in the number format that is wanted, for transformers, vLLM and SGLang.

The model folder is one already (see `infer.folder`); what an export adds is the format, and a
refusal where transformers has no such model: only this package can read those folders.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.infer.export.place import whole_folder
from minimind_wiki.infer.folder import write_model_files
from minimind_wiki.model import ModelConfig, Transformer

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def check_hf(config: ModelConfig) -> None:
    """Raise MinimindError, with the reason, if transformers has no model of this layout."""
    if not config.layout.startswith("minimind"):
        return
    reasons = []
    if config.attention_sinks:
        reasons.append("attention_sinks")
    native = "learned" if config.family == "gpt2" else "rotary"
    if config.positions != native:
        reasons.append(f"positions {config.positions!r}")
    if config.family == "gpt2" and config.sliding_window:
        reasons.append("a sliding window in the gpt2 family")
    if config.num_experts and not reasons:
        reasons.append("this mixture of experts")
    raise MinimindError(
        f"transformers has no model with {' and '.join(reasons)}, so a folder for it cannot be "
        "written. Export with --to onnx, or run the model with 'minimind generate'."
    )


def export_hf(model: Transformer, tokenizer: Any, out: str | Path, kind: str = "") -> Path:
    """Write the folder `out`, weights as f32, f16 or bf16, or as they are; return the path.

    Raises MinimindError as `check_hf`, and where a weight is too large for float16.
    """
    if kind and kind not in TYPES:
        raise unknown("type", kind, TYPES)
    check_hf(model.config)
    cast = copy.deepcopy(model)
    if kind:
        cast = cast.to(TYPES[kind])
    if not all(bool(weight.isfinite().all()) for weight in cast.parameters()):
        raise MinimindError(f"a weight does not fit {kind}; export with --type bf16 or f32.")
    with whole_folder(out, mark="config.json") as fresh:
        write_model_files(fresh, cast, tokenizer)
    return Path(out)
