"""How large are the activations and the gradients after 4 to 64 layers, and what decides it?

A stack of `Linear → (norm) → ReLU` layers is fed unit-variance noise. Three things vary: how the
weights are drawn (PyTorch's default or He), whether a norm follows each Linear, and whether the
Linears have biases. The signal is measured forward (standard deviation of each layer's output) and
backward (norm of each weight's gradient), first as drawn, then while SGD moves the weights.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel
from minimind_wiki.model.norm import LayerNorm, RMSNorm

INITS = {"default": "PyTorch's default", "he": "He"}
NORMS = {"none": "no norm", "layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}


@dataclass(frozen=True, slots=True)
class Settings:
    """depths: layers of each stack. width: units a layer. batch: vectors. The rest: the SGD part."""

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
        f"{init}_{norm}{'' if bias else '_nobias'}": dict(
            title=f"{INITS[init]} init, {NORMS[norm]}{'' if bias else ', no biases'}",
            role=norm, init=init, norm=norm, bias=bias,
        )
        for bias in (True, False) for init in INITS for norm in NORMS
    },
    settings=Settings(),
    quick=Settings(depths=(4, 10, 20, 40), width=256, batch=64, trained_depth=16, train_steps=20),
    primary="first_gradient",
)  # fmt: skip


class Stack(nn.Module):
    """`Linear → (norm) → ReLU`, `depth` times, every layer `width` wide."""

    def __init__(self, arm: dict, depth: int, width: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width, bias=arm["bias"]) for _ in range(depth))
        if arm["init"] == "he":
            for linear in self.linears:
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        norm = {"none": nn.Identity, "layernorm": LayerNorm, "rmsnorm": RMSNorm}[arm["norm"]]
        self.norms = nn.ModuleList(norm(width) if norm is not nn.Identity else norm()
                                   for _ in range(depth))  # fmt: skip

    def forward(self, x_BD: torch.Tensor) -> list[torch.Tensor]:
        outputs = [x_BD]
        for linear, norm in zip(self.linears, self.norms, strict=True):
            outputs.append(torch.relu(norm(linear(outputs[-1]))))
        return outputs


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    values: dict[str, float] = {}
    for depth in settings.depths:
        torch.manual_seed(seed)
        x, target = torch.randn(2, settings.batch, settings.width)
        stack = Stack(arm, depth, settings.width)
        outputs = stack(x)
        (0.5 * (outputs[-1] - target).pow(2).sum(-1).mean()).backward()
        # In float64, or the squares of what has vanished would underflow and hide how far it went.
        stds = [output.double().std().item() for output in outputs]
        grads = [linear.weight.grad.double().norm().item() for linear in stack.linears]
        now = {"output_std": stds[-1], "first_gradient": grads[0], "last_gradient": grads[-1],
               "gradient_ratio": grads[0] / grads[-1], "output_similarity": similarity(outputs[-1])}
        values |= {f"{name}_{depth}_layers": value for name, value in now.items()}
    values |= now  # without a suffix: the deepest stack
    trained = train(arm, seed, settings)
    values["scale_after_training"] = trained[-1] / trained[0]
    curves = {"forward": (range(depth + 1), stds), "backward": (range(1, depth + 1), grads),
              "training": (range(settings.train_steps + 1), [v / trained[0] for v in trained])}
    for name in now:
        curves[name] = (settings.depths, [values[f"{name}_{d}_layers"] for d in settings.depths])
    return Measurement(values, curves)


def similarity(output_BD: torch.Tensor) -> float:
    """Mean cosine between the outputs of different inputs: 1 when the stack forgets its input."""
    unit = torch.nn.functional.normalize(output_BD.double(), dim=-1, eps=1e-300)
    count = len(unit)
    return ((unit.sum(0).pow(2).sum() - count) / (count * (count - 1))).item()


def train(arm: dict, seed: int, settings: Settings) -> list[float]:
    """Standard deviation of the stack's output at every step of SGD on a random tanh teacher."""
    torch.manual_seed(seed)
    width = settings.trained_width
    stack, head = Stack(arm, settings.trained_depth, width), nn.Linear(width, width)
    teacher = torch.randn(width, width) / math.sqrt(width)
    sgd = torch.optim.SGD([*stack.parameters(), *head.parameters()], lr=settings.learning_rate)
    stds = []
    for _ in range(settings.train_steps + 1):
        x = torch.randn(64, width)
        output = stack(x)[-1]
        stds.append(output.detach().double().std().item())
        sgd.zero_grad()
        (head(output) - torch.tanh(x @ teacher)).pow(2).mean().backward()
        sgd.step()
    return stds


NORMED = [name for name, arm in experiment.arms.items() if arm["norm"] != "none"]


@experiment.claim("default_vanishes", "With PyTorch's default init and no norm, the first layer's gradient vanishes", quick=True)
def default_vanishes(record):
    ratio = record.value("default_none", "gradient_ratio")
    return ratio < 1e-6, f"first / last gradient = {ratio:.1e}"


