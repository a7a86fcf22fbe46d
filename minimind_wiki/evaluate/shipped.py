"""The small trained models that ship in `models/`, and how they are checked.

    models/NAME/            a model folder in bfloat16: half the bytes, and what it is scored with;
                            or a LoRA beside one of them, in float32
    models/NAME/ship.json   sha256 of every other file, parameters, command, world exam

The exam's items are a function of (split, seed), so whoever scores the folder again asks the same
questions. Retraining is another draw of the same command: its scores should lie in the interval.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from minimind_wiki.data.download import file_sha256
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.evaluate.chat_exam import chat_examiner
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.manner import speaks_in_chats, text_begin
from minimind_wiki.evaluate.tricks import Item
from minimind_wiki.evaluate.world_exam import Score, by_likelihood, exam
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.adapter import CONFIG, is_adapter

SHIP = "ship.json"


def examiner(
    folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Callable[[Item], bool]:
    """The judge of `world_exam.exam` for a model folder, by likelihood: in chat for one that was
    tuned to it, else in plain text. `dtype`: as it is stored.

    The model is loaded once, here. MinimindError if the folder has no tokenizer.
    """
    model, tokenizer = load_model_folder(folder, device, dtype)
    if tokenizer is None:
        raise MinimindError(f"{folder} has no tokenizer, so it cannot read a question.")
    if speaks_in_chats(folder):
        return chat_examiner(model, tokenizer, text_begin(folder))
    return partial(by_likelihood, log_likelihood(model, tokenizer, text_begin(folder)))


def ship(run: Path, name: str, root: Path, items: int) -> Path:
    """Put the model of a finished run into `root/name`, scored. WrongCall if the name is taken.

    Of a run that trained a LoRA beside a model that ships, only the LoRA is kept.
    """
    target = root / name
    if target.exists():
        raise WrongCall(
            f"{target} exists and is not overwritten; delete it or choose another name."
        )
    if not (run / "run.json").exists():
        raise WrongCall(f"{run} holds no finished run (run.json); give the --out of a training.")
    model, tokenizer = load_model_folder(run)
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    parts = root / f".{name}"
    shutil.rmtree(parts, ignore_errors=True)
    begun = Path(about.get("init", {}).get("folder", ""))
    if is_adapter(run / "adapter") and begun.resolve().parent == root.resolve():
        _copy_adapter(run, parts, f"../{begun.name}")
    else:
        save_model_folder(parts, model.to(torch.bfloat16), tokenizer, about)
    scores = exam(examiner(parts, dtype=torch.float32), items)
    entry = {
        "parameters": model.num_parameters(),
        "command": about["command"],
        "held_out": about["held_out"],
        "floor_bits_per_byte": about.get("floor_bits_per_byte"),
        "exam": {"items": items, "right": {s.section: s.right for s in scores}},
        "files": {file.name: file_sha256(file) for file in sorted(parts.iterdir())},
    }
    (parts / SHIP).write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    parts.rename(target)
    return target


def _copy_adapter(run: Path, target: Path, base: str) -> None:
    """The run's LoRA and its run.json; `base` is the model's folder as seen from there."""
    shutil.copytree(run / "adapter", target)
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copy(run / "run.json", target / "run.json")


def shipped(root: Path) -> dict[str, dict[str, Any]]:
    """What ship.json says of each model in `root`, by name."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(root.glob(f"*/{SHIP}"))
    }


def faults(folder: Path, entry: dict[str, Any]) -> list[str]:
    """What is wrong with the files of a shipped model: changed, missing, or not accounted for."""
    found = [f"{folder / name} is missing" for name in entry["files"]
             if not (folder / name).is_file()]  # fmt: skip
    found += [
        f"{folder / name} was changed: its sha256 is not the one that {SHIP} holds"
        for name, wanted in entry["files"].items()
        if (folder / name).is_file() and file_sha256(folder / name) != wanted
    ]
    strangers = {file.name for file in folder.iterdir()} - set(entry["files"]) - {SHIP}
    return found + [f"{folder / name} is not in {SHIP}" for name in sorted(strangers)]


def exam_faults(
    folder: Path, entry: dict[str, Any], tell: Callable[[Score], None] = lambda score: None
) -> list[str]:
    """Sections where the model answers otherwise than when it was shipped.

    The same weights and items must give the same choices; another machine may round otherwise and
    turn an item whose options are nearly as likely, so two items a section are let through.
    """
    found, items = [], entry["exam"]["items"]
    judge = examiner(folder, dtype=torch.float32)
    for section, right in entry["exam"]["right"].items():
        now = exam(judge, items, sections=(section,))[0]
        tell(now)
        if abs(now.right - right) > 2:
            found.append(f"{folder}: {section} has {now.right} of {items} right, not {right}")
    return found
