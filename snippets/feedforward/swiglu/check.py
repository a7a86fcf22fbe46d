"""Checks `swiglu(x, gate, up, down)` against a float64 oracle; each answer names the mistake.

Inputs are spread over both sides of zero, and the gate's weights are not the other branch's: with
equal ones a swap cannot be seen.
"""

import math

import numpy as np

from minimind_wiki.lite.checks import Wrong, array, ask_of, close, explain

D, F = 5, 7
erf = np.vectorize(math.erf)


def sigmoid(z):
    return 0.5 * (1 + np.tanh(z / 2))  # never overflows


def silu(z):
    return z * sigmoid(z)


def gelu(z):
    return 0.5 * z * (1 + erf(z / math.sqrt(2)))


def gelu_by_tanh(z):
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def oracle(g, u):
    return silu(g) * u


# Every wrong middle that we know, of the gate g and the other branch u, and what to say about it.
MISTAKES = [
    ("The activation is on the wrong branch: it belongs to gate, and up stays as it is.",
     lambda g, u: g * silu(u)),
    ("That is sigmoid(gate) times up, the older GLU: SiLU is the gate times its own sigmoid.",
     lambda g, u: sigmoid(g) * u),
    ("Only the gate's branch arrives: multiply it by x @ up.T.", lambda g, u: silu(g)),
    ("Only up's branch arrives: multiply it by the activated gate.", lambda g, u: u),
    ("The two branches are added: multiply them, entry by entry.", lambda g, u: silu(g) + u),
    ("The activation comes after the product: it belongs to the gate alone.",
     lambda g, u: silu(g * u)),
    ("Both branches are activated: up stays as it is.", lambda g, u: silu(g) * silu(u)),
    ("There is no activation: the gate needs its SiLU.", lambda g, u: g * u),
    ("That is ReGLU: the gate's activation is ReLU, and this contract asks for SiLU.",
     lambda g, u: np.maximum(g, 0) * u),
    ("That is GEGLU: the gate's activation is GELU, and this contract asks for SiLU.",
     lambda g, u: gelu(g) * u),
    ("That is GEGLU, in GELU's tanh form: this contract asks for SiLU.",
     lambda g, u: gelu_by_tanh(g) * u),
    ("The sign of the exponent is wrong: SiLU(z) = z / (1 + exp(-z)).",
     lambda g, u: g * sigmoid(-g) * u),
]  # fmt: skip


def draw(*shape, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def weights(d=D, f=F, scale=1.0):
    shapes = ((f, d), (f, d), (d, f))
    return [draw(*shape, scale=scale, seed=n) for n, shape in enumerate(shapes, start=1)]


def tensors(torch, arrays, **how):
    return [torch.tensor(a.astype(np.float32), **how) for a in arrays]


def whole(x, gate, up, down, middle=oracle):
    return middle(x @ gate.T, x @ up.T) @ down.T


def judge(swiglu, torch, x, matrices):
    """None if the reader's values are the oracle's, otherwise the mistake that explains them."""
    got, want = array(swiglu(*tensors(torch, [x, *matrices]))), whole(x, *matrices)
    if close(got, want):
        return None
    if got.shape != want.shape:
        return f"For x of shape {x.shape} the result has shape {got.shape}."
    found = [text for text, middle in MISTAKES if close(got, whole(x, *matrices, middle))]
    if found:
        return found[0]
    gate, up, down = matrices
    if gate.shape[0] == D and close(got, oracle(x @ gate, x @ up) @ down):  # square ones fit, too
        return "The weights are not transposed: nn.Linear's weight is used as x @ weight.T."
    if close(got, x + want):
        return "x is added to the result: the block does that, not its feed-forward."
    worst = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    return f"Entry {worst[-1]} of the result should be {want[worst]:.4f} and is {got[worst]:.4f}."


def shape(swiglu, torch):
    advice = "a weight of shape (out, in) is used as x @ weight.T, and the result goes back to D."
    for size in ((D,), (3, D), (2, 3, D)):
        try:
            y = array(swiglu(*tensors(torch, [draw(*size), *weights()])))
        except (RuntimeError, ValueError, IndexError) as error:  # torch's and numpy's words
            if isinstance(error, NotImplementedError):
                raise
            raise Wrong(f"{explain(error)}. If the shapes do not fit: {advice}") from None
        if y.shape != size:
            return f"x has shape {size}, the result {y.shape}: {advice}"
    return None


def values(swiglu, torch):
    return judge(swiglu, torch, draw(4, D), weights())


def square(swiglu, torch):
    return judge(swiglu, torch, draw(4, D), weights(D, D))


def each_position(swiglu, torch):
    x, matrices = draw(2, 3, D), weights()
    together = array(swiglu(*tensors(torch, [x, *matrices])))
    alone = array(swiglu(*tensors(torch, [x[1:, 2:], *matrices])))
    if close(together[1:, 2:], alone):
        return None
    return "A position's result depends on the others: no sum or mean over positions here."


def large_inputs(swiglu, torch):
    for scale in (300.0, -300.0):
        y = array(swiglu(*tensors(torch, [scale * np.ones((1, D)), *weights(scale=1.0)])))
        if not np.isfinite(y).all():
            return (
                "A gate of some hundreds gives nan: exp of a large number is infinite, and "
                "infinity over infinity is no number. z / (1 + exp(-z)) stays finite."
            )
    return None


def gradients(swiglu, torch):
    """The gradients of sum(c * swiglu(...)) and what they should be, x first."""
    x, matrices, c = draw(3, D), weights(), draw(3, D, seed=9)
    leaves = tensors(torch, [x, *matrices], requires_grad=True)
    y = swiglu(*leaves)
    array(y)
    if y.requires_grad:
        (y * torch.tensor(c.astype(np.float32))).sum().backward()
    gate, up, down = matrices
    g, u = x @ gate.T, x @ up.T
    back, slope = c @ down, sigmoid(g) * (1 + g * (1 - sigmoid(g)))
    to_g, to_u = back * u * slope, back * silu(g)
    want = [to_g @ gate + to_u @ up, to_g.T @ x, to_u.T @ x, c.T @ (silu(g) * u)]
    return [None if t.grad is None else array(t.grad) for t in leaves], want


def every_gradient(swiglu, torch):
    named = list(zip(("x", "gate", "up", "down"), *gradients(swiglu, torch), strict=True))
    for name, got, _ in named:
        if got is None:
            return f"No gradient reaches {name}: do not detach, and do not leave the tensors."
    for name, got, want in named:
        if not close(got, want):
            return f"The gradient of {name} is not that of the formula."
    return None


def inputs_unchanged(swiglu, torch):
    inputs = tensors(torch, [draw(2, D), *weights()])
    before = [array(t) for t in inputs]
    swiglu(*inputs)
    if all(close(array(t), old, 0) for t, old in zip(inputs, before, strict=True)):
        return None
    return "An input was changed in place (x *= …): make a new tensor."


QUESTIONS = [
    ("shape", shape),
    ("values", values),
    ("square matrices", square),
    ("each position alone", each_position),
    ("large inputs", large_inputs),
    ("every gradient", every_gradient),
    ("inputs unchanged", inputs_unchanged),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = "Define a function with the name swiglu and the arguments x, gate, up, down."
    return ask_of(ns, "swiglu", missing, QUESTIONS)
