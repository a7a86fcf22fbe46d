"""Checks `residual_stack(x, blocks, norm, scale)` against a float64 oracle; each answer names the
mistake. The branches are matrices with a bend, none of which commutes with the norm, and the scale
is not one: with it, a scale in the wrong place cannot be seen.
"""

import numpy as np

from minimind_wiki.lite.checks import array, ask_of, close

D, SCALE = 4, 0.6


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weights(depth):
    return [(draw(D, D, seed=10 + n), draw(D, D, seed=50 + n)) for n in range(depth)]


def normed(x):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def bent(x, w):
    return np.tanh(x @ w.T)


def oracle(x, pairs, s):
    for a, f in pairs:
        x = x + s * bent(normed(x), a)
        x = x + s * bent(normed(x), f)
    return x


def every(step):
    """A stack whose two sums of a block are both `step(x, branch, s)`."""

    def whole(x, pairs, s):
        for pair in pairs:
            for w in pair:
                x = step(x, w, s)
        return x

    return whole


def first_alone(x, pairs, s):
    for a, _ in pairs:
        x = x + s * bent(normed(x), a)
    return x


def second_alone(x, pairs, s):
    for _, f in pairs:
        x = x + s * bent(normed(x), f)
    return x


def parallel(x, pairs, s):
    for a, f in pairs:
        x = x + s * bent(normed(x), a) + s * bent(normed(x), f)
    return x


def swapped(x, pairs, s):
    return oracle(x, [(f, a) for a, f in pairs], s)


def nested(x, pairs, s):
    for a, f in pairs:
        x = x + s * bent(normed(s * bent(normed(x), a)), f)
    return x


def one_sum(x, pairs, s):
    start = x
    for a, f in pairs:
        x = start + s * bent(normed(x), a)
        x = start + s * bent(normed(x), f)
    return x


# Every wrong stack that we know, and what to say about it.
MISTAKES = [
    ("The norm comes after the sum, on the stream itself (post-norm): norm what a branch reads.",
     every(lambda x, w, s: normed(x + s * bent(x, w)))),
    ("The normed input is added: add x as it was, and give the normed one to the branch alone.",
     every(lambda x, w, s: normed(x) + s * bent(normed(x), w))),
    ("The scale is on the stream: it belongs to the branch alone.",
     every(lambda x, w, s: s * x + bent(normed(x), w))),
    ("The scale is on the whole sum: it belongs to the branch alone.",
     every(lambda x, w, s: s * (x + bent(normed(x), w)))),
    ("The scale is inside the branch: multiply what the branch returns, not what it reads.",
     every(lambda x, w, s: x + bent(s * normed(x), w))),
    ("The scale is not used.", every(lambda x, w, s: x + bent(normed(x), w))),
    ("The branches read the stream without the norm.", every(lambda x, w, s: x + s * bent(x, w))),
    ("The branch's result is normed: the norm belongs before the branch.",
     every(lambda x, w, s: x + s * normed(bent(x, w)))),
    ("Nothing is added: the branch has taken the stream's place.",
     every(lambda x, w, s: s * bent(normed(x), w))),
    ("The branch is subtracted.", every(lambda x, w, s: x - s * bent(normed(x), w))),
    ("The second branch of each block is missing.", first_alone),
    ("The first branch of each block is missing.", second_alone),
    ("Both branches read the same x: the second reads what the first has written.", parallel),
    ("The feed-forward runs before attention.", swapped),
    ("The first sum is missing: the feed-forward reads attention's result alone.", nested),
    ("Each sum starts from the first x again: the stream must keep what was added.", one_sum),
    ("Only the first block runs.", lambda x, pairs, s: oracle(x, pairs[:1], s)),
    ("Only the last block runs.", lambda x, pairs, s: oracle(x, pairs[-1:], s)),
    ("The blocks run in reverse.", lambda x, pairs, s: oracle(x, pairs[::-1], s)),
]  # fmt: skip


def tensor(torch, a, **how):
    return torch.tensor(a.astype(np.float32), **how)


def norm(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def branch(torch, w):
    return lambda x: torch.tanh(x @ w.T)


def run(stack, torch, x, depth, scale=SCALE):
    """The reader's numbers for `depth` blocks."""
    pairs = [tuple(branch(torch, tensor(torch, w)) for w in pair) for pair in weights(depth)]
    return array(stack(tensor(torch, x), pairs, norm, scale))


def judge(stack, torch, x, depth):
    """None if the reader's numbers are the oracle's, otherwise the mistake that explains them."""
    got, want = run(stack, torch, x, depth), oracle(x, weights(depth), SCALE)
    if close(got, want):
        return None
    if got.shape != want.shape:
        return f"For x of shape {x.shape} the result has shape {got.shape}."
    for text, mistake in MISTAKES:
        if close(got, mistake(x, weights(depth), SCALE)):
            return text
    worst = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    return f"Entry {worst[-1]} of the result should be {want[worst]:.4f} and is {got[worst]:.4f}."


def no_blocks(stack, torch):
    x = 3 * draw(2, D)
    if close(run(stack, torch, x, 0), x):
        return None
    return "With no blocks the result should be x itself: nothing stands on the stream."


def one_block(stack, torch):
    return judge(stack, torch, 3 * draw(2, D), 1)


def three_blocks(stack, torch):
    return judge(stack, torch, 3 * draw(2, 3, D), 3)


def scale_zero(stack, torch):
    x = 3 * draw(2, D)
    if close(run(stack, torch, x, 2, 0.0), x):
        return None
    return "With scale 0 no branch adds anything: the result should equal x."


def every_gradient(stack, torch):
    """With one block, against differences of the oracle."""
    x, c, depth = 3 * draw(2, D), draw(2, D, seed=9), 1
    leaves = [tensor(torch, x, requires_grad=True)]
    leaves += [tensor(torch, w, requires_grad=True) for w in weights(depth)[0]]
    y = stack(leaves[0], [tuple(branch(torch, w) for w in leaves[1:])], norm, SCALE)
    array(y)
    if y.requires_grad:
        (y * tensor(torch, c)).sum().backward()

    def value(at):
        return (oracle(at, weights(depth), SCALE) * c).sum()

    want = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        want[place] = (value(x + step) - value(x - step)) / 2e-5
    for name, leaf in zip(("x", "attention", "feed_forward"), leaves, strict=True):
        if leaf.grad is None or not np.any(array(leaf.grad)):
            return f"No gradient reaches {name}: do not detach, and do not leave the tensors."
    if close(array(leaves[0].grad), want, 1e-3):
        return None
    return "The gradient of x is not that of the formula: has one of the two ways been detached?"


def input_unchanged(stack, torch):
    x = tensor(torch, 3 * draw(2, D))
    before = array(x)
    pairs = [tuple(branch(torch, tensor(torch, w)) for w in pair) for pair in weights(2)]
    stack(x, pairs, norm, SCALE)
    if close(array(x), before, 0):
        return None
    return "The caller's x was changed in place: write x = x + …, which makes a new tensor."


QUESTIONS = [
    ("one block", one_block),
    ("three blocks", three_blocks),
    ("no blocks", no_blocks),
    ("scale zero", scale_zero),
    ("every gradient", every_gradient),
    ("input unchanged", input_unchanged),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = "Define a function residual_stack with the arguments x, blocks, norm, scale."
    return ask_of(ns, "residual_stack", missing, QUESTIONS)
