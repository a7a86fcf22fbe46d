"""What each of two processes does for `test_grpo_processes.py`: GRPO runs, and a note of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from minimind_wiki.train import grpo as module
from minimind_wiki.train import loop, parallel, play
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.grpo import GrpoSettings, grpo
from minimind_wiki.train.rewards import Score

RUNS = {
    "dapo": GrpoSettings(loss="dapo", group=4, max_new_tokens=24),
    # long answers: of short ones by a model that knows nothing, often none has an end
    "options": GrpoSettings(loss="grpo", group=4, max_new_tokens=40, leave_out_cut=True,
                            resample=1, updates=2, sampler_weight=2.0),
    "reinforce": GrpoSettings(loss="reinforce", group=1, max_new_tokens=8),
    "spo": GrpoSettings(loss="spo", group=2, max_new_tokens=8),
}  # fmt: skip
STEPS = 2


def config(base: Path, data: Path) -> TrainConfig:
    """Settings of all runs."""
    return TrainConfig(
        init=str(base), data=str(data), steps=STEPS, batch_size=16, micro_batch_size=4,
        context_length=96, eval_every=STEPS, eval_windows=3, sample_tokens=0, device="cpu",
        threads=1, learning_rate=1e-3, weight_decay=0.0, timeout=120,
    )  # fmt: skip


class Watched:
    """The batches that a run reads, the gradients that it makes, and what it ends with."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.units: list[int] = []

    @contextmanager
    def watching(self, replay: Any = None) -> Iterator[None]:
        """Answers are paid by what letters they have; with `replay(step)`, it gives the batches."""
        at, clip, weighted = module.Game.at, loop.clip_gradients, play.weighted

        def keep(game: Any, step: int) -> Any:
            batch = replay(step) if replay else at(game, step)
            if batch is not None and not replay:
                named = {"ids_BT": batch.ids_BT, "labels_BT": batch.labels_BT, **batch.more}
                self.tensors |= {f"{step}.{name}": t.clone() for name, t in named.items()}
            self.units.append(batch.units if batch is not None else 0)
            return batch

        def seen(parameters: Any, limit: float) -> Tensor:
            parameters = list(parameters)
            for number, parameter in enumerate(parameters):
                key = f"{len(self.units) - 1}.gradient.{number}"
                self.tensors[key] = parameter.grad.detach().clone()
            return clip(parameters, limit)

        def judge(_: Any) -> Any:
            def score(row: Any, reply: Any) -> Score:
                paid = sum(map(ord, reply.answer)) % 1000 / 1000
                return Score(paid, {"right": 0.0, "format": 0.0})

            return score

        module.Game.at, loop.clip_gradients, play.weighted = keep, seen, judge
        try:
            yield
        finally:
            module.Game.at, loop.clip_gradients, play.weighted = at, clip, weighted


def main(rank: int, base: Path, data: Path, out: Path) -> None:
    """Process `rank` of two: writes out/NAME-RANK.{json,safetensors} for each of RUNS."""
    with parallel.joined("ddp", timeout=120):
        for name, settings in RUNS.items():
            watched = Watched()
            with watched.watching():
                outcome = grpo(config(base, data), settings)
            weights = {f"weight.{n}": t.clone() for n, t in outcome.model.state_dict().items()}
            save_file(watched.tensors | weights, out / f"{name}-{rank}.safetensors")
            state = outcome.state
            told = {"units": watched.units, "train": state.train, "held_out": state.held_out,
                    "skipped": state.skipped}  # fmt: skip
            (out / f"{name}-{rank}.json").write_text(json.dumps(told))
