"""Checkpoints: model folders that also hold all that a run needs to go on as if never stopped.

    checkpoints/step-000120/   a model folder (loads anywhere), and beside its files
        optimizer.safetensors  the optimizer's state, named by parameter
        rng.safetensors        the random state of torch, CUDA, MPS, NumPy and Python
        state.json             settings, data hash, step, curves, best step, loss scale
        method.safetensors     what a method trains beside the model, if anything (`extra.py`)
        manifest.json          length and sha256 of each file above (see `manifest.py`)

A folder that is called step-N is whole: it gets its name by one rename after all its bytes are on
the disk, and loses it by one rename before the first is deleted. The newest two and the best stay,
so that there is one to go back to when a disk spoils the newest. Never a pickle.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import write_model_files
from minimind_wiki.infer.folder import write_description
from minimind_wiki.infer.hub_tensors import tensors_to_hub
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.extra import load_extra, plain, save_extra
from minimind_wiki.train.generators import random_state, restore_random_state
from minimind_wiki.train.manifest import seal, sync
from minimind_wiki.train.optim import optimizer_pieces, optimizer_tensors
from minimind_wiki.train.parallel import Alone
from minimind_wiki.train.sharded import load_optimizer_pieces, write_dealt
from minimind_wiki.train.state import State

_NAME = re.compile(r"step-(\d{6,})")


def save_checkpoint(
    out: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer | Mapping[str, torch.Tensor],
    tokenizer: Tokenizer,
    state: State,
    about: dict[str, Any],
    keep: int = 2,
    scaler: torch.amp.GradScaler | None = None,
) -> Path:
    """Write `out/checkpoints/step-N`; then delete all but the newest `keep` and the best.

    `about` is JSON that the run needs back (settings, data). `optimizer` may be what
    `optimizer_tensors` gave, for a run that has gathered its pieces. Tensors are written from where
    they lie, without a second copy in memory. MinimindError when the disk refuses; everything
    written before is then untouched.
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizer = optimizer_tensors(model, optimizer)
    with new_checkpoint(out, state, keep) as fresh:
        run = about | {"status": f"unfinished, at step {state.step}"}
        with plain(model):
            write_model_files(fresh, model, tokenizer, run)
        save_extra(fresh, model)
        save_file(dict(optimizer), fresh / "optimizer.safetensors")
        save_file(random_state(), fresh / "rng.safetensors")
        write_state(fresh, state, about, scaler)
    return out / "checkpoints" / f"step-{state.step:06d}"


def save_together(
    group: Alone,
    out: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    tokenizer: Tokenizer,
    state: State,
    about: dict[str, Any],
    keep: int = 2,
    scaler: torch.amp.GradScaler | None = None,
) -> Path:
    """`save_checkpoint` where each process has pieces of the model; all must call.

    The tensors are in several files (see `sharded.py`). Any number of processes reads them.
    """
    root = out / "checkpoints"
    mine = root / f".new-{state.step:06d}"
    with new_checkpoint(out, state, keep) if group.first else nullcontext(mine) as fresh:
        group.wait()  # the folder is there
        try:
            hub = tensors_to_hub(model.state_dict(), model.config)
            write_dealt(fresh, "model", hub, group)
            write_dealt(fresh, "optimizer", optimizer_pieces(model, optimizer), group)
        except (OSError, SafetensorError) as error:
            raise MinimindError(
                f"process {group.rank} could not write to {fresh} ({error}). All processes need "
                "the same folder, on a disk with room; older checkpoints are untouched."
            ) from error
        if group.first:
            run = about | {"status": f"unfinished, at step {state.step}"}
            write_description(fresh, model, tokenizer, run)
            save_file(random_state(), fresh / "rng.safetensors")
            write_state(fresh, state, about, scaler)
    group.wait()  # it has its name
    return root / f"step-{state.step:06d}"


@contextmanager
def new_checkpoint(out: Path, state: State, keep: int = 2) -> Iterator[Path]:
    """An empty folder that becomes checkpoint step-N, sealed, when the block ends without an error.

    Several processes may write into it; one of them opens and closes it.
    """
    root = out / "checkpoints"
    folder = root / f"step-{state.step:06d}"
    fresh = root / f".new-{state.step:06d}"
    try:
        _sweep(root)  # first, as what a killed writer left may be what fills the disk
        fresh.mkdir(parents=True)
        yield fresh
        seal(fresh, state.step)
        if folder.exists():  # a resumed run that stops where it began
            folder.rename(root / f".old-{state.step:06d}")
        fresh.rename(folder)
        sync(root)
        newest = [number for number, _ in list_checkpoints(out)][-keep:]
        for number, other in list_checkpoints(out):
            if number not in (*newest, state.best_step):
                other.rename(root / f".old-{number:06d}")  # a half-deleted one must have no name
        _sweep(root)
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors
        shutil.rmtree(fresh, ignore_errors=True)
        why = getattr(error, "strerror", None) or error
        raise MinimindError(
            f"the checkpoint {folder} could not be written ({why}). Make room there; older "
            "checkpoints are untouched and --resume continues from them."
        ) from error


def _sweep(root: Path) -> None:
    """Delete what was being written, or deleted, when a process was killed."""
    for leftover in [*root.glob(".new-*"), *root.glob(".old-*")]:
        shutil.rmtree(leftover)


def list_checkpoints(out: Path) -> list[tuple[int, Path]]:
    """(step, folder) of each checkpoint of a run, oldest first."""
    found = []
    for folder in (out / "checkpoints").glob("step-*"):
        if match := _NAME.fullmatch(folder.name):
            found.append((int(match[1]), folder))
    return sorted(found)


def write_state(
    folder: Path, state: State, about: dict[str, Any], scaler: torch.amp.GradScaler | None = None
) -> None:
    """state.json: all that is not a tensor. JSON keeps every bit of a float."""
    content = about | {"state": dataclasses.asdict(state)}
    content |= {"scaler": scaler.state_dict()} if scaler else {}
    text = json.dumps(content, indent=1) + "\n"
    (folder / "state.json").write_text(text, encoding="utf-8")


def read_state(folder: Path) -> tuple[State, dict[str, Any]]:
    """`State` and what `about` held. MinimindError, naming the file, if it cannot be read."""
    path = folder / "state.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return State(**about.pop("state")), about
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MinimindError(
            f"{path} is damaged or of another version ({error}). Resume with the version that "
            "wrote it (run.json says which), or start again in another --out."
        ) from error


def load_training_state(
    folder: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Put optimizer, loss scale and random state back as they were, and what a method added.

    Every process takes its pieces, however many wrote the checkpoint, and process 0's random state.
    """
    try:
        load_extra(folder, model)
        load_optimizer_pieces(folder, "optimizer", model, optimizer)
        generators = load_file(folder / "rng.safetensors")
        if scaler and scaler.is_enabled():
            about = read_state(folder)[1]
            scaler.load_state_dict(about["scaler"])
        restore_random_state(generators)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise MinimindError(
            f"{folder} does not fit this run ({error}). Resume with the version that wrote it, or "
            "start again in another --out."
        ) from error
