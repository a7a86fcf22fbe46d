"""What does a neuron pass on, and what gradient does it pass back?

Each curve is computed by autograd, with the activation written out.
"""

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

POINTS = 121


def relu(x):
    return torch.relu(x)


def gelu(x):
    """x times about the normal distribution function, in its tanh form."""
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def silu(x):
    """x times sigmoid(x)."""
    return x / (1 + torch.exp(-x))


CURVES = {"ReLU": (relu, "a"), "GELU": (gelu, "b"), "SiLU": (silu, "c")}


def curve(activation, up):
    """Value and slope at each point; `up` multiplies, as the second branch of a gated unit does."""
    x = torch.tensor([-4 + 8 * i / (POINTS - 1) for i in range(POINTS)], requires_grad=True)
    y = activation(x) * up
    y.sum().backward()
    return x.detach().tolist(), y.detach().tolist(), x.grad.tolist()


def run(shown="all", up=1.0, at=-1.0):
    names = list(CURVES) if shown == "all" else [shown]
    values, slopes, said = [], [], []
    for name, dash in zip(names, ("solid", "dash", "dot"), strict=False):
        activation, role = CURVES[name]
        x, y, dy = curve(activation, up)
        values.append(Line(x, y, name, role, dash=dash))
        slopes.append(Line(x, dy, name, role, dash=dash))
        i = min(range(POINTS), key=lambda i: abs(x[i] - at))
        out, slope = (round(number, 3) + 0.0 for number in (y[i], dy[i]))  # and no -0.000
        said.append(f"{name} {out:.3f}, slope {slope:.3f}")
    zero = [Level(0.0, "zero", "floor")]
    x = "input of the neuron"
    top = Panel(x, Axis("output"), values, levels=zero, title="Forward", legend="top")
    low = Panel(x, Axis("slope"), slopes, levels=zero, title="Backward", legend="none")
    return {"figure": Figure([top, low]), "text": f"At {at:g}: " + "; ".join(said) + "."}
