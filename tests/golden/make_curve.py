"""Writes the golden curve: `python tests/golden/make_curve.py`. Say in the commit why it moved.

Twenty steps of the nano preset on the embedded corpus, one thread, seed 0. Any change to the
initial weights, the order of the data, the model, the optimizer or the schedule moves it.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import pretrain

FILE = Path(__file__).parent / "curve_nano.json"
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=20, batch_size=8, context_length=64, learning_rate=5e-3,
    eval_every=10, eval_windows=32, sample_tokens=0, device="cpu", threads=1, seed=0,
)  # fmt: skip


def measure() -> dict[str, list[float]]:
    """The curve of this code, on this machine."""
    threads = torch.get_num_threads()
    try:
        outcome = pretrain(CONFIG)
    finally:
        torch.set_num_threads(threads)
    return {
        "train": outcome.state.train["loss"],
        "held_out": outcome.state.held_out["loss"],
        "bigram": [outcome.bigram],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FILE}")
