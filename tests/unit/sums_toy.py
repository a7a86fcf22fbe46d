"""What tests of reinforcement learning share: an untrained model, sums to ask, and a judge."""

import json

from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import play
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.rewards import Score


def save_base(folder):
    """An untrained `nano` that reads bytes."""
    return save_model_folder(folder, Transformer(preset("nano"), seed=0), ByteTokenizer())


def sums_config(base, path, **fields):
    """A run on 30 sums, which are written to `path`."""
    rows = [{"conversations": [{"role": "user", "content": f"{i} and 1?"}], "gt": [str(i + 1)]}
            for i in range(30)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TrainConfig(
        init=str(base), data=str(path), context_length=96, eval_windows=4, sample_tokens=0,
        device="cpu", threads=1, learning_rate=1e-3, weight_decay=0.0, **fields,
    )  # fmt: skip


def judge_by(monkeypatch, reward):
    """Let `reward(row, reply)` judge from now on."""

    def judge(_):
        return lambda row, reply: Score(reward(row, reply), {"right": 0.0, "format": 0.0})

    monkeypatch.setattr(play, "weighted", judge)
