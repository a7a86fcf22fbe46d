"""How far below a bigram model does `minimind pretrain --preset tiny` get on a CPU?

The main run of this book with its own defaults, on one thread: the tiny preset reads
TinyShakespeare byte by byte and is measured on the last tenth, which it never reads. The bar is a
bigram model of the same training bytes, smoothed as well as those bytes allow; chance is the
uniform distribution. One seed, as the question is what this command gives: differences of a few
hundredths of a nat between such runs say nothing.
"""

import math
import time
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.config import build
from minimind_wiki.train.pretrain import corpus_bigram, pretrain


@dataclass(frozen=True, slots=True)
class Settings:
    """preset: the model; data: its corpus; steps: 0 means the preset's own; threads: of the CPU."""

    preset: str = "tiny"
    data: str = "tinyshakespeare"
    steps: int = 0
    threads: int = 1


experiment = Experiment(
    name="pretrain-run/tiny_shakespeare",
    factors=(),
    arms={"model": {"title": "the model", "role": "model"}},
    settings=Settings(),
    quick=Settings(preset="nano", data="embedded", steps=150),
    primary="held_out_loss",
    seeds=(0,),
    noisy=("training_seconds", "cpu_seconds", "tokens_per_second"),
    parallel=False,
)  # fmt: skip


def configure(settings: Settings, seed: int):
    """The run that the command makes from the same words, on the CPU."""
    given = {"preset": settings.preset, "data": settings.data, "seed": seed, "device": "cpu",
             "threads": settings.threads, "sample_tokens": 0}  # fmt: skip
    return build(given | ({"steps": settings.steps} if settings.steps else {}), ())[0]


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    config = configure(settings, seed)
    cpu = time.process_time()
    outcome = pretrain(config)
    state, run = outcome.state, outcome.run
    tokens = state.step * config.batch_size * config.context_length
    below = [step for step, loss in zip(state.held_out["step"], state.held_out["loss"], strict=True)
             if loss < outcome.bigram]  # fmt: skip
    values = {
        "held_out_loss": state.best_loss,
        "bits_per_byte": state.best_bits,
        "best_step": state.best_step,
        "last_loss": state.held_out["loss"][-1],
        "train_loss": sum(state.train["loss"][-20:]) / len(state.train["loss"][-20:]),
        "steps": state.step,
        "tokens": tokens,
        "parameters": run["parameters"],
        "windows": run["held_out"]["windows"],
        "bigram_loss": outcome.bigram,
        "below_bigram_at_step": below[0] if below else math.nan,
        "training_seconds": state.seconds,
        "cpu_seconds": time.process_time() - cpu,
        "tokens_per_second": tokens / state.seconds,
    }
    curves = {
        "train": (state.train["step"], state.train["loss"]),
        "held_out": (state.held_out["step"], state.held_out["loss"]),
    }
    return Measurement(values, curves)


@experiment.levels
def levels(settings: Settings):
    bigram, corpus = corpus_bigram(configure(settings, 0))
    chance = math.log(ByteTokenizer.vocab_size)
    return {
        "chance": {"held_out_loss": chance, "bits_per_byte": chance / math.log(2)},
        "baseline": {"held_out_loss": bigram, "bits_per_byte": bigram / math.log(2)},
        "data": {name: corpus[name] for name in ("name", "bytes", "sha256")},
    }


@experiment.claim(quick=True)
def learns(record):
    """The model learns: its held-out loss is far below chance."""
    loss = record.value("model", "held_out_loss")
    chance = record.level("chance", "held_out_loss")
    return loss < 0.6 * chance, f"{loss:.3f} nats/byte, chance {chance:.3f}"


@experiment.claim()
def clearly_below_bigram(record):
    """The model ends clearly below the bigram model: by more than half a nat a byte."""
    loss, bigram = (record.value("model", name) for name in ("held_out_loss", "bigram_loss"))
    return bigram - loss > 0.5, f"{loss:.3f} nats/byte, bigram {bigram:.3f}"


@experiment.claim()
def no_overfitting_yet(record):
    """The model's last measurement is its best: it could be trained longer."""
    last, best = (record.value("model", name) for name in ("last_loss", "held_out_loss"))
    return last <= best + 0.005, f"best {best:.4f}, last {last:.4f}"


@experiment.figure()
def curves(record):
    """Training and held-out loss against the optimizer step. Both start at chance, pass the bigram
    model's level early and end well below it, the held-out loss above the training loss."""
    train, held_out = record.curve("model", "train"), record.curve("model", "held_out")
    lines = [
        Line(train["x"], train["mean"], "training", "b", dash="dot"),
        Line(held_out["x"], held_out["mean"], "held out", "model", marker="circle"),
    ]
    levels = [
        Level(record.level("chance", "held_out_loss"), "chance", "chance"),
        Level(record.level("baseline", "held_out_loss"), "bigram model", "baseline"),
    ]
    return Figure(Panel("optimizer step", Axis("loss in nats per byte"), lines, levels=levels))
