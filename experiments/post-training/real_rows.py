"""Do the doors fit real rows? Fine-tuning on Alpaca, then DPO on HH-RLHF, with a toy of a model.

The shipped world model has 2.2M parameters and has read nothing but the little world, so it will
not become useful. What is asked is whether the pipeline carries real conversations: whether it
learns their form (loss on held-out answers, against a count of single tokens), and whether pairs
move its preference. In pairs that people chose, length alone predicts the choice a little: that is
the level to beat. The full run reads the data folder; a quick one makes its rows.
"""

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.record import repo_root
from minimind_wiki.data.sft_rows import SftReport, examples
from minimind_wiki.errors import MinimindError
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train import sources
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.dpo import DpoSettings, dpo
from minimind_wiki.train.sft import SftSettings, sft

from ._stages import made, place


@dataclass(frozen=True, slots=True)
class Settings:
    """Rows of each method, its steps, chats or pairs in a step, its rate, the longest row; and rows
    measured. The longest answer of a pair has 956 tokens."""

    sft_data: str = "sft/alpaca_en_12k"
    sft_steps: int = 200
    sft_batch: int = 16
    sft_rate: float = 1e-3
    sft_context: int = 512
    dpo_data: str = "preference/hh_harmless_base_test"
    dpo_steps: int = 60
    dpo_batch: int = 8
    dpo_rate: float = 5e-5
    dpo_context: int = 1024
    held_out: int = 231
    counted: int = 2000


experiment = Experiment(
    name="post-training/real_rows",
    factors=("method",),
    arms={
        "sft": {"title": "SFT on Alpaca", "role": "a", "method": "sft"},
        "dpo": {"title": "then DPO on HH-RLHF", "role": "model", "method": "dpo"},
    },
    settings=Settings(),
    quick=Settings("world/instructions", 2, 2, dpo_data="world/preference", dpo_steps=2,
                   dpo_batch=2, held_out=4, counted=20),
    primary="loss_after",
    budget=1200.0,
    repeat=(("sft", 0),),
    noisy=("seconds",),
)  # fmt: skip
BASE = "world-tiny"


def open_rows(spec: str, schema: str, most: int, seed: int = 0) -> sources.Source:
    """The rows, the last tenth of a file held out; or a word on where real ones are."""
    try:
        return sources.open_source(spec, schema, seed, 0.1, most)
    except MinimindError as error:
        raise MinimindError(
            f"{error} The full run reads Alpaca and HH-RLHF from the data folder: let "
            "MINIMIND_DATA name it, or run with --quick, which makes rows of the little world."
        ) from error


