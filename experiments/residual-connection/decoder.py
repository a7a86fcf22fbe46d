"""Can a decoder do without its residual connections, and which of the two does it need?

A character decoder with a norm before each branch, two and six blocks deep. Both branches are
added to the stream; or only attention is, or only the feed-forward; or neither, from PyTorch's draw
and from an orthogonal one, which keeps a plain stack's gradient alive. The parameters are the same
and the learning rate is swept for each. Measured as drawn: the gradient after every block, and how
alike the vectors of a text's places have become; then the loss.
"""

import torch

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ..normalization._decoder import characters
from ._decoder import Settings, Stream, as_drawn, described, fitted
from ._drawn import swept

KINDS = {  # name: title, role, dash, keeps, init
    "both": ("both added", "prenorm", "solid", "both", "default"),
    "attention": ("attention added", "a", "dash", "attention", "default"),
    "feed_forward": ("feed-forward added", "b", "dashdot", "feed_forward", "default"),
    "none": ("none added", "none", "dot", "none", "default"),
    "none_orthogonal": ("none, orthogonal", "he", "longdash", "none", "orthogonal"),
}
DEPTHS = (2, 6)
COLOURS = {"both": "model", "feed_forward": "d"}  # where two kinds would have one colour


experiment = Experiment(
    name="residual-connection/decoder",
    factors=("keeps", "init", "depth"),
    arms={
        f"{name}_{depth}": {
            "title": f"{title}, {depth} blocks", "role": role, "norm": "rmsnorm", "scale": "one",
            "keeps": keeps, "init": init, "depth": depth,
        }
        for depth in DEPTHS for name, (title, role, _, keeps, init) in KINDS.items()
    },
    settings=Settings(),
    quick=Settings(batch=8, steps=20, warmup=2, eval_windows=32),
    quick_arms=("both_6", "none_6", "none_orthogonal_6"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(3e-3,),
                beyond=(3e-4, 1e-3, 3e-2, 1e-1, 3e-1)),
    primary="held_out_loss",
    repeat=(("both_2", 0), ("attention_2", 0), ("feed_forward_2", 1), ("none_orthogonal_2", 2)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.manual_seed(seed)
    model = Stream(characters().vocab_size, arm, settings)
    start = as_drawn(model, settings)
    losses, curve, diverged_at = fitted(model, seed, settings)
    values = {
        **losses,
        "gradient_ratio": start["gradient"][0] / start["gradient"][-1],
        "alike": start["alike"][-1],
        "alike_trained": as_drawn(model, settings)["alike"][-1],
    }
    curves = {name: (range(len(ys)), ys) for name, ys in start.items()}
    return Measurement(values, {**curves, "training": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.claim()
def deep_needs_them(record):
    """At six blocks every seed with both ends below every seed of each arm that lacks one."""
    (both, *others), said = record.spans("held_out_loss", *(f"{k}_6" for k in KINDS))
    return all(max(both) < min(other) for other in others), said


@experiment.claim()
def depth_pays_with_them(record):
    """Six blocks with both end below two blocks with both, every seed."""
    (two, six), said = record.spans("held_out_loss", "both_2", "both_6")
    return max(six) < min(two), said


@experiment.claim()
def depth_hurts_without(record):
    """Without any, six blocks end above two, every seed, from both draws."""
    pairs = [record.spans("held_out_loss", f"{k}_2", f"{k}_6") for k in ("none", "none_orthogonal")]
    return all(min(deep) > max(two) for (two, deep), _ in pairs), "; ".join(s for _, s in pairs)


@experiment.claim()
def shallow_does_without(record):
    """With two blocks the best arm without any ends within 0.05 nats of both."""
    arms = ("both_2", "none_2", "none_orthogonal_2")
    (both, *none), said = record.spans("held_out_loss", *arms)
    mean = [sum(s) / len(s) for s in (both, *none)]
    return min(mean[1:]) < mean[0] + 0.05, said


@experiment.claim(quick=True)
def places_grow_alike(record):
    """As drawn, six blocks without residuals make the places of a text alike (mean cosine above
    0.9), since attention averages and nothing keeps them apart; with residuals it is below 0.5."""
    both, none = (record.value(f"{k}_6", "alike") for k in ("both", "none"))
    return both < 0.5 and none > 0.9, f"{both:.2f} and {none:.3f}"


@experiment.figure()
def start(record):
    """Before training, after each of six blocks: the norm of the gradient in the stream, and how
    alike the vectors of a text's places are."""
    panels = []
    axes = {"gradient": Axis("norm of the gradient", "log"),
            "alike": Axis("mean cosine of two places", range=(-0.05, 1.05))}  # fmt: skip
    for curve, y in axes.items():
        lines = [record.line(f"{name}_6", curve, kind[0], kind[2],
                             role=COLOURS.get(name, kind[1]))
                 for name, kind in KINDS.items() if f"{name}_6" in record.arms]  # fmt: skip
        panels.append(Panel("block", y, lines))
    return Figure(panels)


@experiment.figure()
def rates(record):
    """Loss on selection text against the learning rate, for two and six blocks."""
    return Figure([
        swept(record, {f"{name}_{depth}": (kind[0], COLOURS.get(name, kind[1]), kind[2])
                       for name, kind in KINDS.items()}, f"{depth} blocks", 3.6)
        for depth in DEPTHS
    ])  # fmt: skip
