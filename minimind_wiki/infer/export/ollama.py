"""A folder for Ollama: the GGUF file, and a Modelfile that says how to ask it.

Ollama reads a chat template in Go's language, not the Jinja of the file, so ours is written again:
the same turns, the same empty block of thought. It offers no tools, because Ollama would then
promise what a model of this size does not keep.

Which engine runs the file depends on Ollama's version. Since github.com/ollama/ollama/pull/16031 it
is llama.cpp, which cuts a text as the file says. Versions before it run the architectures qwen3 and
qwen3moe in an engine of their own (fs/ggml/ggml.go, model/models/qwen3/model.go) that always cuts
as Qwen2 does: models of ours with q/k-norm then get other ids for digits and signs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minimind_wiki.infer.export.gguf_file import export_gguf
from minimind_wiki.infer.export.place import whole_folder
from minimind_wiki.model import Transformer

TEMPLATE = """{{- range .Messages }}
{{- if eq .Role "assistant" }}<|im_start|>assistant
<think>
{{ .Thinking }}
</think>

{{ .Content }}<|im_end|>
{{ else }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
<think>
{{ if not (and .IsThinkSet .Think) }}
</think>

{{ end }}"""
"""`tokenizer.template` without tools; tests/parity/test_export_folders.py holds the two equal."""

README = """A model for Ollama (ollama.com), written by `minimind export --to ollama`.

    ollama create {name} -f Modelfile
    ollama run {name}
    ollama run {name} --think        # with an open block of thought

Take a version of Ollama that runs every model by llama.cpp (github.com/ollama/ollama/pull/16031).
Older ones cut texts for models with q/k-norm as Qwen2 does, whatever the file says, so that digits
and signs reach the model as tokens it never saw there.
"""


def modelfile(context: int, stops: list[str]) -> str:
    """The Modelfile. Ollama's own repeat_penalty of 1.1 would bend what the model says.

    >>> print(modelfile(512, ["<|im_end|>"]).split('TEMPLATE')[0].strip())
    FROM ./model.gguf
    PARAMETER num_ctx 512
    PARAMETER repeat_penalty 1
    PARAMETER stop "<|im_end|>"
    """
    lines = ["FROM ./model.gguf", f"PARAMETER num_ctx {context}", "PARAMETER repeat_penalty 1"]
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    return "\n".join([*lines, f'TEMPLATE """{TEMPLATE}"""', ""])


def export_ollama(model: Transformer, tokenizer: Any, out: str | Path, kind: str = "q8_0") -> Path:
    """Write the folder `out`; return the path. Errors as `export_gguf`."""
    name = Path(out).resolve().name
    stops = dict.fromkeys((tokenizer.eos_id, tokenizer.pad_id))
    words = [tokenizer.decode([stop], specials=True) for stop in stops]
    with whole_folder(out, mark="Modelfile") as fresh:
        export_gguf(model, tokenizer, fresh / "model.gguf", kind, name)
        text = modelfile(model.config.max_position_embeddings, words)
        (fresh / "Modelfile").write_text(text, encoding="utf-8")
        (fresh / "README.md").write_text(README.format(name=name), encoding="utf-8")
    return Path(out)
