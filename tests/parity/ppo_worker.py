"""What each of two processes does for `test_ppo_processes.py`: a PPO run, and a note of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from minimind_wiki.train import parallel, play
from minimind_wiki.train import ppo as module
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.ppo import PpoSettings, ppo
from minimind_wiki.train.rewards import Score

SETTINGS = PpoSettings(epochs=2, minibatches=2, max_new_tokens=8, max_drift=1e-4)


def config(base: Path, data: Path) -> TrainConfig:
    """Two cycles of 16 answers."""
    return TrainConfig(
        init=str(base), data=str(data), steps=8, batch_size=8, micro_batch_size=2,
        context_length=96, eval_every=8, eval_windows=4, sample_tokens=0, device="cpu", threads=1,
        learning_rate=1e-3, weight_decay=0.0, timeout=120,
    )  # fmt: skip


def judge(_: Any) -> Any:
    """Answers are paid by what letters they have."""
    return lambda row, reply: Score(sum(map(ord, reply.answer)) % 1000 / 1000, {})


def main(rank: int, base: Path, data: Path, out: Path) -> None:
    """Process `rank` of two: writes out/RANK.{json,safetensors}."""
    play.weighted = judge
    tensors, passed_over, raw, games = {}, [], [], []
    at, rewards = module.Game.at, module.Game.rewards

    def keep(game: Any, step: int) -> Any:
        batch = at(game, step)
        games[:] = [game]
        passed_over.append(batch is None)
        if batch is not None:
            tensors[f"{step}.labels_BT"] = batch.labels_BT.clone()
        return batch

    def paid(game: Any, rows: Any, drawn: Any) -> Any:
        raw.append(rewards(game, rows, drawn).tolist())
        return rewards(game, rows, drawn)

    module.Game.at, module.Game.rewards = keep, paid
    with parallel.joined("ddp", timeout=120):
        outcome = ppo(config(base, data), SETTINGS)
    tensors |= {f"weight.{n}": t.clone() for n, t in outcome.model.state_dict().items()}
    tensors |= {f"critic.{n}": t.clone() for n, t in games[0].critic.state_dict().items()}
    save_file(tensors, out / f"{rank}.safetensors")
    told = {"train": outcome.state.train, "skipped": outcome.state.skipped, "raw": raw,
            "passed_over": passed_over}  # fmt: skip
    (out / f"{rank}.json").write_text(json.dumps(told))
