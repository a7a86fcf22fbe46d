"""How a model folder wants to be asked, by what its run.json tells of its training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimind_wiki.infer.adapter import whole_folder


def read(file: Path) -> dict[str, Any]:
    """A JSON file of a model folder; empty if there is none."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def speaks_in_chats(folder: Path) -> bool:
    """Whether a method of fine-tuning made the model, and its tokenizer has a chat template."""
    template = read(whole_folder(folder) / "tokenizer_config.json").get("chat_template")
    return bool(read(folder / "run.json").get("method") and template)


def text_begin(folder: Path, tell: Callable[[str], None] = lambda line: None) -> tuple[int, ...]:
    """The ids that begin a plain text in the model's training; or none.

    Fine-tuning reads no plain texts, so the run that it began with is asked. A model that is given
    texts without the token that it knows them by seems to have forgotten some of what it knows.
    """
    run, seen = read(folder / "run.json"), {folder / "run.json"}
    while run.get("method") and not run.get("document_begin"):
        before = Path(run.get("init", {}).get("folder", "")) / "run.json"
        if not before.is_file() or before in seen:  # a run in the folder that it began with
            tell(f"{folder} does not say how its texts begin, and the model that it was made from "
                 "is gone; plain texts are read without a token before them.")  # fmt: skip
            return ()
        run = read(before)
        seen.add(before)
    return tuple(run.get("document_begin", ()))