def train(method: str, seed: int, settings: Settings, init: Path, out: Path | None, resume: bool):
    """One stage from the model folder of the stage before."""
    names = ("data", "steps", "batch", "rate", "context")
    data, steps, batch, rate, context = (getattr(settings, f"{method}_{name}") for name in names)
    open_rows(data, "sft" if method == "sft" else "preference", 1)
    how = TrainConfig(
        init=str(init), data=data, steps=steps, batch_size=batch, learning_rate=rate,
        context_length=context, eval_every=max(1, steps // (8 if method == "sft" else 2)),
        eval_windows=settings.held_out, sample_tokens=0, seed=seed, device="cpu",
        dtype="bfloat16", threads=1, weight_decay=0.0,
    )  # fmt: skip
    if method == "sft":
        return sft(how, SftSettings(gold_items=0), out, resume)
    return dpo(how, DpoSettings(), out, resume)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    base = repo_root() / "models" / BASE
    out = made(place(experiment.name, settings), "sft", seed,
               partial(train, "sft", seed, settings, base))  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    if arm["method"] == "dpo":
        run = train("dpo", seed, settings, out, None, False).run
    held = run["curve"]["held_out"]
    values = {
        "loss_before": held["loss"][0], "loss_after": held["loss"][-1],
        "seconds": run["seconds"], "left_out": run["data"].get("left_out", 0),
    }  # fmt: skip
    curves = {"loss": (held["step"], held["loss"])}
    if arm["method"] == "dpo":
        values |= {name: held[name][-1] for name in ("accuracy", "margin", "kl")}
        curves["accuracy"] = (held["step"], held["accuracy"])
    return Measurement(values, curves)


def longer(row: dict) -> int:
    """1 where the chosen answer is the longer one, -1 where it is the shorter, 0 for a tie."""
    chosen, rejected = (len(row[name][-1]["content"]) for name in ("chosen", "rejected"))
    return (chosen > rejected) - (chosen < rejected)


def unigram(source: sources.Source, settings: Settings) -> float:
    """Nats a token on held-out answers of a count of single tokens, each once more than seen."""
    tokenizer = load_tokenizer(str(repo_root() / "models" / BASE))

    def learned(rows) -> np.ndarray:
        chats = examples(rows, tokenizer, settings.sft_context, "drop", SftReport())
        counts = np.zeros(tokenizer.vocab_size)
        for chat in chats:
            np.add.at(counts, chat.ids[chat.flags == 1], 1)
        return counts

    seen, asked = learned(source.rows(0, settings.counted)) + 1, learned(source.held_out)
    return float(-(asked * np.log(seen / seen.sum())).sum() / asked.sum())


@experiment.levels
def levels(settings: Settings):
    """Single tokens counted; and how often a rule of length picks the chosen answer. Whether the
    longer or the shorter one is said to be better is decided by training rows."""
    chats = open_rows(settings.sft_data, "sft", settings.held_out)
    pairs = open_rows(settings.dpo_data, "preference", settings.held_out)
    sign = 1 if sum(map(longer, pairs.rows(0, settings.counted))) > 0 else -1
    hits = [0.5 * (1 + sign * longer(row)) for row in pairs.held_out]
    return {
        "baseline": {"loss_after": unigram(chats, settings), "accuracy": sum(hits) / len(hits)},
        "chance": {"accuracy": 0.5},
        "data": {
            "name": f"{settings.sft_data}, {settings.dpo_data}",
            "bytes": chats.about["bytes"] + pairs.about["bytes"],
        },
    }


@experiment.claim()
def learns_the_form(record):
    """Fine-tuning brings the loss on held-out answers of Alpaca below that of a count of single
    tokens, by more than half a nat a token, with every seed."""
    after, counted = record.seeds("sft", "loss_after"), record.level("baseline", "loss_after")
    return counted - max(after) > 0.5, f"at most {max(after):.2f} nats, counted {counted:.2f}"


@experiment.claim()
def pairs_move_it(record):
    """DPO lowers the loss of held-out pairs with every seed, and prefers the chosen answer more
    often than a coin would in 95 % of cases."""
    before, after = (record.seeds("dpo", f"loss_{when}") for when in ("before", "after"))
    accuracy = record.seeds("dpo", "accuracy")
    least = 0.5 + 1.96 * 0.5 / record.settings["held_out"] ** 0.5
    good = all(a < b for a, b in zip(after, before, strict=True)) and min(accuracy) > least
    return good, f"accuracy {min(accuracy):.1%} to {max(accuracy):.1%}; needed {least:.1%}"


@experiment.claim()
def more_than_length(record):
    """With every seed it prefers the chosen answer more often than a rule of lengths alone."""
    accuracy, rule = record.seeds("dpo", "accuracy"), record.level("baseline", "accuracy")
    return min(accuracy) > rule, f"{min(accuracy):.1%} at least, the rule {rule:.1%}"


@experiment.claim(quick=True)
def begins_with_a_coin(record):
    """Before its first step DPO has the loss of a coin, log 2: the model is its own reference."""
    off = max(abs(loss - math.log(2)) for loss in record.seeds("dpo", "loss_before"))
    return off < 1e-3, f"at most {off:.0e} from log 2"


@experiment.figure()
def learning(record):
    """Held-out loss on Alpaca over the steps of fine-tuning, with that of a count of single tokens;
    and how often DPO prefers the chosen answer of a held-out pair, over its steps, with chance and
    the rule of length."""
    counted = Level(record.level("baseline", "loss_after"), "single tokens", "baseline")
    marks = [Level(record.level("chance", "accuracy"), "chance", "chance"),
             Level(record.level("baseline", "accuracy"), "length alone", "baseline")]  # fmt: skip
    return Figure([
        Panel("step of SFT", Axis("nats per token, held out"), [record.line("sft", "loss")],
              levels=[counted]),
        Panel("step of DPO", Axis("chosen preferred"), [record.line("dpo", "accuracy")],
              levels=marks),
    ])  # fmt: skip
