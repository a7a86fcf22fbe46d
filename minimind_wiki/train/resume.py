"""Which checkpoint a run goes on from: the newest whose bytes are those written. Never silently."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind_wiki.errors import MinimindError
from minimind_wiki.train.checkpoint import list_checkpoints, read_state
from minimind_wiki.train.manifest import Damaged, check
from minimind_wiki.train.state import State


@dataclass(frozen=True, slots=True)
class Found:
    """The checkpoint that a run goes on from, and why this one."""

    folder: Path
    state: State
    about: dict[str, Any]
    warnings: tuple[str, ...]
    why: str


def find_whole(out: Path) -> Found:
    """The newest checkpoint whose files are what was written, by length and sha256.

    Newer ones that are not are renamed to damaged-N, so that no later step takes them for good.
    MinimindError when there is none, or none is whole; then nothing is renamed.
    """
    found = list_checkpoints(out)
    if not found:
        raise MinimindError(
            f"{out} has no checkpoint to resume. Check --out, or leave --resume out to start."
        )
    faults: list[tuple[Path, str]] = []
    for step, folder in reversed(found):
        try:
            strangers = check(folder, step)
        except Damaged as fault:
            faults.append((folder, str(fault)))
            continue
        state, about = read_state(folder)
        warnings = [_set_aside(spoilt, fault, step) for spoilt, fault in faults]
        if strangers:
            warnings.append(f"Not read, as no part of {folder}: {', '.join(strangers)}.")
        which = "newest that is whole" if faults else "newest"
        why = f"the {which} of {len(found)}, each file with the length and sha256 it was given"
        return Found(folder, state, about, tuple(warnings), why)
    listed = "; ".join(fault for _, fault in faults)
    raise MinimindError(
        f"no checkpoint of the run in {out} is whole: {listed}. Copy one back from a backup, or "
        "start again in another --out."
    )


def _set_aside(folder: Path, fault: str, step: int) -> str:
    """Take the name from a damaged checkpoint; the sentence that says so."""
    aside = folder.with_name(folder.name.replace("step", "damaged"))
    try:
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    except OSError as error:
        raise MinimindError(f"{fault}, and it cannot be renamed ({error.strerror}).") from error
    return (f"DAMAGED CHECKPOINT: {fault}. It is called {aside.name} now and may be deleted; the "
            f"run goes back to step {step:,} and repeats what followed.")  # fmt: skip
