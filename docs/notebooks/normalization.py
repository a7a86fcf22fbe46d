# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Normalization in six cells
#
# The module page says what a norm does to a network. This notebook takes one norm apart: forward
# by hand, backward by hand, and three consequences of the backward pass that are easy to compute
# and hard to guess. It needs numpy and the book's `lite` package, a small autograd with PyTorch's
# names, and it runs in seconds.

# %% [markdown]
# ## 1 · Forward, by hand
#
# Square, mean, root, divide. Then the same through `lite`, to have something to compare with.

# %%
import numpy as np
from IPython.display import display

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel


def rms_norm_forward(x, gain, eps=0.0):
    """x and gain are vectors of the same length; returns the output and what backward needs."""
    rms = np.sqrt(np.mean(x**2) + eps)
    unit = x / rms
    return unit * gain, (unit, rms, gain)


x = np.array([1.0, -1.0, 5.0, 3.0])
gain = np.array([1.0, 1.0, 1.0, 2.0])
y, saved = rms_norm_forward(x, gain)

x_t = torch.tensor(x.tolist(), requires_grad=True)
gain_t = torch.tensor(gain.tolist())
y_t = x_t / torch.sqrt((x_t * x_t).mean()) * gain_t

print("rms        ", saved[1])
print("by hand    ", y.round(4))
print("by autograd", np.round(y_t.tolist(), 4))

# %% [markdown]
# ## 2 · Backward, by hand
#
# Let $g$ be the gradient that arrives at the output, and $n = x / \mathrm{rms}$ the vector before
# the gain. The divisor depends on every entry of $x$, so the chain rule has two parts: one
# through the numerator and one through the divisor. Together:
#
# $$\nabla_x = \frac{1}{\mathrm{rms}}
# \Bigl(g \odot γ - n \cdot \mathrm{mean}(g \odot γ \odot n)\Bigr)$$
#
# Read it as two steps. Take the gradient that the division alone would pass on. Then remove the
# part of it that points along $x$.


# %%
def rms_norm_backward(g, saved):
    unit, rms, gain = saved
    through = g * gain
    return (through - unit * np.mean(through * unit)) / rms


g = np.array([0.3, -0.2, 0.5, 1.0])
dx = rms_norm_backward(g, saved)

(y_t * torch.tensor(g.tolist())).sum().backward()
print("by hand    ", dx.round(5))
print("by autograd", np.round(x_t.grad.tolist(), 5))
assert np.allclose(dx, x_t.grad.tolist(), atol=1e-6)

# %% [markdown]
# ## 3 · The gradient is orthogonal to the input
#
# Moving $x$ along itself changes its length only, and the norm takes the length out. So the
# gradient can have no part along $x$. Here are a thousand random vectors with random gradients,
# and the largest cosine among them.
#
# With ε in the root this is no longer exact: a vector that is small against √ε is hardly
# normalized, and its length matters again.

# %%
rng = np.random.default_rng(0)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def largest_cosine(scale, eps, size=64, tries=1000):
    found = []
    for _ in range(tries):
        x, g, gain = rng.standard_normal((3, size))
        x = scale * x
        _, saved = rms_norm_forward(x, 1 + 0.3 * gain, eps)
        dx = rms_norm_backward(g, saved)
        found.append(abs(cosine(dx, x)))
    return max(found)


for scale, eps in [(1, 0), (1, 1e-6), (1e-3, 1e-6), (1e-4, 1e-6)]:
    largest = largest_cosine(scale, eps)
    print(f"scale {scale:g}, eps {eps:g}: |cosine| ≤ {largest:.1e}")
assert largest_cosine(1.0, 0.0) < 1e-12

# %% [markdown]
# ## 4 · Twice the input, half the gradient
#
# The output does not see the scale of the input. The gradient does, upside down. On log axes the
# first is a flat line and the second falls with slope −1, until the input is so small that ε
# takes over.
#
# Guess before you run: where does the falling line bend for ε = 1e-6?


# %%
def show(figure):
    kind = "application/vnd.plotly.v1+json"
    display({kind: figure.to_plotly(), "text/plain": ""}, raw=True)


def through_the_norm(scale):
    """Size of the output, and of the gradient that reaches the input."""
    ones = np.ones(64)
    y, saved = rms_norm_forward(scale * direction, ones, eps=1e-6)
    dx = rms_norm_backward(g, saved)
    return np.sqrt(np.mean(y**2)), np.linalg.norm(dx)


direction, g = rng.standard_normal((2, 64))
direction /= np.sqrt(np.mean(direction**2))
scales = np.logspace(-5, 2, 29)
output, gradient = zip(*map(through_the_norm, scales), strict=True)

panel = Panel(Axis("RMS of the input", "log"), Axis("size", "log"))
panel.lines = [
    Line(scales, output, "output", "rmsnorm"),
    Line(scales, gradient, "gradient", "a", dash="dash"),
]
show(Figure([panel]))
for scale in (1.0, 2.0):
    print(f"gradient at scale {scale:g}: {through_the_norm(scale)[1]:.3f}")

