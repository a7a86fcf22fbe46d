"""What the mastery path asks a reader to have made, and the small file that says how far they are.

The parts are named here, for the page and for `minimind path`; `own_model.py` looks at what was
made. No torch: the site is built without it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minimind_wiki import __version__
from minimind_wiki.errors import MinimindError

PATH = "mastery"
FORMAT = 1
"""Of the result file; the page's script reads the same one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing to have made: its name, what it is, and a command that would make it."""

    name: str
    title: str
    how: str


PARTS = (
    Part("text", "Trained from raw text, and better than counting pairs of tokens",
         "minimind run recipes/world-nano.yaml --out runs/own"),
    Part("taught", "Taught to answer, every stage from the weights of the one before",
         "minimind sft --model runs/own/base --data world/instructions --out runs/own/sft"),
    Part("exam", "Better in the exam than the model it began as, beyond chance",
         "minimind evaluate runs/own/grpo --tasks instructions,arithmetic"),
    Part("small", "Quantized, and still saying the same",
         "minimind quantize runs/own/grpo --bits 8 --out runs/own-int8"),
    Part("served", "Answering over HTTP, or carried to another program",
         "minimind serve runs/own/grpo --port 8000"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a part; `todo` says what to do where it is not there yet.

    A sentence of a part that is missing may name folders; `measured` ones hold numbers alone.
    """

    name: str
    passed: bool
    found: str
    todo: str = ""
    measured: bool = False


def result(findings: Sequence[Finding], model: dict[str, Any]) -> dict[str, Any]:
    """What `minimind path --out` writes and the page opens. No folder of the reader's is in it."""
    parts = [
        {"name": f.name, "passed": f.passed, "found": f.found if f.passed or f.measured else ""}
        for f in findings
    ]
    return {
        "minimind_path": FORMAT, "path": PATH, "minimind_wiki": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "model": model, "parts": parts,
    }  # fmt: skip


def write(path: Path, data: dict[str, Any]) -> None:
    """Write a result. MinimindError where the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise MinimindError(
            f"cannot write {path} ({error.strerror or error}); choose another --out."
        ) from error