@experiment.claim("bias_floor", "With biases the forward signal stops falling at a floor; without them it keeps falling", quick=True)
def bias_floor(record):
    depths = [d for d in record.settings["depths"] if d >= 20]
    held = [record.value("default_none", f"output_std_{d}_layers") for d in (10, *depths)]
    falls = [record.value("default_none_nobias", f"output_std_{d}_layers") for d in (10, *depths)]
    return (max(held) / min(held) < 1.5 and falls[-1] < 1e-6 * falls[0],
            f"with biases {min(held):.3g} to {max(held):.3g} from 10 to {depths[-1]} layers, "
            f"without {falls[0]:.1e} down to {falls[-1]:.1e}")  # fmt: skip


@experiment.claim("floor_hides_gradient", "The floor hides the damage: forward scale constant from 20 layers on, gradient not", quick=True)
def floor_hides_gradient(record):
    std = [record.value("default_none", f"output_std_{d}_layers") for d in (20, 40)]
    grad = [record.value("default_none", f"first_gradient_{d}_layers") for d in (20, 40)]
    return (0.67 < std[1] / std[0] < 1.5 and grad[1] < 1e-4 * grad[0],
            f"20 → 40 layers: std ×{std[1] / std[0]:.2f}, first gradient ×{grad[1] / grad[0]:.1e}")  # fmt: skip


@experiment.claim("he_keeps_scale", "He init without any norm keeps activations and gradients alive", quick=True)
def he_keeps_scale(record):
    std, ratio = (record.value("he_none", m) for m in ("output_std", "gradient_ratio"))
    return 0.1 < std < 10 and ratio > 0.01, f"output std {std:.2f}, first / last gradient {ratio:.2f}"


@experiment.claim("norm_keeps_scale", "With a norm either init keeps the scale, forward and backward", quick=True)
def norm_keeps_scale(record):
    stds = [record.value(arm, "output_std") for arm in NORMED]
    ratios = [record.value(arm, "gradient_ratio") for arm in NORMED]
    return (0.3 < min(stds) and max(stds) < 1 and min(ratios) > 0.01,
            f"output std {min(stds):.2f} to {max(stds):.2f}, gradient ratio at least {min(ratios):.2f}")  # fmt: skip


@experiment.claim("init_does_not_hold", "He init sets the scale of step 0; with weights moving, a norm holds it better")
def init_does_not_hold(record):
    none, normed = (record.value(f"he_{norm}", "scale_after_training") for norm in ("none", "layernorm"))
    return (abs(math.log(none)) > 3 * abs(math.log(normed)),
            f"scale after SGD ×{none:.2f} without a norm, ×{normed:.2f} with LayerNorm")  # fmt: skip


@experiment.claim("norm_keeps_input_apart", "A norm keeps the outputs of different inputs apart in a deep plain stack", quick=True)
def norm_keeps_input_apart(record):
    cosines = {norm: record.value(f"he_{norm}", "output_similarity") for norm in NORMS}
    return (max(cosines["layernorm"], cosines["rmsnorm"]) < 0.5,
            ", ".join(f"{NORMS[n]} cosine {c:.3f}" for n, c in cosines.items()))  # fmt: skip


SHOWN = {"default_none": "default", "default_none_nobias": "no biases", "he_none": "He",
         "default_rmsnorm": "RMSNorm", "he_layernorm": "LayerNorm, He"}  # fmt: skip


def lines(record, curve, arms=SHOWN):
    """Colour says the norm, dash says the init, dots say that the biases are gone."""
    for arm, name in arms.items():
        c, factors = record.curve(arm, curve), record.arms[arm]["factors"]
        dash = "dot" if not factors["bias"] else {"default": "solid", "he": "dash"}[factors["init"]]
        yield Line(c["x"], c["mean"], name, factors["norm"], c["lo"], c["hi"], dash)


@experiment.figure("forward", alt="Standard deviation of each layer's output in a 64-layer stack, log scale. Default init without a norm falls to a floor of about 0.016 when it has biases and to below 1e-20 without; He init and both norms stay near 0.6.")
def forward(record):
    return Figure([Panel("layer", Axis("standard deviation of the output", "log"), list(lines(record, "forward")))])


@experiment.figure("backward", alt="Norm of each layer's weight gradient in a 64-layer stack, log scale. Default init without a norm falls by more than twenty orders of magnitude from the last layer to the first; He init and both norms stay within two.")
def backward(record):
    return Figure([Panel("layer", Axis("norm of the weight's gradient", "log"), list(lines(record, "backward")))])


@experiment.figure("by_depth", alt="Output scale and first layer's gradient against the number of layers, 4 to 64. The default init's output stays at its floor while its gradient falls exponentially.")
def by_depth(record):
    ticks = [4, 8, 16, 32, 64]
    return Figure([Panel(Axis("layers in the stack", "log", ticks=ticks), Axis(label, "log"), list(lines(record, name)))
                   for name, label in (("output_std", "standard deviation of the last output"),
                                       ("first_gradient", "gradient of the first weight"))])  # fmt: skip


@experiment.figure("training", alt="Output scale of a stack during SGD, relative to step 0. He init without a norm drifts away within a hundred steps; LayerNorm and RMSNorm stay closer to one.")
def training(record):
    arms = {"he_none": "no norm", "he_layernorm": "LayerNorm", "he_rmsnorm": "RMSNorm"}
    return Figure([Panel("SGD step", Axis("output scale, relative to step 0", "log"), list(lines(record, "training", arms)),
                         levels=[Level(1.0, "scale at step 0", "floor")])])  # fmt: skip