# %% [markdown]
# The bend is at √ε. Left of it the norm is only a multiplication by 1/√ε, a thousand here. That
# is the largest factor by which this norm can enlarge a gradient, and the reason why ε is more
# than a guard against division by zero.

# %% [markdown]
# ## 5 · Weights in front of a norm can only grow
#
# Put a weight matrix $W$ in front of the norm. Doubling $W$ doubles what enters the norm, so the
# output does not see the length of $W$ either, and the gradient of the loss with respect to $W$
# is orthogonal to $W$. A step of plain gradient descent moves at a right angle, and by Pythagoras
# the new $W$ is longer:
#
# $$\lVert W - ηG \rVert^2 = \lVert W \rVert^2 + η^2 \lVert G \rVert^2$$
#
# The longer $W$ is, the smaller its gradient (cell 4), and the smaller the angle by which a step
# turns it. A norm thus contains a learning-rate decay that nobody wrote, and large rates decay
# faster. Zhang and Sennrich call it [implicit learning rate
# adaptation](../bibliography.md#zhang2019).

# %%
inputs = rng.standard_normal((256, 32))
targets = rng.standard_normal((256, 16))


def loss(W):
    X, T = torch.tensor(inputs.tolist()), torch.tensor(targets.tolist())
    h = X @ W
    y = h / torch.sqrt((h * h).mean(-1, keepdim=True))
    return ((y - T) * (y - T)).mean()


def descend(rate, steps=200):
    """Squared length of W, what Pythagoras says, cos(W, G): by step."""
    w = rng.standard_normal((32, 16)) / np.sqrt(32)
    predicted, rows = (w**2).sum(), []
    for _ in range(steps):
        W = torch.tensor(w.tolist(), requires_grad=True)
        loss(W).backward()
        grad = np.array(W.grad.tolist())
        angle = cosine(w.ravel(), grad.ravel())
        rows.append(((w**2).sum(), predicted, angle))
        w = w - rate * grad
        predicted += rate**2 * (grad**2).sum()
    return np.array(rows)


runs = {rate: descend(rate) for rate in (3.0, 10.0, 30.0)}
panel = Panel("step", "squared length of W, relative to the start")
dashes = ("solid", "dash", "dot")
for (rate, run), role, dash in zip(runs.items(), "abc", dashes, strict=True):
    grown = run[:, 0] / run[0, 0]
    panel.lines.append(Line(range(200), grown, f"rate {rate:g}", role, dash=dash))
panel.levels = [Level(1.0, "start", "floor")]
show(Figure([panel]))

for rate, run in runs.items():
    grew, predicted = run[-1, :2] / run[0, 0]
    print(f"rate {rate:2g}: grew ×{grew:.2f}, Pythagoras ×{predicted:.2f}")
    assert abs(run[:, 2]).max() < 1e-5  # W and its gradient: orthogonal
    assert np.all(np.diff(run[:, 0]) > 0)  # and so W only grows

# %% [markdown]
# Weight decay, which shrinks $W$ at every step, therefore does something else in front of a norm
# than elsewhere: it cannot make the function simpler, as the function does not see the length. It
# keeps the effective learning rate from dying out.

# %% [markdown]
# ## 6 · LayerNorm is RMSNorm of what is left without the mean
#
# Subtract the mean first, and the standard deviation is the root mean square. So LayerNorm
# without its bias is RMSNorm applied to the centred vector, and its gradient is orthogonal to two
# directions: to the centred vector, and to the vector of ones, along which a shift would move.

# %%
x = rng.standard_normal(64) + 2.0
centred = x - x.mean()
layer_norm = centred / x.std()
via_rms, saved = rms_norm_forward(centred, np.ones(64))
print("same output:", np.allclose(layer_norm, via_rms))

g = rng.standard_normal(64)
ones = np.ones(64)
dx = rms_norm_backward(g, saved)
dx -= dx.mean()  # the backward pass of the subtraction of the mean
print("LayerNorm: cosine with the centred input", f"{cosine(dx, centred):+.0e}")
print("           cosine with ones             ", f"{cosine(dx, ones):+.0e}")

_, saved = rms_norm_forward(x, ones)
dx = rms_norm_backward(g, saved)
print("RMSNorm:   cosine with the input        ", f"{cosine(dx, x):+.0e}")
print("           cosine with ones             ", f"{cosine(dx, ones):+.2f}")

# %% [markdown]
# RMSNorm removes one direction of 64, LayerNorm two. In a hidden state of hundreds of entries
# that is all the difference there is between them in what they let through; whether it matters
# for training is a question for [the experiments](../reproducibility.md).
#
# ## Change it
#
# - Cell 3: use a gain of ones and a gradient that equals $x$. What is left of the gradient, and
#   why?
# - Cell 5: step along the sign of the gradient, which is what Adam does in its first step. Is the
#   step still orthogonal to $W$? Does $W$ still only grow?
# - Cell 5: leave the norm out. Which of the printed statements stop being true?
