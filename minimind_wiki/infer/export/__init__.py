"""A trained model for other programs: what each wants, in which number formats, how it is run.

| target | writes | for |
|---|---|---|
| hf | a folder | transformers, vLLM, SGLang |
| gguf | a file | llama.cpp, LM Studio |
| onnx | a file | onnxruntime |
| browser | a folder | the engine of this book's pages |
| ollama | a folder | Ollama |
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.model import Transformer

TYPES = {
    "hf": ("bf16", "f16", "f32"),
    "gguf": ("f16", "q8_0", "q4_0", "f32"),
    "onnx": ("f32", "int8"),
    "browser": ("int8",),
    "ollama": ("q8_0", "f16", "q4_0", "f32"),
}
"""The number formats of each target. The first is taken where none is asked for, but by "hf", which
keeps that of the model."""
_MODULES = {"gguf": "gguf_file", "onnx": "onnx_file"}  # not the names of the packages they use
RUN = {
    "hf": (
        "vllm serve {out} --max-model-len {context}",
        "python -m sglang.launch_server --model-path {out} --context-length {context}",
    ),
    "gguf": ("llama-server --model {out} --ctx-size {context} --jinja",),
    "onnx": (),
    "browser": (),
    "ollama": ("cd {out} && ollama create {name} -f Modelfile && ollama run {name}",),
}
"""Command lines of programs that read what was written."""


def export(
    model: Transformer, tokenizer: Any, to: str, out: str | Path, kind: str | None = None
) -> Path:
    """Write the model for `to` at `out`, in the number format `kind`; return the path.

    WrongCall for an unknown target or format, MinimindError where the program would compute
    something else than this model, or make other ids of a text than this tokenizer.
    """
    if to not in TYPES:
        raise unknown("target", to, TYPES)
    if kind is not None and kind not in TYPES[to]:
        raise unknown(f"type of {to}", kind, TYPES[to])
    if tokenizer is None and to not in ("hf", "onnx"):
        raise MinimindError(
            f"the model has no tokenizer, and {to} wants one in what it reads; export with --to "
            "onnx, or copy tokenizer.json and tokenizer_config.json into the model's folder."
        )
    module = import_module(f"minimind_wiki.infer.export.{_MODULES.get(to, to)}")
    inputs = (model, out) if to == "onnx" else (model, tokenizer, out)
    path: Path = getattr(module, f"export_{to}")(*inputs, **({"kind": kind} if kind else {}))
    return path
