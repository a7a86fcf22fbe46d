"""Do the doors fit real rows? Fine-tuning on Alpaca, then DPO on HH-RLHF, with a toy of a model.

The shipped world model has 2.2M parameters and has read nothing but the little world, so it will
not become useful. What is asked is whether the pipeline carries real conversations: whether it
learns their form (loss on held-out answers), and whether pairs move its preference. In pairs that
people chose, length alone predicts the choice a little: that is the level to beat.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.sft import SftSettings, sft
from minimind_wiki.train.sources import open_source

from ._stages import made, place


@dataclass(frozen=True, slots=True)
class Settings:
    """Rows of each method, its steps, chats or pairs in a step, its rate; and rows measured."""

    sft_data: str = "sft/alpaca_en_12k"
    sft_steps: int = 100
    sft_batch: int = 16
    sft_rate: float = 1e-3
    dpo_data: str = "preference/hh_harmless_base_test"
    dpo_steps: int = 60
    dpo_batch: int = 8
    dpo_rate: float = 1e-4
    context: int = 1024
    held_out: int = 96


experiment = Experiment(
    name="post-training/real_rows",
    factors=("method",),
    arms={
        "sft": {"title": "SFT on Alpaca", "role": "a", "method": "sft"},
        "dpo": {"title": "then DPO on HH-RLHF", "role": "model", "method": "dpo"},
    },
    settings=Settings(),
    quick=Settings(
        "world/instructions",
        2,
        2,
        dpo_data="world/preference",
        dpo_steps=2,
        dpo_batch=2,
        held_out=4,
    ),
    primary="loss_after",
    repeat=(("dpo", 0),),
    noisy=("seconds",),
)


def config(settings: Settings, method: str, init: str, seed: int) -> TrainConfig:
    names = ("data", "steps", "batch", "rate")
    data, steps, batch, rate = (getattr(settings, f"{method}_{name}") for name in names)
    return TrainConfig(
        init=init, data=data, steps=steps, batch_size=batch, learning_rate=rate,
        context_length=settings.context,
        eval_every=max(1, steps // 4), eval_windows=settings.held_out, sample_tokens=0, seed=seed,
        device="cpu", dtype="bfloat16", threads=1, weight_decay=0.0,
    )  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    folder, base = place(experiment.name, settings), str(repo_root() / "models" / "world-tiny")

    def tune(out: Path, resume: bool) -> None:
        sft(config(settings, "sft", base, seed), SftSettings(gold_items=0), out, resume)

    out = made(folder, "sft", seed, tune)
    run = json.loads((out / "run.json").read_text())
    if arm["method"] == "dpo":
        run = dpo(config(settings, "dpo", str(out), seed), DpoSettings()).run
    held = run["curve"]["held_out"]
    values = {
        "loss_before": held["loss"][0], "loss_after": held["loss"][-1],
        "seconds": run["seconds"], "left_out": run["data"].get("left_out", 0),
    }  # fmt: skip
    curves = {"loss": (held["step"], held["loss"])}
    if arm["method"] == "dpo":
        values |= {"accuracy": held["accuracy"][-1], "margin": held["margin"][-1]}
        curves["accuracy"] = (held["step"], held["accuracy"])
    return Measurement(values, curves)


@experiment.levels
def levels(settings: Settings):
    """How often the longer, and how often the shorter of two answers is the chosen one."""
    source = open_source(settings.dpo_data, "preference", 0, 0.1, settings.held_out)
    longer = shorter = 0
    for row in source.held_out:
        chosen, rejected = (len(row[name][-1]["content"]) for name in ("chosen", "rejected"))
        longer += chosen > rejected
        shorter += chosen < rejected
    return {
        "baseline": {"accuracy": max(longer, shorter) / len(source.held_out)},
        "chance": {"accuracy": 0.5},
        "data": {
            "name": f"{settings.sft_data}, {settings.dpo_data}",
            "bytes": source.about["bytes"],
        },
    }


@experiment.claim()
def learns_the_form(record):
    """Fine-tuning lowers the loss on held-out answers of Alpaca by more than a nat a token."""
    before, after = (record.seeds("sft", f"loss_{when}") for when in ("before", "after"))
    least = min(b - a for b, a in zip(before, after, strict=True))
    return least > 1, f"at least {least:.2f} nats per token"


@experiment.claim()
def pairs_move_it(record):
    """DPO lowers the loss of held-out pairs, and prefers the chosen answer more often than not."""
    before, after = (record.seeds("dpo", f"loss_{when}") for when in ("before", "after"))
    accuracy = record.seeds("dpo", "accuracy")
    good = all(a < b for a, b in zip(after, before, strict=True)) and min(accuracy) > 0.5
    return good, f"accuracy {min(accuracy):.1%} to {max(accuracy):.1%}"


@experiment.claim()
def more_than_length(record):
    """It prefers the chosen answer more often than a rule that looks at lengths alone."""
    accuracy, rule = record.value("dpo", "accuracy"), record.level("baseline", "accuracy")
    return accuracy > rule, f"{accuracy:.1%} against {rule:.1%}"


@experiment.claim(quick=True)
def begins_with_a_coin(record):
    """Before its first step DPO has the loss of a coin, log 2: the model is its own reference."""
    off = max(abs(loss - math.log(2)) for loss in record.seeds("dpo", "loss_before"))
    return off < 1e-3, f"at most {off:.0e} from log 2"


@experiment.figure()
def learning(record):
    """Left: held-out loss on Alpaca over the steps of fine-tuning. Right: how often DPO prefers the
    chosen answer of a held-out pair, over its steps, with chance and the rule of length."""
    marks = [Level(record.level("chance", "accuracy"), "chance", "chance"),
             Level(record.level("baseline", "accuracy"), "length alone", "baseline")]  # fmt: skip
    return Figure([
        Panel("step of SFT", Axis("nats per token, held out"), [record.line("sft", "loss")]),
        Panel("step of DPO", Axis("chosen preferred"), [record.line("dpo", "accuracy")],
              levels=marks),
    ])  # fmt: skip
