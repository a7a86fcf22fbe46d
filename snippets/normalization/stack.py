"""How large are the values, and how large the gradients, in a stack of Linear and ReLU layers?

Shapes: B vectors in a batch, W units in a layer.
"""

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

nn = torch.nn
B, W = 128, 128


def normalizer(norm):
    """The norm between Linear and ReLU; "none" passes the values on as they are."""
    if norm == "layernorm":
        return nn.LayerNorm(W)
    if norm == "rmsnorm":
        return nn.RMSNorm(W)
    return lambda x: x


def scales(depth, norm, init, bias):
    """Forward and backward once: the size of each layer's output and of its weight's gradient."""
    torch.manual_seed(0)
    x_BW, target_BW = torch.randn(B, W), torch.randn(B, W)
    layers = [(nn.Linear(W, W, bias=bias), normalizer(norm)) for _ in range(depth)]
    if init == "he":
        for linear, _ in layers:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")

    h_BW, values = x_BW, []
    for linear, normalize in layers:
        h_BW = torch.relu(normalize(linear(h_BW)))
        values.append(h_BW.double().std().item())

    loss = 0.5 * (h_BW - target_BW).square().sum(-1).mean()
    loss.backward()
    # In float64: the square of a vanished gradient would be zero in float32.
    return values, [linear.weight.grad.double().norm().item() for linear, _ in layers]


def panel(title, label, sizes, norm, init, levels=()):
    """One curve over the layers. The axis spans at least three decades, so that flat looks flat."""
    sizes = [size or None for size in sizes]  # exactly zero has no place on a log axis
    seen = [size for size in sizes if size] or [1.0]
    bottom, top = min(0.01, min(seen) / 2), max(10.0, *seen)
    axis = Axis(label, "log", range=(bottom, top * (top / bottom) ** 0.1))
    step = max(1, len(sizes) // 4)
    layer = Axis("layer", ticks=sorted({1, *range(step, len(sizes) + 1, step)}))
    name = {"none": "no norm", "layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}[norm]
    line = Line(
        range(1, len(sizes) + 1), sizes, name, norm,
        dash="dash" if init == "he" else "solid", marker="circle" if len(sizes) < 9 else None,
    )  # fmt: skip
    return Panel(layer, axis, [line], levels=list(levels), title=title, legend="none")


def run(depth=20, norm="none", init="default", bias=True):
    values, grads = scales(depth, norm, init, bias)
    forward = panel("Forward", "standard deviation of the output", values, norm, init,
                    [Level(1.0, "the input", "floor")])  # fmt: skip
    backward = panel("Backward", "norm of the weight's gradient", grads, norm, init,
                     [Level(grads[-1], "the last layer", "floor")])  # fmt: skip
    return {
        "figure": Figure([forward, backward]),
        "text": f"Values: 1 at the input, {values[-1]:.2g} after {depth} layers. "
        f"Gradient: {grads[0]:.1e} in the first layer, {grads[-1]:.1e} in the last.",
    }
