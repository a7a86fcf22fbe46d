"""Does a deeper stack of plain layers fit its training text worse, and what repairs it?

A stack guesses the next character of Shakespeare's plays from the eight before it. Seven ways to
build it, at 4, 12 and 32 layers of one width: four without residual connections (as PyTorch draws
it, by He, orthogonal, and normed in each layer) and three with them (bare, normed, and with
branches that start at zero). The learning rate is swept for each. Measured: the gradient at every
layer as drawn, then the loss on training and on held-out text. A deep stack can be a shallow one
plus layers that do nothing, so a higher *training* loss means that nobody found the weights.
"""

import torch

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.lite.plot import Axis, Figure, Panel

from ..normalization._decoder import characters
from ._drawn import by_depth, by_layer
from ._stack import Settings, Stack, as_drawn, batch_of, described, fitted

KINDS = {  # name: title, role, dash, residual, norm, init
    "plain_default": ("plain", "none", "dot", False, False, "default"),
    "plain_he": ("plain, He", "he", "dash", False, False, "he"),
    "plain_orthogonal": ("plain, orthogonal", "b", "dashdot", False, False, "orthogonal"),
    "plain_norm": ("plain, normed", "rmsnorm", "longdash", False, True, "he"),
    "residual_bare": ("residual, bare", "d", "dash", True, False, "he"),
    "residual_norm": ("residual, normed", "prenorm", "solid", True, True, "he"),
    "residual_zero": ("residual, from zero", "c", "solid", True, False, "zero"),
}
DEPTHS = (4, 12, 32)


experiment = Experiment(
    name="residual-connection/depth",
    factors=("residual", "norm", "init", "depth"),
    arms={
        f"{name}_{depth}": {
            "title": f"{title}, {depth} layers", "role": role,
            "residual": residual, "norm": norm, "init": init, "depth": depth,
        }
        for depth in DEPTHS for name, (title, role, _, residual, norm, init) in KINDS.items()
    },
    settings=Settings(),
    quick=Settings(steps=20, warmup=2, batch=32, eval_rows=512),
    quick_arms=("plain_default_32", "plain_he_32", "residual_bare_32", "residual_norm_32"),
    sweep=Sweep("learning_rate", (1e-3, 3e-3), "selection_loss", quick=(1e-3,),
                beyond=(1e-4, 3e-4, 1e-2, 3e-2, 1e-1, 3e-1)),
    primary="held_out_loss",
    repeat=(("plain_norm_4", 0), ("residual_bare_4", 0), ("residual_zero_4", 1)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    torch.manual_seed(seed)
    model = Stack(characters().vocab_size, arm, arm["depth"], settings)
    start = as_drawn(model, *batch_of(10**6, seed, settings))
    losses, curve, diverged_at = fitted(model, seed, settings)
    values = {
        **losses,
        "stream_growth": start["stream"][-1] / start["stream"][0],
        "gradient_ratio": start["gradient"][0] / start["gradient"][-1],
        "alike": start["alike"][-1],
    }
    curves = {name: (range(len(ys)), ys) for name, ys in start.items()}
    return Measurement(values, {**curves, "training": curve}, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    return described()


@experiment.claim(quick=True)
def plain_gradient_vanishes(record):
    """As PyTorch draws it, less than a millionth of the gradient crosses 32 plain layers."""
    ratio = record.value("plain_default_32", "gradient_ratio")
    return ratio < 1e-6, f"{ratio:.1e}"


@experiment.claim()
def deep_plain_fits_worse(record):
    """Every plain kind fits the *training* text worse with 32 layers than with 4, every seed."""
    kinds = [name for name, kind in KINDS.items() if not kind[3]]
    pairs = [record.spans("training_loss", f"{k}_4", f"{k}_32") for k in kinds]
    return all(min(d) > max(s) for (s, d), _ in pairs), "; ".join(said for _, said in pairs)


@experiment.claim()
def residual_does_not_pay(record):
    """With residuals and a norm, 32 layers fit the training text no worse than 4 (0.02 nats)."""
    (few, many), said = record.spans("training_loss", "residual_norm_4", "residual_norm_32")
    return max(many) < min(few) + 0.02, said


@experiment.claim()
def gradient_is_not_all(record):
    """A plain stack of 32 layers whose gradient arrives (first / last above 0.1) still ends above
    every residual one with a norm, on held-out text."""
    (best,), said = record.spans("held_out_loss", "residual_norm_32")
    alive = [k for k in ("plain_he_32", "plain_orthogonal_32", "plain_norm_32")
             if record.value(k, "gradient_ratio") > 0.1]  # fmt: skip
    found, more = record.spans("held_out_loss", *alive)
    return bool(alive) and all(min(s) > max(best) for s in found), f"{said}; {more}"


@experiment.claim(quick=True)
def plain_forgets_its_input(record):
    """What such a stack lacks is its input: drawn by He, 32 plain layers turn two inputs into
    nearly one vector (mean cosine above 0.95); with residuals and a norm it stays below 0.75."""
    plain, added = (record.value(k, "alike") for k in ("plain_he_32", "residual_norm_32"))
    return plain > 0.95 and added < 0.75, f"{plain:.3f} and {added:.3f}"


@experiment.claim(quick=True)
def bare_residual_explodes(record):
    """The addition alone is no cure: drawn by He and without a norm, the stream of 32 layers grows
    more than a thousandfold."""
    growth = record.value("residual_bare_32", "stream_growth")
    return growth > 1e3, f"× {growth:.0f}"


@experiment.claim()
def zero_start_needs_no_norm(record):
    """With branches that start at zero, 32 layers without any norm end within 0.05 nats of those
    with one, on held-out text."""
    (zero, norm), said = record.spans("held_out_loss", "residual_zero_32", "residual_norm_32")
    return max(zero) < min(norm) + 0.05, said


def shown() -> dict[str, tuple[str, str, str]]:
    """Title, role and dash of each kind; other roles where two would have one colour."""
    own = {"plain_orthogonal": "d", "residual_bare": "default", "residual_norm": "model",
           "residual_zero": "a"}  # fmt: skip
    return {name: (kind[0], own.get(name, kind[1]), kind[2]) for name, kind in KINDS.items()}


@experiment.figure()
def gradient(record):
    """Norm of the gradient in the stream after each of 32 layers, before training, on a log scale.
    As PyTorch draws it, the plain stack loses many orders of magnitude towards the first layer; the
    bare residual stack gains some; the others stay near level."""
    lines = by_layer(record, shown(), 32, "gradient")
    return Figure(Panel("layer", Axis("norm of the gradient", "log"), lines))


@experiment.figure()
def loss(record):
    """Loss on training and on held-out text against the number of layers, each arm at its own best
    learning rate; bands are three seeds."""
    panels = {"training_loss": "training text", "held_out_loss": "held-out text"}
    return Figure([by_depth(record, shown(), DEPTHS, *panel) for panel in panels.items()])
