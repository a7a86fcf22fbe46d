"""How large is the stream, and the gradient in each layer, with and without residual connections?

Shapes: B vectors in a batch, W units in a layer.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

nn, B, W = torch.nn, 64, 64


def layers_of(depth, init, share):
    """One Linear a layer; `share` makes each smaller."""
    linears = [nn.Linear(W, W) for _ in range(depth)]
    for linear in linears:
        if init == "he":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        with torch.no_grad():
            linear.weight.mul_(share)
            linear.bias.mul_(share)
    return linears


def sizes(depth, residual, norm, init, share):
    """The stream's size after each layer, and the size of each weight's gradient."""
    torch.manual_seed(0)
    x_BW, target_BW = torch.randn(B, W), torch.randn(B, W)
    linears = layers_of(depth, init, share)
    stream = []
    for linear in linears:
        read = nn.RMSNorm(W)(x_BW) if norm else x_BW
        branch = linear(torch.relu(read))
        x_BW = x_BW + branch if residual else branch  # the one difference
        stream.append(x_BW.double().square().mean().sqrt().item())
    loss = 0.5 * (x_BW - target_BW).square().sum(-1).mean()
    loss.backward()
    return stream, [linear.weight.grad.double().norm().item() for linear in linears]


def panel(title, label, y, level, dash):
    """One curve on an axis of three decades or more: flat looks flat."""
    low, high = min(0.01, min(y) / 2), max(10.0, *y)
    axis = Axis(label, "log", range=(low, high * (high / low) ** 0.1))
    layers = range(1, len(y) + 1)
    step = max(1, len(y) // 4)
    x = Axis("layer", ticks=sorted({1, *range(step, len(y) + 1, step)}))
    role = "prenorm" if dash == "solid" else "none"
    line = Line(layers, y, title, role, dash=dash)
    return Panel(x, axis, [line], levels=[level], title=title, legend="none")


def run(depth=24, residual=False, norm=False, branch="default"):
    init = "default" if branch == "default" else "he"
    share = 1 / math.sqrt(depth) if branch == "root" and residual else 1.0
    stream, grads = sizes(depth, residual, norm, init, share)
    dash = "solid" if residual else "dash"
    start = Level(1.0, "the input", "floor")
    last = Level(grads[-1], "the last layer", "floor")
    text = (
        f"Size: 1 at the input, {stream[-1]:.2g} after {depth} layers. "
        f"Gradient: {grads[0]:.1e} in the first layer, {grads[-1]:.1e} in the last."
    )
    forward = panel("Forward", "size of the stream", stream, start, dash)
    backward = panel("Backward", "gradient norm", grads, last, dash)
    return {"figure": Figure([forward, backward]), "text": text}
