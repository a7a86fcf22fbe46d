"""The folder of a run: who may write to it, where it is resumed, and how the model is published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import write_model_files
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.checkpoint import list_checkpoints, read_state
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.extra import plain, restore
from minimind_wiki.train.lora_folder import save_adapter
from minimind_wiki.train.lora_model import lora_layers
from minimind_wiki.train.manifest import Damaged, check, sync
from minimind_wiki.train.resume import find_whole
from minimind_wiki.train.state import State


def publish(
    out: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    state: State,
    run: dict[str, Any],
    tell: Callable[[str], None],
    finish: Callable[[Path, Tokenizer], None] | None = None,
) -> None:
    """Make `out` itself a model folder of the best step's weights, which `model` then has.

    What the method's `finish` writes comes before, and run.json last.
    """
    folder, run = _best_whole(out, state, run, tell)
    if folder:
        restore(folder, model)
    if lora_layers(model):
        try:
            save_adapter(out / "adapter", model, base=run["settings"]["init"])
        except WrongCall as error:  # transformers has no such layer
            tell(f"The adapter is merged into the model, and not written apart: {error}")
    if finish:
        finish(out, tokenizer)
    fresh = out / ".new-model"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        with plain(model):
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


def _best_whole(
    out: Path, state: State, run: dict[str, Any], tell: Callable[[str], None]
) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint of the best step, None if it is the last, whose weights are at hand.

    If a disk has spoilt that checkpoint, the last step's weights take their place; `tell` and
    run.json say so.
    """
    step = state.best_step
    if step == state.step:
        return None, run
    try:
        folder = out / "checkpoints" / f"step-{step:06d}"
        check(folder, step)
        return folder, run
    except Damaged as fault:
        tell(f"DAMAGED CHECKPOINT: {fault}. The weights of the last step, {state.step:,}, are "
             f"published instead of those of the best, {step:,}.")  # fmt: skip
    held_out = {name: values[-1] for name, values in state.held_out.items() if values}
    return None, run | {"held_out": run["held_out"] | held_out}


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
