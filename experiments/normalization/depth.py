"""How large are the activations and the gradients after 4 to 64 layers, and what decides it?

A stack of `Linear → (norm) → ReLU` layers is fed unit-variance noise. Three things vary: how the
weights are drawn (PyTorch's default or He), whether a norm follows each Linear, and whether the
Linears have biases. The signal is measured forward (standard deviation of each layer's output) and
backward (norm of each weight's gradient), first as drawn, then while SGD moves the weights.
"""

import math
from dataclasses import dataclass

import torch

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Level, Panel

from ._stack import Stack, scale, scale_while_training, similarity

INITS = {"default": "PyTorch's default", "he": "He"}
NORMS = {"none": "no norm", "layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}


@dataclass(frozen=True, slots=True)
class Settings:
    """depths: layers of each stack; width: units a layer; batch: vectors; then the SGD part."""

    depths: tuple[int, ...] = (4, 8, 10, 16, 20, 32, 40, 64)
    width: int = 512
    batch: int = 256
    trained_depth: int = 16
    trained_width: int = 128
    train_steps: int = 300
    learning_rate: float = 0.03


experiment = Experiment(
    name="normalization/depth",
    factors=("init", "norm", "bias"),
    arms={
        f"{init}_{norm}{'' if bias else '_nobias'}": {
            "title": f"{INITS[init]} init, {NORMS[norm]}{'' if bias else ', no biases'}",
            "role": norm, "init": init, "norm": norm, "bias": bias,
        }
        for bias in (True, False) for init in INITS for norm in NORMS
    },
    settings=Settings(),
    quick=Settings(depths=(4, 10, 20, 40), width=256, batch=64, train_steps=20),
    primary="first_gradient",
    repeat=(("default_none", 0), ("he_layernorm", 1), ("he_rmsnorm_nobias", 2)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    values: dict[str, float] = {}
    for depth in settings.depths:
        torch.manual_seed(seed)
        x, target = torch.randn(2, settings.batch, settings.width)
        stack = Stack(arm, depth, settings.width)
        outputs = stack(x)
        (0.5 * (outputs[-1] - target).pow(2).sum(-1).mean()).backward()
        scales = [scale(output) for output in outputs]
        grads = [linear.weight.grad.double().norm().item() for linear in stack.linears]
        now = {
            "output_std": scales[-1],
            "first_gradient": grads[0],
            "last_gradient": grads[-1],
            "gradient_ratio": grads[0] / grads[-1],
            "output_similarity": similarity(outputs[-1]),
        }
        values |= {f"{name}_{depth}_layers": value for name, value in now.items()}
    values |= now  # without a suffix: the deepest stack
    while_training = scale_while_training(
        arm, seed, settings.trained_depth, settings.trained_width, settings.train_steps,
        settings.learning_rate)  # fmt: skip
    values["scale_after_training"] = while_training[-1] / while_training[0]
    steps = range(0, settings.train_steps + 1, 5)
    curves = {
        "forward": (range(depth + 1), scales),
        "backward": (range(1, depth + 1), grads),
        "training": (steps, [while_training[step] / while_training[0] for step in steps]),
    }
    for name in now:
        curves[name] = (settings.depths, [values[f"{name}_{d}_layers"] for d in settings.depths])
    return Measurement(values, curves)


@experiment.claim(quick=True)
def default_vanishes(record):
    """PyTorch's default init without a norm: the first layer's gradient vanishes."""
    ratio = record.value("default_none", "gradient_ratio")
    return ratio < 1e-6, f"first / last gradient {ratio:.1e}"


@experiment.claim(quick=True)
def bias_floor(record):
    """With biases the forward signal stops falling at a floor; without biases it keeps falling."""
    depths = [d for d in record.settings["depths"] if d >= 10]
    arms = ("default_none", "default_none_nobias")
    held, falls = ([record.value(arm, f"output_std_{d}_layers") for d in depths] for arm in arms)
    evidence = (
        f"{depths[0]} to {depths[-1]} layers: with biases {min(held):.3g} to {max(held):.3g}, "
        f"without {falls[0]:.1e} down to {falls[-1]:.1e}"
    )
    return max(held) / min(held) < 1.5 and falls[-1] < 1e-6 * falls[0], evidence


@experiment.claim(quick=True)
def floor_hides_gradient(record):
    """The floor hides the damage: 20 to 40 layers keep the output's scale, not the gradient's."""
    at = {d: [record.value("default_none", f"{name}_{d}_layers") for name in
              ("output_std", "first_gradient")] for d in (20, 40)}  # fmt: skip
    std, grad = (deep / shallow for shallow, deep in zip(at[20], at[40], strict=True))
    return 0.67 < std < 1.5 and grad < 1e-4, f"output std × {std:.2f}, first gradient × {grad:.1e}"


@experiment.claim(quick=True)
def he_keeps_scale(record):
    """He init without any norm keeps activations and gradients alive."""
    std, ratio = (record.value("he_none", name) for name in ("output_std", "gradient_ratio"))
    return 0.1 < std < 10 and ratio > 0.01, f"output std {std:.2f}, first / last {ratio:.2f}"


@experiment.claim(quick=True)
def norm_keeps_scale(record):
    """With either norm, either init keeps activations and gradients alive."""
    normed = [name for name, arm in record.arms.items() if arm["factors"]["norm"] != "none"]
    stds = [record.value(arm, "output_std") for arm in normed]
    ratio = min(record.value(arm, "gradient_ratio") for arm in normed)
    evidence = f"output std {min(stds):.2f} to {max(stds):.2f}, first / last at least {ratio:.2f}"
    return min(stds) > 0.3 and max(stds) < 1 and ratio > 0.01, evidence


@experiment.claim()
def init_does_not_hold(record):
    """He init sets the scale of step 0; once weights move, a norm holds it better."""
    scales = {n: record.value(f"he_{n}", "scale_after_training") for n in NORMS}
    moved = {n: abs(math.log(scale)) for n, scale in scales.items()}
    evidence = ", ".join(f"{NORMS[n]} × {scale:.2f}" for n, scale in scales.items())
    return moved["none"] > 3 * max(moved["layernorm"], moved["rmsnorm"]), f"after SGD {evidence}"


@experiment.claim(quick=True)
def norm_keeps_inputs_apart(record):
    """A norm also keeps different inputs apart in a deep plain stack."""
    cosines = {n: record.value(f"he_{n}", "output_similarity") for n in NORMS}
    evidence = ", ".join(f"{NORMS[n]} {cosine:.3f}" for n, cosine in cosines.items())
    return max(cosines["layernorm"], cosines["rmsnorm"]) < 0.5, f"cosine of outputs: {evidence}"


def panel(record, curve, x, y, **more):
    """Colour says the norm, dashes say He, dots say that the biases are gone."""
    shown = (("default_none", "default", "solid"), ("default_none_nobias", "no biases", "dot"),
             ("he_none", "He", "dash"), ("default_rmsnorm", "RMSNorm", "solid"),
             ("he_layernorm", "LayerNorm, He", "dash"))  # fmt: skip
    lines = [record.line(arm, curve, name, dash) for arm, name, dash in more.pop("shown", shown)]
    return Panel(x, Axis(y, "log"), lines, **more)


@experiment.figure()
def forward(record):
    """Standard deviation of each layer's output in the deepest stack, on a log scale. Without a
    norm the default init falls to a low floor with biases, and on towards zero without them; He
    init and both norms stay level."""
    return Figure(panel(record, "forward", "layer", "standard deviation of the output"))


@experiment.figure()
def backward(record):
    """Norm of each layer's weight gradient in the deepest stack, on a log scale. Without a norm the
    default init falls by more than twenty orders of magnitude towards the first layer; He init and
    both norms do not."""
    return Figure(panel(record, "backward", "layer", "norm of the weight's gradient"))


@experiment.figure()
def by_depth(record):
    """Output scale and first layer's gradient against the number of layers, both on log scales.
    Default init without a norm: the output stays at its floor while the gradient keeps falling. He
    init and both norms stay level in both."""
    layers = Axis("layers in the stack", "log", ticks=[4, 8, 16, 32, 64])
    return Figure([
        panel(record, "output_std", layers, "standard deviation of the last output"),
        panel(record, "first_gradient", layers, "norm of the first weight's gradient"),
    ])  # fmt: skip


@experiment.figure()
def training(record):
    """Scale of the output while SGD runs, relative to step 0. He init without a norm falls within a
    hundred steps; with a norm it moves less."""
    shown = [(f"he_{n}", NORMS[n], "dash") for n in NORMS]
    start = [Level(1.0, "as drawn", "floor")]
    axis = "standard deviation of the output, relative to step 0"
    return Figure(panel(record, "training", "step of SGD", axis, shown=shown, levels=start))
