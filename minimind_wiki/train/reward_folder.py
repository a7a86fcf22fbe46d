"""A reward model on disk: a model folder whose head is a score (transformers' sequence classifier).

`AutoModelForSequenceClassification.from_pretrained(folder)` reads it, and `load_reward_folder`
reads those with one label that others trained.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.folder import write_model_files
from minimind_wiki.infer.hub_config import config_from_hub
from minimind_wiki.infer.hub_tensors import tensors_from_hub
from minimind_wiki.infer.read import check_tensors, read_json, read_tensors
from minimind_wiki.model import Transformer
from minimind_wiki.train.reward import RewardModel

KIND = "ForSequenceClassification"


def save_reward_folder(
    path: str | Path, model: RewardModel, tokenizer: Any = None, run: dict[str, Any] | None = None
) -> Path:
    """Write the reward model to `path`, replacing a reward model that is there; return the path.

    It is written beside its place and renamed, so that the folder is whole or not there; other
    files that stood in it (a log) stay. WrongCall if something else is at `path`.
    """
    path = Path(path).absolute()
    taken = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if taken and not _is_reward_folder(path):
        raise WrongCall(f"{path} is no reward model, so it is not overwritten; choose another.")
    fresh, old = (path.parent / f".{path.name}.{word}" for word in ("new", "old"))
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        write_model_files(fresh, cast(Transformer, model), tokenizer, run)
        _say_what_it_is(fresh / "config.json")
        if path.exists():  # else an interrupted save left the old model there; it goes last
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        fresh.rename(path)
        for entry in old.iterdir() if old.exists() else ():
            if not (path / entry.name).exists():
                entry.rename(path / entry.name)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise MinimindError(
            f"cannot write {path} ({error.strerror or error}); free space there or choose another "
            "place."
        ) from error
    return path


def load_reward_folder(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> RewardModel:
    """Read a reward model; in evaluation mode. MinimindError for a folder that holds none."""
    path = Path(path)
    if not _is_reward_folder(path):
        raise MinimindError(
            f"{path} holds no reward model; give the folder of one, made by 'minimind reward'."
        )
    config = config_from_hub(read_json(path / "config.json"))
    tensors = read_tensors(path)
    score = {name: tensors.pop(name) for name in ("score.weight",) if name in tensors}
    state = tensors_from_hub(tensors, config) | score
    state.pop("lm_head.weight", None)  # a tied head, made again from the embeddings
    with torch.device(device):
        model = RewardModel(Transformer(config, seed=None))
    check_tensors(path, model.state_dict(), state)
    model.to(dtype or state["score.weight"].dtype)
    model.load_state_dict(state)
    return model.eval()


def _is_reward_folder(path: Path) -> bool:
    """Whether config.json names a sequence classifier; check_tensors looks at its labels."""
    if not (path / "config.json").exists():
        return False
    made = read_json(path / "config.json").get("architectures") or [""]
    return str(made[0]).endswith(KIND)


def _say_what_it_is(file: Path) -> None:
    """transformers reads the number of scores from their names, and takes two without any."""
    config = read_json(file)
    family = config["architectures"][0].removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    config |= {"architectures": [family + KIND], "id2label": {"0": "reward"}}
    config |= {"label2id": {"reward": 0}, "problem_type": "regression"}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
