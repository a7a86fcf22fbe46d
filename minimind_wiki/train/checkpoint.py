"""Checkpoints: model folders that also hold all that a run needs to go on as if never stopped.

    checkpoints/step-000120/   a model folder (loads anywhere), and beside its files
        optimizer.safetensors  the optimizer's state, named by parameter
        rng.safetensors        the random state of torch, CUDA, NumPy and Python
        state.json             settings, data hash, step, curves, best step

A checkpoint is written under a temporary name and renamed, so one that has its name is whole, and a
new one never takes the place of an old one: the old is deleted afterwards. Never a pickle.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import write_model_files
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.loop import State
from minimind_wiki.train.optim import load_optimizer_tensors, optimizer_tensors

_NAME = re.compile(r"step-(\d{6,})")


def save_checkpoint(
    out: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    tokenizer: Tokenizer,
    state: State,
    about: dict[str, Any],
) -> Path:
    """Write `out/checkpoints/step-N` and delete all others but the best; returns its folder.

    `about` is JSON that the run needs back (settings, data). MinimindError when the disk refuses.
    """
    root = out / "checkpoints"
    folder = root / f"step-{state.step:06d}"
    fresh = root / f".new-{state.step:06d}"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        run = about | {"status": f"unfinished, at step {state.step}"}
        write_model_files(fresh, model, tokenizer, run)
        save_file(optimizer_tensors(model, optimizer), fresh / "optimizer.safetensors")
        save_file(random_state(), fresh / "rng.safetensors")
        content = json.dumps(about | {"state": dataclasses.asdict(state)}, indent=1)
        (fresh / "state.json").write_text(content + "\n", encoding="utf-8")
        if folder.exists():  # a resumed run that stops where it began
            shutil.rmtree(folder)
        fresh.rename(folder)
        for number, other in list_checkpoints(out):
            if number not in (state.step, state.best_step):
                shutil.rmtree(other)
        for leftover in root.glob(".new-*"):
            shutil.rmtree(leftover)
    except OSError as error:
        raise MinimindError(
            f"the checkpoint {folder} could not be written ({error.strerror or error}). Make room "
            "there; older checkpoints are untouched and --resume continues from them."
        ) from error
    return folder


def list_checkpoints(out: Path) -> list[tuple[int, Path]]:
    """(step, folder) of each checkpoint of a run, oldest first."""
    found = []
    for folder in (out / "checkpoints").glob("step-*"):
        if match := _NAME.fullmatch(folder.name):
            found.append((int(match[1]), folder))
    return sorted(found)


def read_state(folder: Path) -> tuple[State, dict[str, Any]]:
    """`State` and what `about` held. MinimindError, naming the file, if it cannot be read."""
    path = folder / "state.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return State(**about.pop("state")), about
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MinimindError(
            f"{path} is damaged or of another version ({error}). Delete {folder} and resume from "
            "an older checkpoint, or start again in another --out."
        ) from error


def load_training_state(folder: Path, model: Transformer, optimizer: torch.optim.Optimizer) -> None:
    """Put optimizer and random state back as they were when the checkpoint was written."""
    try:
        tensors = load_file(folder / "optimizer.safetensors")
        generators = load_file(folder / "rng.safetensors")
        load_optimizer_tensors(model, optimizer, tensors)
        restore_random_state(generators)
    except (OSError, SafetensorError, KeyError) as error:
        raise MinimindError(
            f"{folder} is damaged ({error}). Delete it and resume from an older checkpoint, or "
            "start again in another --out."
        ) from error


def random_state() -> dict[str, torch.Tensor]:
    """The state of every global random generator, as tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert kind == "MT19937"  # NumPy's only legacy generator
    _, words, next_gauss = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python.words": torch.tensor(words, dtype=torch.int64),
    }
    if next_gauss is not None:
        states["python.gauss"] = torch.tensor([next_gauss], dtype=torch.float64)
    if torch.cuda.is_available():
        for index, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"cuda.{index}"] = state
    return states


def restore_random_state(states: dict[str, torch.Tensor]) -> None:
    """Undo everything drawn since `random_state`. KeyError when a state is missing."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, gauss = states["numpy.rest"].tolist()
    keys = states["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))
    next_gauss = states["python.gauss"].item() if "python.gauss" in states else None
    random.setstate((3, tuple(states["python.words"].tolist()), next_gauss))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda.{index}" in states:
                torch.cuda.set_rng_state(states[f"cuda.{index}"], index)
