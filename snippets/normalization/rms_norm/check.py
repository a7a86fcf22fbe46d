"""Checks `rms_norm(x, weight, eps)` against a float64 oracle; each answer names the likely mistake.

eps is 0.1 and the gain is far from one: with eps=1e-6 and a gain of ones most wrong solutions look
right.
"""

import numpy as np

from minimind_wiki.lite.checks import Wrong, array, ask_of, close, explain

EPS = 0.1
GAIN = np.array([0.5, -1.5, 2.0, 0.25, 3.0, 1.2])
D = len(GAIN)


def mean_square(x, axis=-1):
    return (x * x).mean(axis, keepdims=True)


def centred(x):
    return x - x.mean(-1, keepdims=True)


def oracle(x, g, eps):
    return x / np.sqrt(mean_square(x) + eps) * g


# Every wrong formula that we know, and what to say about it. The first that gives the reader's
# numbers is taken to be theirs.
MISTAKES = [
    ("eps is outside the root: add it to the mean of squares, then take the root.",
     lambda x, g, eps: x / (np.sqrt(mean_square(x)) + eps) * g),
    ("eps is added after the division: it belongs under the root, beside the mean of squares.",
     lambda x, g, eps: (x / np.sqrt(mean_square(x)) + eps) * g),
    ("eps is ignored or a number of your own: use the argument.",
     lambda x, g, eps: x / np.sqrt(mean_square(x)) * g),
    ("That is the sum of squares: take their mean, or the result depends on the length D.",
     lambda x, g, eps: x / np.sqrt((x * x).sum(-1, keepdims=True) + eps) * g),
    ("That looks like LayerNorm: you subtract the mean, and RMSNorm does not.",
     lambda x, g, eps: oracle(centred(x), g, eps)),
    ("You divide by the standard deviation, which subtracts the mean: take the mean of x² itself.",
     lambda x, g, eps: x / np.sqrt(mean_square(centred(x)) + eps) * g),
    ("The gain is missing: multiply the result by weight.",
     lambda x, g, eps: oracle(x, 1, eps)),
    ("The gain is added: multiply by it.", lambda x, g, eps: oracle(x, 1, eps) + g),
    ("You multiply by 1 + weight; this contract asks for weight itself.",
     lambda x, g, eps: oracle(x, 1 + g, eps)),
    ("You normalize over all axes at once: every vector has its own mean (dim=-1, keepdim=True).",
     lambda x, g, eps: x / np.sqrt((x * x).mean() + eps) * g),
    ("You normalize over the first axis: average over the last one (dim=-1).",
     lambda x, g, eps: x / np.sqrt(mean_square(x, 0) + eps) * g),
    ("You multiply by the root mean square: divide by it (or multiply by rsqrt).",
     lambda x, g, eps: x * np.sqrt(mean_square(x) + eps) * g),
    ("The root is missing: you divide by the mean of squares.",
     lambda x, g, eps: x / (mean_square(x) + eps) * g),
    ("That is the mean of |x|: square first, average, then take the root.",
     lambda x, g, eps: x / (np.abs(x).mean(-1, keepdims=True) + eps) * g),
    ("That is the mean of |x|: square first, average, then take the root.",
     lambda x, g, eps: x / np.sqrt(np.abs(x).mean(-1, keepdims=True) + eps) * g),
]  # fmt: skip


