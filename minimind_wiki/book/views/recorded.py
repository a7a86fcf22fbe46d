"""Recorded looks into a model, in snippets/views/: what a `view` fence shows before a click.

One file for a model and its prompts, written by `scripts/record_views.py` for every fence of the
pages. It holds the hash of the model's files, so that one made from another model is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from minimind_wiki.book import pages
from minimind_wiki.errors import MinimindError, unknown

COMMAND = "python scripts/record_views.py"
FILES = ("config.json", "model.safetensors", "tokenizer.json")
FENCE = re.compile(r"^```view\n(.*?)^```", re.DOTALL | re.MULTILINE)


def folder() -> Path:
    """Where the recorded looks lie."""
    return pages.root() / "snippets" / "views"


def path(model: str, prompt: str, other: str = "") -> Path:
    """The file of a model, a prompt and, for patching, another one."""
    said = hashlib.sha256(json.dumps([prompt, other]).encode()).hexdigest()[:10]
    return folder() / f"{model}-{said}.json"


@lru_cache(maxsize=16)
def _hash(file: Path, stamp: float) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fingerprint(model: str) -> dict[str, str]:
    """Hashes of the files of a shipped model that decide what it says."""
    place = pages.root() / "models" / model
    if not (place / "model.safetensors").is_file():
        known = [f.parent.name for f in sorted(place.parent.glob("*/model.safetensors"))]
        raise MinimindError(str(unknown("model", model, known)))
    return {name: _hash(place / name, (place / name).stat().st_mtime) for name in FILES}


def load(model: str, prompt: str, other: str = "") -> dict[str, Any]:
    """The recorded look; MinimindError if there is none, or if it is of other weights."""
    wanted = fingerprint(model)
    file = path(model, prompt, other)
    if not file.is_file():
        raise MinimindError(f"this view of '{model}' is not recorded; run '{COMMAND}'.")
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if data["files"] != wanted or [data["prompt"], data["other"]] != [prompt, other]:
        raise MinimindError(f"{file.name} was recorded from another model; run '{COMMAND}'.")
    return data


def shapes() -> list[dict[str, Any]]:
    """Shapes of models whose cache is compared, from `shapes.json` beside the looks."""
    listed: list[dict[str, Any]] = json.loads((folder() / "shapes.json").read_text("utf-8"))
    return listed


def asked() -> set[tuple[str, str, str]]:
    """(model, prompt, other) of every view fence of the pages."""
    found = set()
    for page in sorted(pages.docs().rglob("*.md")):
        for match in FENCE.finditer(page.read_text(encoding="utf-8")):
            body = pages.parse_yaml(match.group(1), f"{page.name}: view box")
            if isinstance(body, dict):
                named = (str(body.get(key) or "") for key in ("model", "prompt", "other"))
                found.add(tuple(named))
    return found  # type: ignore[return-value]
