"""DeepSpeed's ZeRO, stages 1 to 3, over gloo: the curve of one process.

Needs the package `deepspeed`, which is in no extra of ours; without it only settings are tested.
"""

import importlib.util
import json

import pytest
from distributed_worker import CONFIG, ROWS, SHAPE, Run, apart, batch_of
from processes import in_two

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer
from minimind_wiki.train import parallel
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.deepspeed_engine import ZeroRun, zero_settings
from minimind_wiki.train.losses import LossModel

THERE = importlib.util.find_spec("deepspeed") is not None


def worker(rank, out):
    config = TrainConfig(batch_size=ROWS, micro_batch_size=2, weight_decay=0.1, beta2=0.99)
    with parallel.joined("ddp", timeout=120):
        alone = Run(parallel.Alone())
        seen = {"alone": [alone.step(step) for step in range(3)]}
        for stage in (1, 2, 3):
            run = ZeroRun(LossModel(Transformer(SHAPE, seed=0)), config, stage)
            curve = [run.step(batch_of(step), 3e-3) for step in range(3)]
            seen[str(stage)] = [curve, apart(run.whole_weights(), alone_weights(alone))]
    (out / f"seen-{rank}.json").write_text(json.dumps(seen))


def alone_weights(run):
    return {f"model.{name}": tensor for name, tensor in run.weights().items()}


@pytest.mark.skipif(not THERE, reason="deepspeed is not installed (pip install deepspeed)")
def test_the_stages_give_the_curve_of_one_process(tmp_path):
    in_two(worker, tmp_path)
    for rank in range(2):
        seen = json.loads((tmp_path / f"seen-{rank}.json").read_text())
        for stage in ("1", "2", "3"):
            curve, weights = seen[stage]
            for ours, wanted in zip(curve, seen["alone"], strict=True):
                assert ours == pytest.approx(wanted, rel=2e-6)
            assert weights < 1e-3


def test_settings_are_those_of_the_run():
    settings = zero_settings(CONFIG, 1, 2)
    assert settings["train_batch_size"] == CONFIG.batch_size
    product = settings["train_micro_batch_size_per_gpu"] * settings["gradient_accumulation_steps"]
    assert product * 2 == CONFIG.batch_size
    assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("fields", "stage", "processes", "message"),
    [
        ({}, 4, 2, "stages 1, 2 and 3, not 4"),
        ({"optimizer": "muon"}, 1, 2, "muon needs whole matrices"),
        ({"base_width": 64}, 1, 2, "base_width is not for DeepSpeed"),
        ({"batch_size": 6}, 1, 4, "multiple of 4"),
        ({"batch_size": 12, "micro_batch_size": 4}, 1, 2, "multiple of 8"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, stage, processes, message):
    with pytest.raises(WrongCall, match=message):
        zero_settings(TrainConfig(**fields), stage, processes)
