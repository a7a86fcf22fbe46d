"""How large should a residual branch be at the start: as drawn, 1/√(2L) of it, or nothing?

A character decoder of eight blocks has sixteen branches that are added to its stream. The
matrix that ends each branch is left as drawn, divided by the root of their number as in GPT-2, or
set to zero; with a norm before each branch, and without any. The draw keeps a vector's mean square,
so that a branch is about as large as what it reads. The learning rate is swept for each. Measured:
how the stream grows from block to block as drawn, and the loss after training.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.text import real_text
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

from ..attention._train import trained, windows
from ..normalization._decoder import characters, evaluate
from ._decoder import Stream, as_drawn

SCALES = {"one": ("as drawn", "none", "dot"), "root": ("÷ √(2L)", "model", "solid"),
          "zero": ("zero", "c", "dash")}  # fmt: skip
NORMS = {"rmsnorm": "normed", "none": "no norm"}


@dataclass(frozen=True, slots=True)
class Settings:
    """One size for all arms; steps and batch decide how many characters a run sees."""

    width: int = 32
    heads: int = 4
    context: int = 32
    batch: int = 12
    steps: int = 120
    warmup: int = 20
    eval_windows: int = 256
    learning_rate: float = 3e-3  # swept


experiment = Experiment(
    name="residual-connection/branches",
    factors=("norm", "scale"),
    arms={
        f"{norm}_{scale}": {
            "title": f"{said}, {title}", "role": role, "keeps": "both", "init": "unit",
            "depth": 8, "norm": norm, "scale": scale,
        }
        for norm, said in NORMS.items() for scale, (title, role, _) in SCALES.items()
    },
    settings=Settings(),
    quick=Settings(width=32, context=32, steps=15, warmup=2, eval_windows=32),
    quick_arms=("rmsnorm_one", "rmsnorm_root", "none_one"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(3e-3,),
                beyond=(1e-4, 3e-4, 1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("rmsnorm_one", 0), ("none_zero", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    data = characters()
    torch.manual_seed(seed)
    model = Stream(data.vocab_size, arm, settings)
    start = as_drawn(model, data.train, settings, F.cross_entropy)

    def loss_at(step: int):
        inputs, targets = windows(step, seed, settings)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    with torch.no_grad():  # a stream that starts huge diverges if its loss grows tenfold
        first = loss_at(0).item()
    curve, diverged_at = trained(model, loss_at, settings, max(data.chance, first))
    values = {
        "first_loss": first,
        "stream_growth": start["stream"][-1] / start["stream"][0],
        "gradient_ratio": start["gradient"][0] / start["gradient"][-1],
    }
    for name, part in (("selection", data.select), ("held_out", data.held_out)):
        bad = diverged_at is not None
        values[f"{name}_loss"] = math.nan if bad else evaluate(model, part, settings)
    curves = {name: (range(len(ys)), ys) for name, ys in start.items()}
    return Measurement(values, {**curves, "training": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    data = characters()
    return {
        "chance": {"held_out_loss": data.chance},
        "baseline": {"held_out_loss": data.bigram},
        "data": real_text().described(),
    }


@experiment.derived
def derived(record):
    return {arm: {"best_learning_rate": record.sweep(arm)["best"]} for arm in record.arms}


def spans(record, metric: str, *arms: str) -> tuple[list[list[float]], str]:
    """Each arm's seeds, and their ranges in words."""
    found = [record.seeds(arm, metric) for arm in arms]
    said = [f"{record.arms[a]['title']}: {min(s):.3f} to {max(s):.3f}"
            for a, s in zip(arms, found, strict=True)]  # fmt: skip
    return found, "; ".join(said)


@experiment.claim(quick=True)
def growth_is_a_root(record):
    """Behind norms, branches as drawn let the stream grow by more than twofold; divided by the root
    of their number, by less."""
    one, root = (record.value(f"rmsnorm_{s}", "stream_growth") for s in ("one", "root"))
    return root < 2 < one, f"× {one:.2f} and × {root:.2f}"


@experiment.claim(quick=True)
def growth_is_a_power(record):
    """Without norms, branches as drawn let the stream grow ten times as much as behind norms."""
    normed, bare = (record.value(f"{n}_one", "stream_growth") for n in NORMS)
    return bare > 10 * normed, f"× {normed:.1f} and × {bare:.0f}"


@experiment.claim()
def scaling_pays_behind_norms(record):
    """With a norm before each branch, every seed that starts with divided branches ends below every
    seed that starts as drawn."""
    (one, root), said = spans(record, "held_out_loss", "rmsnorm_one", "rmsnorm_root")
    return max(root) < min(one), said


@experiment.claim()
def scaling_pays_without_norms(record):
    """Without any norm, the same."""
    (one, root), said = spans(record, "held_out_loss", "none_one", "none_root")
    return max(root) < min(one), said


@experiment.claim()
def zero_is_as_good(record):
    """Branches that start at zero end within 0.05 nats of divided ones, with norms and without."""
    gaps = [record.value(f"{n}_zero", "held_out_loss") - record.value(f"{n}_root", "held_out_loss")
            for n in NORMS]  # fmt: skip
    return max(map(abs, gaps)) < 0.05, ", ".join(f"{g:+.3f}" for g in gaps)


@experiment.figure()
def stream(record):
    """Root mean square of the stream after each block, before training, on a log scale: with a norm
    before each branch and without."""
    panels = []
    for norm, title in NORMS.items():
        lines = [record.line(f"{norm}_{scale}", "stream", said, dash)
                 for scale, (said, _, dash) in SCALES.items()
                 if f"{norm}_{scale}" in record.arms]  # fmt: skip
        size = Axis("size of the stream", "log", ticks=[1, 1.5, 2, 3, 4, 10, 100, 400])
        panels.append(Panel("block", size, lines, title=title))
    return Figure(panels)


TOP = 3.6  # of the loss axis


@experiment.figure()
def rates(record):
    """Loss on selection text against the learning rate, with a norm before each branch and without.
    Crosses along the top are runs that diverged or ended above guessing: without norms, branches as
    drawn at every rate. All others end close together at their best rates."""
    panels = []
    for norm, title in NORMS.items():
        lines = []
        for scale, (said, role, dash) in SCALES.items():
            if f"{norm}_{scale}" in record.arms:
                s = record.sweep(f"{norm}_{scale}")
                shown = [v if v is not None and v < TOP else None for v in s["scores"]]
                if any(v is not None for v in shown):
                    lines.append(Line(s["values"], shown, said, role, dash=dash, marker="circle"))
                lost = [r for r, v in zip(s["values"], shown, strict=True) if v is None]
                if lost:
                    name = f"{said}: lost"
                    where = [TOP - 0.08] * len(lost)
                    lines.append(Line(lost, where, name, role, dash="dot", marker="x"))
        pairs = Level(record.level("baseline", "held_out_loss"), "table of pairs", "baseline")
        y = Axis("nats a character", range=(2.4, TOP))
        panels.append(Panel(Axis("learning rate", "log"), y, lines, levels=[pairs], title=title))
    return Figure(panels)
