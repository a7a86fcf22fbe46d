"""How large are the values, and the gradients, in a stack of layers?

Shapes: B vectors in a batch, W units in a layer.
"""

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

nn, B, W = torch.nn, 128, 128
NAMES = {"none": "no norm", "layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}


def normalizer(norm):
    """What stands between Linear and ReLU; for "none" nothing does."""
    if norm == "none":
        return lambda x: x
    return nn.LayerNorm(W) if norm == "layernorm" else nn.RMSNorm(W)


def scales(depth, norm, init, bias):
    """The size of each layer's output and of its weight's gradient."""
    torch.manual_seed(0)
    x_BW, target_BW = torch.randn(B, W), torch.randn(B, W)
    linears = [nn.Linear(W, W, bias=bias) for _ in range(depth)]
    if init == "he":
        for linear in linears:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")

    h_BW, outputs = x_BW, []
    for linear in linears:
        h_BW = torch.relu(normalizer(norm)(linear(h_BW)))
        outputs.append(h_BW)
    loss = 0.5 * (h_BW - target_BW).square().sum(-1).mean()
    loss.backward()

    # In float64: the squares of what has vanished are zero in float32.
    values = [h.double().std().item() for h in outputs]
    grads = [w.weight.grad.double().norm().item() for w in linears]
    return values, grads


def panel(title, label, sizes, level, norm, dash):
    """One curve. The axis spans three decades or more: flat looks flat."""
    sizes = [size or None for size in sizes]  # a log axis has no zero
    seen = [size for size in sizes if size] or [1.0]
    low, high = min(0.01, min(seen) / 2), max(10.0, *seen)
    y = Axis(label, "log", range=(low, high * (high / low) ** 0.1))
    step = max(1, len(sizes) // 4)
    x = Axis("layer", ticks=sorted({1, *range(step, len(sizes) + 1, step)}))
    layers = range(1, len(sizes) + 1)
    line = Line(layers, sizes, NAMES[norm], norm, dash=dash)
    return Panel(x, y, [line], levels=[level], title=title, legend="none")


def run(depth=20, norm="none", init="default", bias=True):
    values, grads = scales(depth, norm, init, bias)
    dash = "dash" if init == "he" else "solid"
    start = Level(1.0, "the input", "floor")
    forward = panel("Forward", "standard deviation", values, start, norm, dash)
    end = Level(grads[-1], "the last layer", "floor")
    backward = panel("Backward", "gradient norm", grads, end, norm, dash)
    text = (
        f"Values: 1 at the input, {values[-1]:.2g} after {depth} layers. "
        f"Gradient: {grads[0]:.1e} in the first layer, {grads[-1]:.1e} in the last."
    )
    return {"figure": Figure([forward, backward]), "text": text}
