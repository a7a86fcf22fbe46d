"""How large should a residual branch be at the start: as drawn, 1/√(2L) of it, or nothing?

A character decoder of eight blocks has sixteen branches that are added to its stream. The
matrix that ends each branch is left as drawn, divided by the root of their number as in GPT-2, or
set to zero; with a norm before each branch, and without any. The draw keeps a vector's mean square,
so that a branch is about as large as what it reads. The learning rate is swept for each. Measured:
how the stream grows from block to block as drawn, and the loss after training.
"""

import torch

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ..normalization._decoder import characters
from ._decoder import Settings, Stream, as_drawn, described, fitted
from ._drawn import swept

SCALES = {"one": ("as drawn", "none", "dot"), "root": ("÷ √(2L)", "model", "solid"),
          "zero": ("zero", "c", "dash")}  # fmt: skip
NORMS = {"rmsnorm": "normed", "none": "no norm"}


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
    settings=Settings(steps=120),
    quick=Settings(steps=15, warmup=2, eval_windows=32),
    quick_arms=("rmsnorm_one", "rmsnorm_root", "none_one"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(3e-3,),
                beyond=(1e-4, 3e-4, 1e-3, 3e-2, 1e-1, 3e-1)),
    primary="held_out_loss",
    repeat=(("rmsnorm_one", 0), ("none_zero", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.manual_seed(seed)
    model = Stream(characters().vocab_size, arm, settings)
    start = as_drawn(model, settings)
    losses, curve, diverged_at = fitted(model, seed, settings)
    values = {
        **losses,
        "stream_growth": start["stream"][-1] / start["stream"][0],
        "gradient_ratio": start["gradient"][0] / start["gradient"][-1],
    }
    curves = {name: (range(len(ys)), ys) for name, ys in start.items()}
    return Measurement(values, {**curves, "training": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


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
    (one, root), said = record.spans("held_out_loss", "rmsnorm_one", "rmsnorm_root")
    return max(root) < min(one), said


@experiment.claim()
def scaling_pays_without_norms(record):
    """Without any norm, the same."""
    (one, root), said = record.spans("held_out_loss", "none_one", "none_root")
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


@experiment.figure()
def rates(record):
    """Loss on selection text against the learning rate, with a norm before each branch and without.
    Crosses along the top are runs that diverged or ended above guessing: without norms, branches as
    drawn at every rate. All others end close together at their best rates."""
    return Figure([
        swept(record, {f"{norm}_{scale}": kind for scale, kind in SCALES.items()}, title, 3.6)
        for norm, title in NORMS.items()
    ])  # fmt: skip
