"""What each of two processes does for `test_preference_processes.py`: learn from comparisons."""

import json
from pathlib import Path

from minimind_wiki.train import parallel
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.reward_run import train_reward

WAYS = {
    "dpo, cached": DpoSettings(cache_reference=True),
    "kto": DpoSettings("kto"),
    "kto, unpaired, cached": DpoSettings("kto", unpaired=True, cache_reference=True),
    "reward": None,
}


def curves(name: str, folder: Path) -> dict[str, list[float]]:
    """The training and held-out numbers of a short run, in one process or several."""
    settings = WAYS[name]
    data = "singles" if settings and settings.unpaired else "pairs"
    config = TrainConfig(
        init=str(folder / "base"), data=str(folder / f"{data}.jsonl"), steps=6, batch_size=4,
        micro_batch_size=1, context_length=96, eval_every=6, held_out=0.2, eval_windows=6,
        sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
    )  # fmt: skip
    outcome = dpo(config, settings) if settings else train_reward(config)
    state = outcome.state
    return state.train | {f"held-out {key}": values for key, values in state.held_out.items()}


def main(rank: int, folder: Path) -> None:
    """Process `rank` of two: writes seen-RANK.json."""
    with parallel.joined("ddp", timeout=120):
        seen = {name: curves(name, folder) for name in WAYS}
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
