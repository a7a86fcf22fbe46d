"""What a recipe has done: recipe.json, beside the folders of its stages.

A stage that is finished is not run again, as long as the recipe still says what it said then, and
what the stage began with is the same to the bit. Otherwise the recipe stops and names the
difference: half of a chain made with other settings would look whole and be neither.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from minimind_wiki.data.download import file_sha256
from minimind_wiki.errors import MinimindError
from minimind_wiki.train.checkpoint import list_checkpoints
from minimind_wiki.train.continued import weights_hash
from minimind_wiki.train.recipe import Stage

LEDGER = "recipe.json"


def read_ledger(out: Path) -> dict[str, dict[str, Any]]:
    """Stage -> what recipe.json says of it; empty where nothing was done yet."""
    path = out / LEDGER
    try:
        stages: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return dict(stages)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MinimindError(
            f"{path} is damaged ({error}). Delete it and the stages' folders, or choose another "
            "--out."
        ) from error


def write_ledger(out: Path, about: Mapping[str, Any], stages: Mapping[str, Any]) -> None:
    """Write recipe.json whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    fresh = out / f".{LEDGER}.new"
    with fresh.open("w", encoding="utf-8") as file:
        file.write(json.dumps({**about, "stages": stages}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(out / LEDGER)


def fingerprint(folder: Path) -> str:
    """sha256 of what a later stage takes from a folder: weights, else a tokenizer, else all files.

    Empty where there is nothing yet.
    """
    if any(folder.glob("*.safetensors")):
        return weights_hash(folder)
    files = [folder / "tokenizer.json"]
    if not files[0].exists():
        files = sorted(path for path in folder.glob("*") if path.is_file())
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def standing(
    stage: Stage, product: Path, trains: bool, ledger: Mapping[str, Any], out: Path
) -> str:
    """How far a stage is: absent, begun or finished. Only one that trains is ever begun.

    MinimindError when something lies where its product would, and was made otherwise than the
    recipe now says.
    """
    if trains and (product / "run.json").exists():
        run = json.loads((product / "run.json").read_text(encoding="utf-8"))
        found = "finished" if run.get("status") == "finished" else "begun"
    elif trains:  # without a checkpoint it failed before the first, and may begin again
        found = "begun" if list_checkpoints(product) else "absent"
    else:
        found = "finished" if product.exists() else "absent"
    if found == "absent":
        return found
    if stage.name not in ledger:
        raise MinimindError(
            f"{product} is there, but {out / LEDGER} does not say how it was made. Delete it, or "
            "choose another --out."
        )
    compare(stage, product, ledger[stage.name], out)
    return found


def compare(stage: Stage, product: Path, then: Mapping[str, Any], out: Path) -> None:
    """MinimindError naming the first field that the recipe now has otherwise."""
    remedy = f"Delete {product} to make it anew, or choose another --out."

    def refuse(field: str, was: str, now: str) -> NoReturn:
        raise MinimindError(
            f"{stage.at(field)}: stage {stage.name!r} was made with {was}, and the recipe now says "
            f"{now}. {remedy}"
        )

    if then["verb"] != stage.verb:
        refuse("verb", f"the verb {then['verb']}", stage.verb)
    was, now = then["fields"], stage.fields
    for field in sorted({*was, *now}):
        if field not in was:
            refuse(field, f"{field} as usual", repr(now[field]))
        if field not in now:
            refuse(field, f"{field} {was[field]!r}", "nothing of it")
        if canonical(was[field]) != canonical(now[field]):
            refuse(field, f"{field} {was[field]!r}", repr(now[field]))
    for field, sha256 in then.get("inputs", {}).items():
        found = fingerprint(Path(stage.value(field, out)))
        if found and found != sha256:
            raise MinimindError(
                f"{stage.at(field)}: stage {stage.name!r} was made with another {field} than "
                f"{stage.fields[field]!r} is now: its files have changed since. {remedy}"
            )


def canonical(value: Any) -> Any:
    """A value such that 3e-4, which YAML reads as a text, and 0.0003 are the same.

    >>> canonical("3e-4") == canonical(0.0003), canonical("bytes")
    (True, 'bytes')
    """
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, bool):
        return value
    try:
        return float(value)
    except ValueError:
        return value
