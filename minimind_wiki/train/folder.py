"""The folder of a run: who may write to it, where it is resumed, and how the model is published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder, write_model_files
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.checkpoint import list_checkpoints, read_state
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.manifest import Damaged, check, sync
from minimind_wiki.train.resume import find_whole
from minimind_wiki.train.state import State


def publish(
    out: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    state: State,
    run: dict[str, Any],
    device: torch.device,
    tell: Callable[[str], None],
) -> Transformer:
    """Make `out` itself a model folder of the best step's weights; run.json comes last."""
    model, run = _best_whole(out, model, state, run, device, tell)
    fresh = out / ".new-model"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        write_model_files(fresh, model, tokenizer, run)
        for file in sorted(fresh.iterdir(), key=lambda f: f.name == "run.json"):
            sync(file)
            file.replace(out / file.name)
        fresh.rmdir()
        sync(out)
        for leftover in (out / "checkpoints").glob(".*"):  # of a kill, with no write after it
            shutil.rmtree(leftover)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        why = getattr(error, "strerror", None) or error
        raise MinimindError(
            f"the model could not be written to {out} ({why}); its checkpoints are whole. Make "
            "room and use --resume."
        ) from error
    return model


def _best_whole(
    out: Path,
    model: Transformer,
    state: State,
    run: dict[str, Any],
    device: torch.device,
    tell: Callable[[str], None],
) -> tuple[Transformer, dict[str, Any]]:
    """The weights of the best step, read from its checkpoint unless it is the last.

    If a disk has spoilt that checkpoint, the last step's weights take their place; `tell` and
    run.json say so.
    """
    step = state.best_step
    if step == state.step:
        return model, run
    try:
        folder = out / "checkpoints" / f"step-{step:06d}"
        check(folder, step)
        return load_model_folder(folder, device)[0], run
    except Damaged as fault:
        tell(f"DAMAGED CHECKPOINT: {fault}. The weights of the last step, {state.step:,}, are "
             f"published instead of those of the best, {step:,}.")  # fmt: skip
    held_out = {name: values[-1] for name, values in state.held_out.items() if values}
    return model, run | {"held_out": run["held_out"] | held_out}


def saved_run(out: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """Settings and model fields of the run in `out`, for `--resume`."""
    folder, state, about = _readable_state(out)
    try:
        config = TrainConfig(**about["settings"])
    except TypeError as error:
        raise MinimindError(f"{folder} was written by another version ({error}).") from error
    if (out / "run.json").exists() and state.step >= config.steps:
        raise MinimindError(
            f"the run in {out} is finished ({state.step:,} steps), so there is nothing to resume. "
            "Train longer with a larger --steps in another --out."
        )
    return config, about["model"]


def saved_method(out: Path) -> dict[str, Any]:
    """Name and settings of the method of the run in `out`, for `--resume`; empty: pretraining."""
    method: dict[str, Any] = _readable_state(out)[2].get("method", {})
    return method


def _readable_state(out: Path) -> tuple[Path, State, dict[str, Any]]:
    """From the newest checkpoint whose state.json is whole: the settings are in each of them."""
    for step, folder in reversed(list_checkpoints(out)):
        try:
            check(folder, step, only="state.json")
        except Damaged:
            continue
        return folder, *read_state(folder)
    found = find_whole(out)  # raises, with the fault of each
    return found.folder, found.state, found.about


def refuse_used(out: Path) -> None:
    """Raise unless a new run may write to `out`: it does not exist or is an empty folder."""
    if out.exists() and not out.is_dir():
        raise MinimindError(f"{out} is a file. Give --out a folder that does not exist yet.")
    if (out / "run.json").exists():
        raise MinimindError(
            f"{out} holds a finished run, which is not overwritten. Choose another --out, or "
            "delete it first."
        )
    if list_checkpoints(out):
        raise MinimindError(
            f"{out} holds an unfinished run. Add --resume to go on with it, or choose another "
            "--out."
        )
    if out.is_dir() and any(e.name not in ("checkpoints", "logs") for e in out.iterdir()):
        raise MinimindError(f"{out} is not empty. Give --out a folder that does not exist yet.")
