"""Any model folder that can be asked: of ours or transformers', a LoRA's, or a quantized one.

Training opens `infer.folder` alone: rounded weights are no place to learn from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from minimind_wiki.infer.folder import load_model_folder
from minimind_wiki.infer.quantize import is_quantized, load_quantized
from minimind_wiki.model import Transformer


def open_model(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> tuple[Transformer, Any]:
    """The model and its tokenizer or None; the errors are those of `load_model_folder`.

    The scales of a quantized model stay float32, whatever `dtype` says: rounded, they would move
    every weight of their group.
    """
    if is_quantized(Path(path)):
        return load_quantized(path, device)
    return load_model_folder(path, device, dtype)
