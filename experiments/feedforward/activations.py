"""ReLU, GELU or SwiGLU: which feed-forward learns most at equal parameters?

The same small decoder reads Shakespeare's plays byte by byte with seven kinds of feed-forward. A
gated one has three matrices, so it gets two thirds of the width and exactly as many parameters.
Two arms have no activation function: one is linear, and one multiplies two linear projections. One
more arm is the comparison done wrong: SwiGLU at the full width, with half as many parameters again.
Each learning rate is swept; batches, their order and the initial spread are the same.
"""

import math

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Line, Panel

from ._train import QUICK, Settings, described, read


def arm(title: str, role: str, kind: str, width: int) -> dict:
    return {"title": title, "role": role, "kind": kind, "hidden": 48, "width": width}


experiment = Experiment(
    name="feedforward/activations",
    factors=("kind", "width"),
    arms={
        "linear": arm("linear", "none", "linear", 192),
        "relu": arm("ReLU", "a", "relu", 192),
        "gelu": arm("GELU", "b", "gelu", 192),
        "silu": arm("SiLU", "c", "silu", 192),
        "bilinear": arm("bilinear", "d", "bilinear", 128),
        "swiglu": arm("SwiGLU", "model", "swiglu", 128),
        "swiglu_wide": arm("SwiGLU, 1.5 × the parameters", "e", "swiglu", 192),
    },
    settings=Settings(),
    quick=QUICK,
    quick_arms=("relu", "swiglu"),
    sweep=Sweep("learning_rate", (1e-2, 2e-2, 4e-2), "selection_loss", quick=(1e-2,),
                beyond=(5e-3, 2.5e-3, 8e-2)),
    primary="held_out_loss",
    chance={"held_out_loss": math.log(259)},
    repeat=tuple((kind, 0) for kind in ("linear", "gelu", "bilinear", "swiglu")),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    return read(arm, seed, settings)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described(settings)


def paired(record, one: str, other: str) -> tuple[bool, bool, str]:
    """Whether `one` is lower with every seed, whether it is higher with every seed, and by what.

    The seeds pair: one seed is one order of the same batches.
    """
    losses = zip(*(record.seeds(name, "held_out_loss") for name in (one, other)), strict=True)
    gaps = [a - b for a, b in losses]
    said = f"{one} minus {other}: " + ", ".join(f"{gap:+.3f}" for gap in gaps)
    return max(gaps) < 0, min(gaps) > 0, said


@experiment.derived
def derived(record):
    """How far below GELU each kind ends, on average."""
    loss = {arm: record.value(arm, "held_out_loss") for arm in record.arms}
    return {a: {"lead_over_gelu": loss["gelu"] - loss[a]} for a in loss} if "gelu" in loss else {}


@experiment.claim(quick=True)
def parameters_are_equal(record):
    """All arms but the wrong comparison have the same number of parameters, to the last one."""
    sizes = {a: record.value(a, "parameters") for a in record.arms if a != "swiglu_wide"}
    return len(set(sizes.values())) == 1, f"{min(sizes.values()):,.0f} parameters"


@experiment.claim()
def linear_is_worst(record):
    """Without any nonlinearity the feed-forward is worst, with every seed and against every arm."""
    found = [paired(record, "linear", name) for name in record.arms if name != "linear"]
    return all(worse for _, worse, _ in found), "; ".join(said for _, _, said in found)


@experiment.claim()
def swiglu_beats_relu(record):
    """At equal parameters SwiGLU ends below ReLU with every seed."""
    return paired(record, "swiglu", "relu")[::2]


@experiment.claim()
def swiglu_beats_gelu(record):
    """At equal parameters SwiGLU ends below GELU with every seed."""
    return paired(record, "swiglu", "gelu")[::2]


@experiment.claim()
def gelu_beats_relu(record):
    """GELU ends below ReLU with every seed."""
    return paired(record, "gelu", "relu")[::2]


@experiment.claim()
def product_does_without(record):
    """A product of two linear projections, with no activation function, ends below ReLU."""
    return paired(record, "bilinear", "relu")[::2]


@experiment.claim()
def unfair_doubles_it(record):
    """Counting two matrices for three at least doubles what SwiGLU seems to gain over GELU."""
    loss = {a: record.value(a, "held_out_loss") for a in ("gelu", "swiglu", "swiglu_wide")}
    fair, unfair = loss["gelu"] - loss["swiglu"], loss["gelu"] - loss["swiglu_wide"]
    return unfair > 2 * max(fair, 0), f"fair {fair:+.3f}, unfair {unfair:+.3f} nats a byte"


@experiment.figure()
def gaps(record):
    """Held-out loss of each kind minus ReLU's, each at its own best rate; whiskers: three seeds."""
    names = [name for name in record.arms if name != "relu"]
    rows = []
    for name in names:
        pairs = zip(*(record.seeds(n, "held_out_loss") for n in (name, "relu")), strict=True)
        rows.append([one - relu for one, relu in pairs])
    bars = Bars([record.arms[n]["title"] for n in names], [sum(r) / len(r) for r in rows],
                role="model", lo=[min(r) for r in rows], hi=[max(r) for r in rows])  # fmt: skip
    x = Axis("held-out nats a byte, minus ReLU's")
    return Figure(Panel(x, Axis("", "category"), bars=[bars], legend="none"))


@experiment.figure()
def rates(record):
    """Loss on the text that selects, against the learning rate, one line for each kind."""
    dashes = ("dot", "solid", "dash", "dashdot", "longdash", "solid", "dot")
    lines = []
    for (name, arm), dash in zip(record.arms.items(), dashes, strict=False):
        sweep = record.sweep(name)
        tried = sorted(zip(sweep["values"], sweep["scores"], strict=True))
        lines.append(Line([r for r, _ in tried], [s for _, s in tried], arm["title"], arm["role"],
                          dash=dash, marker="circle"))  # fmt: skip
    level = Level(record.level("baseline", "held_out_loss"), "bigram table", "baseline")
    return Figure(Panel(Axis("learning rate", "log"), Axis("nats a byte"), lines, levels=[level],
                        legend="top"))  # fmt: skip
