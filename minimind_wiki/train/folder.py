"""The folder of a run: who may write to it, where it is resumed, and how the model is published."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder, write_model_files
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.checkpoint import list_checkpoints, read_state
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.loop import State


def publish(
    out: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    state: State,
    run: dict[str, Any],
    device: torch.device,
) -> Transformer:
    """Make `out` itself a model folder of the best step's weights; run.json comes last."""
    if state.best_step != state.step:
        folder = dict(list_checkpoints(out))[state.best_step]
        model = load_model_folder(folder, device)[0]
    fresh = out / ".new-model"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        write_model_files(fresh, model, tokenizer, run)
        for file in sorted(fresh.iterdir(), key=lambda f: f.name == "run.json"):
            file.replace(out / file.name)
        fresh.rmdir()
    except OSError as error:
        raise MinimindError(
            f"the model could not be written to {out} ({error.strerror or error}); its checkpoints "
            "are whole. Make room and use --resume."
        ) from error
    return model


def newest(out: Path) -> Path:
    """The newest checkpoint of the run in `out`; MinimindError if there is none to resume."""
    found = list_checkpoints(out)
    if not found:
        raise MinimindError(
            f"{out} has no checkpoint to resume. Check --out, or leave --resume out to start."
        )
    return found[-1][1]


def saved_run(out: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """Settings and model fields of the run in `out`, for `--resume`."""
    folder = newest(out)
    state, about = read_state(folder)
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
    if out.is_dir() and any(entry.name != "checkpoints" for entry in out.iterdir()):
        raise MinimindError(f"{out} is not empty. Give --out a folder that does not exist yet.")
