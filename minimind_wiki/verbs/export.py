"""`minimind export`: write a trained model for transformers, llama.cpp, Ollama, ONNX or a page."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = (
    "Write a trained model for other programs. What a program would compute otherwise is refused."
)
EXAMPLE = "minimind export models/world-tiny --to gguf --type q8_0 --out runs/village.gguf"


def configure(parser: argparse.ArgumentParser) -> None:
    """The model, the target, its number format, the place."""
    from minimind_wiki.infer.export import TYPES

    rows = "; ".join(f"{to}: {', '.join(kinds)}" for to, kinds in TYPES.items())
    parser.add_argument("model", type=Path, help="a model folder, or the folder of a run")
    parser.add_argument("--to", required=True, metavar="TARGET", help=" | ".join(TYPES))
    place = "the file (gguf, onnx) or folder (hf, browser, ollama) to write"
    parser.add_argument("--out", required=True, type=Path, metavar="F", help=place)
    kinds = f"number format; default: the first, hf keeps the model's own. {rows}"
    parser.add_argument("--type", dest="kind", metavar="T", help=kinds)


def run(args: argparse.Namespace) -> int:
    """Write it, and say how large it is and how it is run."""
    from minimind_wiki.errors import unknown
    from minimind_wiki.infer import load_model_folder
    from minimind_wiki.infer.export import RUN, TYPES, export
    from minimind_wiki.verbs.generate import find_model

    if args.to not in TYPES:
        raise unknown("target", args.to, TYPES)
    model, tokenizer = load_model_folder(find_model(args.model))
    out = export(model, tokenizer, args.to, args.out, args.kind)
    files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    size = sum(file.stat().st_size for file in files)
    print(f"{out} is written: {model.num_parameters():,} parameters in {size / 1e6:,.1f} MB.")
    values = {"out": out, "name": out.name, "context": model.config.max_position_embeddings}
    for line in RUN[args.to]:
        print("  " + line.format(**values))
    return 0
