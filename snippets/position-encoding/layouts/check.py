"""Checks `to_half_split(weight, heads)` against an oracle that moves rows by their numbers, and by
what it is for: the scores of turned queries and keys.

Heads have six and eight rows: with four, some wrong orders look right.
"""

import numpy as np

from minimind_wiki.lite.checks import Wrong, array, ask_of


def order(dim):
    """Old rows of one head in their new order: the first of each pair, then the second."""
    return np.concatenate((np.arange(0, dim, 2), np.arange(1, dim, 2)))


def by_head(weight, heads, rows):
    return weight.reshape(heads, -1, *weight.shape[1:])[:, rows].reshape(weight.shape)


def oracle(weight, heads):
    return by_head(weight, heads, order(len(weight) // heads))


# Every wrong order that we know, and what to say about it.
MISTAKES = [
    ("Nothing has moved: the rows are still in the order of neighbours.", lambda w, h: w),
    ("That is the way back, from halves to neighbours: take every second row first.",
     lambda w, h: by_head(w, h, np.argsort(order(len(w) // h)))),
    ("You reorder over all heads at once: the rows of a head must stay together.",
     lambda w, h: w[order(len(w))]),
    ("The halves are exchanged: the first of each pair belongs to the front half.",
     lambda w, h: by_head(w, h, np.roll(order(len(w) // h), len(w) // h // 2))),
    ("You move whole halves: the first of *each pair* comes to the front.",
     lambda w, h: by_head(w, h, np.roll(np.arange(len(w) // h), len(w) // h // 2))),
    ("The rows are in reverse order: keep the order of the pairs.",
     lambda w, h: by_head(w, h, order(len(w) // h)[::-1])),
]  # fmt: skip


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def call(to_half_split, torch, weight, heads):
    """The reader's result as an array; Wrong with advice if it is no tensor of the right shape."""
    result = to_half_split(torch.tensor(weight), heads)
    found = array(result)
    if found.shape != weight.shape:
        raise Wrong(
            f"weight has shape {weight.shape}, the result {found.shape}: they are the same."
        )
    return found


def judge(to_half_split, torch, weight, heads):
    """None if the rows are right, otherwise the mistake that explains them."""
    found = call(to_half_split, torch, weight, heads)
    want = oracle(weight, heads)
    if np.array_equal(found, want):
        return None
    for text, formula in MISTAKES:
        if np.array_equal(found, formula(weight, heads)):
            return text
    if weight.ndim == 2 and np.array_equal(np.sort(found, axis=1), np.sort(weight, axis=1)):
        return "You reorder columns: a row of the weight makes one number of a head, so move rows."
    if not np.array_equal(np.sort(found, axis=None), np.sort(weight, axis=None)):
        return "The result holds other numbers than the weight: move rows, and change none."
    wrong = int(np.argmax((found != want).reshape(len(want), -1).any(1)))
    return f"Row {wrong} of the result is not the right one (heads={heads}, {len(want)} rows)."


def one_head(to_half_split, torch):
    return judge(to_half_split, torch, draw(6, 5), 1)


def several_heads(to_half_split, torch):
    return judge(to_half_split, torch, draw(24, 7), 3)


def square(to_half_split, torch):
    return judge(to_half_split, torch, draw(16, 16), 2)


def bias(to_half_split, torch):
    return judge(to_half_split, torch, draw(12), 2)


def turned(x_HD, place, halves):
    """Each head's vector, turned at this place in one of the layouts."""
    dim = x_HD.shape[1]
    angle = place * 10000.0 ** (-np.arange(0, dim, 2) / dim)
    a, b = (x_HD[:, : dim // 2], x_HD[:, dim // 2 :]) if halves else (x_HD[:, ::2], x_HD[:, 1::2])
    return a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)


def scores(weights, x, heads, halves):
    """The product of a query at place 11 and a key at place 4, for each head."""
    (qa, qb), (ka, kb) = (turned((w @ x).reshape(heads, -1), place, halves)
                          for w, place in zip(weights, (11, 4), strict=True))  # fmt: skip
    return (qa * ka + qb * kb).sum(1)


def same_scores(to_half_split, torch):
    heads, weights = 4, [draw(32, 9, seed=1), draw(32, 9, seed=2)]
    x = draw(9, seed=3)
    moved = [call(to_half_split, torch, weight, heads) for weight in weights]
    want, got = scores(weights, x, heads, False), scores(moved, x, heads, True)
    if np.allclose(want, got, atol=1e-4):
        return None
    return f"Head 0 should score {want[0]:.3f}, as in the old layout, and scores {got[0]:.3f}."


def gradient(to_half_split, torch):
    weight = torch.tensor(draw(6, 2), requires_grad=True)
    result = to_half_split(weight, 1)
    if not result.requires_grad:
        return "No gradient reaches the weight: leave neither the tensors nor the graph."
    result.sum().backward()
    return None if np.all(np.asarray(weight.grad) == 1) else "Each row must be used once."


def input_unchanged(to_half_split, torch):
    weight = torch.tensor(draw(8, 3))
    to_half_split(weight, 2)
    if np.array_equal(np.asarray(weight), draw(8, 3)):
        return None
    return "The weight was changed in place: make a new tensor."


QUESTIONS = [
    ("one head", one_head),
    ("several heads", several_heads),
    ("square weight", square),
    ("bias", bias),
    ("same scores", same_scores),
    ("gradient", gradient),
    ("input unchanged", input_unchanged),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = "Define a function with the name to_half_split and the arguments weight, heads."
    return ask_of(ns, "to_half_split", missing, QUESTIONS)