def draw(*shape, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def judge(rms_norm, torch, x, g, eps):
    """None if the reader's values are the oracle's, otherwise the mistake that explains them."""
    x, g = x.astype(np.float32), g.astype(np.float32)
    got = array(rms_norm(torch.tensor(x), torch.tensor(g), eps))
    x, g = x.astype(np.float64), g.astype(np.float64)
    want = oracle(x, g, eps)
    if close(got, want):
        return None
    if got.shape != want.shape:
        return f"For x of shape {x.shape} the result has shape {got.shape}."
    with np.errstate(all="ignore"):
        found = [text for text, formula in MISTAKES if close(got, formula(x, g, eps))]
    if found:
        return found[0]
    worst = np.unravel_index(np.nanargmax(np.abs(got - want)), want.shape)
    vector = np.round(x[worst[:-1]], 3).tolist()
    return (
        f"With eps={eps}, for the vector {vector} number {worst[-1]} of the result should be "
        f"{want[worst]:.4f} and is {got[worst]:.4f}."
    )


def shape(rms_norm, torch):
    keep = "keep the averaged axis (keepdim=True), so that the division broadcasts over it."
    for size in ((D,), (3, D), (2, 3, D)):
        x = torch.tensor(draw(*size).astype(np.float32))
        try:
            y = array(rms_norm(x, torch.ones(D), EPS))
        except (RuntimeError, ValueError) as error:  # torch's and numpy's words for shapes
            if isinstance(error, NotImplementedError):
                raise
            raise Wrong(f"{explain(error)}. If the shapes do not fit: {keep}") from None
        if y.shape != size:
            return f"x has shape {size}, the result {y.shape}: {keep}"
    return None


def root_mean_square(rms_norm, torch):
    x = draw(1, D, scale=30.0)
    return judge(rms_norm, torch, centred(x), np.ones(D), 1e-5)


def no_mean_subtraction(rms_norm, torch):
    return judge(rms_norm, torch, draw(1, D, scale=30.0) + 100.0, np.ones(D), 1e-5)


def last_axis_only(rms_norm, torch):
    x = draw(D, D, scale=30.0) * np.arange(1, D + 1)[:, None] ** 2
    return judge(rms_norm, torch, centred(x), np.ones(D), 1e-5)


def gain(rms_norm, torch):
    x = draw(1, D, scale=30.0)
    return judge(rms_norm, torch, centred(x), GAIN, 1e-5)


def eps_inside_the_root(rms_norm, torch):
    x = draw(1, D, scale=0.3)
    return judge(rms_norm, torch, centred(x), np.ones(D), EPS)


def dtype_kept(rms_norm, torch):
    for dtype in (torch.float16, torch.float32):
        y = rms_norm(torch.ones(2, D).to(dtype), torch.ones(D).to(dtype), EPS)
        array(y)
        if y.dtype != dtype:
            return (
                f"x and weight are {name(dtype)}, the result is {name(y.dtype)}: convert back "
                "at the end with .to(x.dtype)."
            )
    return None


def name(dtype):
    return str(dtype).removeprefix("torch.")


def half_precision(rms_norm, torch):
    x = (draw(2, D, scale=20.0) + 300.0).astype(np.float16)
    g = GAIN.astype(np.float16)
    got = array(rms_norm(torch.tensor(x), torch.tensor(g), EPS))
    if close(got, oracle(x.astype(np.float64), g.astype(np.float64), EPS), 5e-3):
        return None
    return (
        "float16 values near 300 come out wrong: 300² = 90000 is above 65504, float16's largest "
        "number. Square and average in float32 (x.float()), convert back at the end."
    )


def zero_vector(rms_norm, torch):
    y = array(rms_norm(torch.zeros(2, D), torch.ones(D), EPS))
    if not np.isfinite(y).all():
        return "A vector of zeros gives nan: eps must keep the root away from zero."
    return None if np.all(y == 0) else "A vector of zeros must stay zero."


def gradients(rms_norm, torch):
    """Both gradients of sum(c * rms_norm(x, g)), and what they should be."""
    x, c = draw(3, D), draw(3, D, seed=1)
    xt = torch.tensor(x.astype(np.float32), requires_grad=True)
    gt = torch.tensor(GAIN.astype(np.float32), requires_grad=True)
    y = rms_norm(xt, gt, EPS)
    array(y)
    if y.requires_grad:
        (y * torch.tensor(c.astype(np.float32))).sum().backward()
    r = np.sqrt(mean_square(x) + EPS)
    direct = c * GAIN / r
    through_r = x * (c * GAIN * x).sum(-1, keepdims=True) / (D * r**3)
    got = [None if t.grad is None else array(t.grad) for t in (xt, gt)]
    return got, direct, through_r, (c * x / r).sum(0)


LOST = (
    "No gradient reaches {}: leave neither the tensors (numpy, .item()) nor the graph (.detach())."
)


def gradient_of_x(rms_norm, torch):
    (got, _), direct, through_r, _ = gradients(rms_norm, torch)
    if got is None:
        return LOST.format("x")
    if close(got, direct - through_r):
        return None
    if close(got, direct):
        return (
            "The gradient treats the root mean square as a constant. It depends on x too: do not "
            "detach it, and do not compute it under no_grad."
        )
    return "The gradient of x is not that of the formula, although it may be close to it."


def gradient_of_the_gain(rms_norm, torch):
    (_, got), _, _, want = gradients(rms_norm, torch)
    if got is None:
        return LOST.format("weight")
    return None if close(got, want) else "The gradient of weight is not that of the formula."


def input_unchanged(rms_norm, torch):
    x, g = torch.tensor(draw(2, D).astype(np.float32)), torch.tensor(GAIN.astype(np.float32))
    before = array(x), array(g)
    rms_norm(x, g, EPS)
    if close(array(x), before[0], 0) and close(array(g), before[1], 0):
        return None
    return "The input was changed in place (x /= …, or a method ending in _): make a new tensor."


QUESTIONS = [
    ("shape", shape),
    ("root mean square", root_mean_square),
    ("no mean subtraction", no_mean_subtraction),
    ("last axis only", last_axis_only),
    ("gain", gain),
    ("eps inside the root", eps_inside_the_root),
    ("dtype kept", dtype_kept),
    ("half precision", half_precision),
    ("zero vector", zero_vector),
    ("gradient of x", gradient_of_x),
    ("gradient of the gain", gradient_of_the_gain),
    ("input unchanged", input_unchanged),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = "Define a function with the name rms_norm and the arguments x, weight, eps."
    return ask_of(ns, "rms_norm", missing, QUESTIONS)
