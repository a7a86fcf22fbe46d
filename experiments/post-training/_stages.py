"""Stages that several runs of an experiment begin with, trained once each.

`made` gives the folder of a stage with a seed. Whoever asks first trains it; others, also in the
other worker process, wait and read. The place is named by the code and the settings, and a stage is
a function of both, so that a run which is begun again finds what it had done.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from minimind_wiki.book.hashing import code_hash
from minimind_wiki.book.record import repo_root


def place(name: str, settings) -> Path:
    """The folder of all stages of one experiment with these settings."""
    root = repo_root()
    code = code_hash(root / "experiments" / f"{name}.py", root)
    text = json.dumps([code, dataclasses.asdict(settings)], sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"minimind-{name.replace('/', '-')}-{mark}"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def alone(lock: Path):
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(folder: Path, stage: str, seed: int, train: Callable[[Path, bool], object]) -> Path:
    """The model folder of a stage; `train(out, resume)` writes it unless it is there."""
    out = folder / f"{stage}-{seed}"
    with alone(folder / f"{out.name}.lock"):
        if not (out / "run.json").exists():
            train(out, (out / "checkpoints").exists())
    return out
