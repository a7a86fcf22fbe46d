"""How wide should the feed-forward be: once the hidden size, four times, eight times?

Two questions look like one. At equal depth and equal hidden size, a wider feed-forward is also more
parameters: those arms are without any, and with 1, 2, 4 and 8 times the hidden size. In the other
arms the parameters are equal to those of the 4 ×: what the feed-forward gains in width, the hidden
size gives up. All have two matrices and GELU, and two layers; each learning rate is swept.
"""

import math
from itertools import pairwise

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

from ._train import QUICK, Settings, described, read


def arm(title: str, hidden: int, width: int, role: str = "b") -> dict:
    kind = "gelu" if width else "none"
    return {"title": title, "role": role, "kind": kind, "hidden": hidden, "width": max(1, width)}


experiment = Experiment(
    name="feedforward/expansion",
    factors=("kind", "hidden", "width"),
    arms={
        "none": arm("no feed-forward", 48, 0, "none"),
        "x1": arm("1 ×", 48, 48),
        "x2": arm("2 ×", 48, 96),
        "x4": arm("4 ×", 48, 192, "model"),
        "x8": arm("8 ×", 48, 384),
        "equal_64": arm("1.1 ×, hidden 64", 64, 72, "a"),
        "equal_56": arm("2.3 ×, hidden 56", 56, 128, "a"),
        "equal_40": arm("7 ×, hidden 40", 40, 280, "a"),
        "equal_32": arm("12.5 ×, hidden 32", 32, 400, "a"),
    },
    settings=Settings(),
    quick=QUICK,
    quick_arms=("none", "x1"),
    sweep=Sweep("learning_rate", (1e-2, 2e-2, 4e-2), "selection_loss", quick=(1e-2,),
                beyond=(5e-3, 2.5e-3, 8e-2)),
    primary="held_out_loss",
    chance={"held_out_loss": math.log(259)},
    repeat=(("none", 0), ("x1", 0), ("equal_64", 0)),
)  # fmt: skip
WIDER = ("none", "x1", "x2", "x4", "x8")
EQUAL = ("equal_64", "equal_56", "x4", "equal_40", "equal_32")


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return read(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described(settings)


@experiment.derived
def derived(record):
    """Width over hidden size."""
    ratios = {name: arm["factors"] for name, arm in record.arms.items()}
    return {
        name: {"ratio": 0.0 if f["kind"] == "none" else f["width"] / f["hidden"]}
        for name, f in ratios.items()
    }


def losses(record, names):
    return [record.value(name, "held_out_loss") for name in names]


@experiment.claim()
def wider_is_better(record):
    """At equal hidden size each doubling of the width lowers the loss, with every seed."""
    seeds = [record.seeds(name, "held_out_loss") for name in WIDER[1:]]
    falls = [all(b < a for a, b in zip(one, two, strict=True))
             for one, two in pairwise(seeds)]  # fmt: skip
    return all(falls), ", ".join(f"{loss:.3f}" for loss in losses(record, WIDER[1:]))


@experiment.claim()
def first_bit_counts_most(record):
    """The first feed-forward, 1 ×, gains more than all that widening it to 8 × adds."""
    none, one, *_, eight = losses(record, WIDER)
    return none - one > one - eight, f"{none - one:.3f} and {one - eight:.3f} nats a byte"


@experiment.claim()
def parameters_are_equal(record):
    """The arms at equal parameters differ by less than two in a hundred."""
    sizes = [record.value(name, "parameters") for name in EQUAL]
    return max(sizes) < 1.02 * min(sizes), f"{min(sizes):,.0f} to {max(sizes):,.0f}"


@experiment.claim()
def ratio_hardly_matters(record):
    """At equal parameters all ratios end closer together than half of what 1 × gains over none."""
    found, (none, one) = losses(record, EQUAL), losses(record, ("none", "x1"))
    spread = max(found) - min(found)
    return spread < (none - one) / 2, f"spread {spread:.3f}, the first step {none - one:.3f}"


@experiment.claim(quick=True)
def width_costs_parameters(record):
    """At equal depth and hidden size a feed-forward, and a wider one, is more parameters."""
    sizes = [record.value(name, "parameters") for name in WIDER if name in record.arms]
    return all(a < b for a, b in pairwise(sizes)), ", ".join(f"{size:,.0f}" for size in sizes)


@experiment.claim()
def shape_counts_less_than_size(record):
    """Ratios from 1 to 12 at equal parameters lie closer together than 1 × and 8 × at equal hidden
    size, where the wider has more parameters."""
    found, wider = losses(record, EQUAL), losses(record, WIDER[1:])
    spread, gain = max(found) - min(found), wider[0] - wider[-1]
    return spread < gain, f"{spread:.3f} and {gain:.3f} nats a byte"


@experiment.claim()
def four_is_best(record):
    """At equal parameters 4 × ends below every other ratio, with every seed."""
    four = record.seeds("x4", "held_out_loss")
    others = [record.seeds(name, "held_out_loss") for name in EQUAL if name != "x4"]
    good = all(a < b for other in others for a, b in zip(four, other, strict=True))
    said = zip(EQUAL, losses(record, EQUAL), strict=True)
    return good, ", ".join(f"{record.value(n, 'ratio'):.1f} ×: {loss:.3f}" for n, loss in said)


def line(record, names, title, role, dash):
    names = [name for name in names if name in record.arms]  # a quick run has few
    seeds = [record.seeds(name, "held_out_loss") for name in names]
    return Line([record.value(name, "ratio") for name in names], [sum(s) / len(s) for s in seeds],
                title, role, lo=[min(s) for s in seeds], hi=[max(s) for s in seeds], dash=dash,
                marker="circle")  # fmt: skip


@experiment.figure()
def by_ratio(record):
    """Held-out loss against the width over the hidden size: once with the hidden size held equal,
    so that wider is larger, and once with the parameters held equal. Bands are three seeds."""
    lines = [line(record, WIDER[1:], "hidden size equal", "b", "dash"),
             line(record, EQUAL, "parameters equal", "a", "solid")]  # fmt: skip
    level = Level(record.value("none", "held_out_loss"), "no feed-forward", "none")
    x = Axis("width of the feed-forward over the hidden size", "log", ticks=[1, 2, 4, 8, 12])
    return Figure(Panel(x, Axis("held-out nats a byte"), lines, levels=[level], legend="top"))
