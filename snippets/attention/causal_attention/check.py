"""Checks `causal_attention(q, k, v)` against a float64 oracle; answers name the likely mistake.

T, D and E are all different, so that a mixed-up axis cannot hide, and D is no 1 and no 4, where √D
and other numbers meet.
"""

import numpy as np

from minimind_wiki.lite.checks import Wrong, array, ask_of, close, explain

T, D, E = 5, 9, 3


def soft(scores, axis=-1):
    with np.errstate(all="ignore"):
        powers = np.exp(scores - scores.max(axis, keepdims=True))
        return powers / powers.sum(axis, keepdims=True)


def scores_of(q, k, divide=lambda d, t: np.sqrt(d)):
    return q @ k.swapaxes(-1, -2) / divide(q.shape[-1], q.shape[-2])


def hide(scores, diagonal=0, value=-np.inf):
    """Scores with `value` above a diagonal."""
    return np.where(np.tril(np.ones(scores.shape[-2:]), diagonal) > 0, scores, value)


def lower(t):
    return np.tril(np.ones((t, t)))


def oracle(q, k, v):
    return soft(hide(scores_of(q, k))) @ v


# Every wrong formula that we know, and what to say about it. The first that gives the reader's
# numbers is taken to be theirs.
MISTAKES = [
    ("Nothing is hidden: place t may only see places up to t. Add the mask to the scores.",
     lambda q, k, v: soft(scores_of(q, k)) @ v),
    ("The mask comes after the softmax, so the weights that are left do not sum to one. Hide the "
     "scores before the softmax.",
     lambda q, k, v: (soft(scores_of(q, k)) * lower(q.shape[-2])) @ v),
    ("The mask is transposed: places see what comes after them and not what came before.",
     lambda q, k, v: soft(hide(scores_of(q, k).swapaxes(-1, -2)).swapaxes(-1, -2)) @ v),
    ("The mask is off by one: each place also sees the next.",
     lambda q, k, v: soft(hide(scores_of(q, k), 1)) @ v),
    ("No place sees itself, so the first sees nothing, and its weights fall on all alike. Hide "
     "only the places after it.", lambda q, k, v: soft(hide(scores_of(q, k), -1, -1e9)) @ v),
    ("The hidden scores are set to 0. e to 0 is 1, so they still get weight: they need a very "
     "negative number.", lambda q, k, v: soft(hide(scores_of(q, k), value=0.0)) @ v),
    ("The scores are not divided by the root of D.",
     lambda q, k, v: soft(hide(scores_of(q, k, lambda d, t: 1.0))) @ v),
    ("You divide by D: divide by its root.",
     lambda q, k, v: soft(hide(scores_of(q, k, lambda d, t: d))) @ v),
    ("You divide by the root of T, the number of places: it is the root of D, the width.",
     lambda q, k, v: soft(hide(scores_of(q, k, lambda d, t: np.sqrt(t)))) @ v),
    ("You multiply by the root of D: divide by it.",
     lambda q, k, v: soft(hide(scores_of(q, k, lambda d, t: 1 / np.sqrt(d)))) @ v),
    ("The softmax runs over the places that ask (dim=-2): each row must sum to one (dim=-1).",
     lambda q, k, v: np.nan_to_num(soft(hide(scores_of(q, k)), -2)) @ v),
    ("Queries and keys are swapped: the row of the scores is the place that asks, q @ kᵀ.",
     lambda q, k, v: oracle(k, q, v)),
    ("There is no softmax: the scores themselves are used as weights.",
     lambda q, k, v: (scores_of(q, k) * lower(q.shape[-2])) @ v),
    ("e to the power of the scores is not divided by its sum.",
     lambda q, k, v: np.exp(hide(scores_of(q, k))) @ v),
]  # fmt: skip


def draw(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def inputs(*front, t=T, scale=1.0):
    return (draw(*front, t, D, scale=scale), draw(*front, t, D, scale=scale, seed=1),
            draw(*front, t, E, seed=2))  # fmt: skip


def judge(attend, torch, parts, mistakes=MISTAKES):
    """None if the reader's values are the oracle's, otherwise the mistake that explains them."""
    got = array(attend(*(torch.tensor(part) for part in parts)))
    parts = [part.astype(np.float64) for part in parts]
    want = oracle(*parts)
    if close(got, want):
        return None
    if got.shape != want.shape:
        return f"For v of shape {parts[2].shape} the result has shape {got.shape}."
    if not np.isfinite(got).all():
        return (
            "Some numbers are not finite: a row whose scores are all hidden has nothing to divide "
            "by. Does every place see itself?"
        )
    with np.errstate(all="ignore"):
        found = [text for text, formula in mistakes if close(got, formula(*parts))]
    if found:
        return found[0]
    worst = np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    return (
        f"Place {worst[-2]}: number {worst[-1]} should be {want[worst]:.4f}, is {got[worst]:.4f}."
    )


def shape(attend, torch):
    for front in ((), (2,), (2, 4)):
        parts = inputs(*front)
        try:
            y = array(attend(*(torch.tensor(part) for part in parts)))
        except (RuntimeError, ValueError, IndexError) as error:  # torch's and numpy's words
            if isinstance(error, NotImplementedError):
                raise
            raise Wrong(
                f"{explain(error)}. With q of shape {parts[0].shape} and v of {parts[2].shape}: "
                "count axes from the end (-1, -2), as any number may stand in front."
            ) from None
        if y.shape != (*front, T, E):
            return f"q has shape {parts[0].shape}, v {parts[2].shape}, the result {y.shape}."
    return None


def one_place(attend, torch):
    """A single place sees itself alone: whatever the scores, its weight is one."""
    q, k, v = inputs(t=1)
    got = array(attend(torch.tensor(q), torch.tensor(k), torch.tensor(v)))
    if close(got, v.astype(np.float64)):
        return None
    return (
        "With one place there is one weight, and it is 1, so the result must be v itself. Does a "
        "place see itself?"
    )


def weights_sum_to_one(attend, torch):
    """Equal values come back as they are, whatever the weights."""
    q, k, _ = inputs()
    got = array(attend(torch.tensor(q), torch.tensor(k), torch.ones(T, E)))
    if close(got, np.ones((T, E))):
        return None
    return judge(attend, torch, (q, k, np.ones((T, E), np.float32))) or "The weights do not sum."


def root_of_d(attend, torch):
    """Two places: only the last row's split tells the scale."""
    return judge(attend, torch, inputs(t=2, scale=1.5))


def nothing_leaks(attend, torch):
    """What comes later is changed; what came out before must stay."""
    parts = inputs()
    before = array(attend(*(torch.tensor(part) for part in parts)))
    changed = [part.copy() for part in parts]
    for part in changed:
        part[-1] += 3
    after = array(attend(*(torch.tensor(part) for part in changed)))
    if close(before[:-1], after[:-1]):
        return None
    return judge(attend, torch, parts) or "An earlier place changes when a later one does."


def the_past_is_seen(attend, torch):
    """The first place is changed; the last must notice."""
    q, k, v = inputs()
    before = array(attend(torch.tensor(q), torch.tensor(k), torch.tensor(v)))
    changed = v.copy()
    changed[0] += 3
    after = array(attend(torch.tensor(q), torch.tensor(k), torch.tensor(changed)))
    if not close(before[-1:], after[-1:]):
        return None
    return judge(attend, torch, (q, k, v)) or "The last place does not see the first."


def values(attend, torch):
    return judge(attend, torch, inputs())


def batch_and_heads(attend, torch):
    """Each row of the batch and each head alone."""
    parts = inputs(2, 3)
    wrong = judge(attend, torch, parts)
    if wrong is None:
        return None
    one = tuple(part[0, 0] for part in parts)
    if judge(attend, torch, one) is None:
        return "Right for one (T, D), wrong for (2, 3, T, D): batch and heads must not mix."
    return wrong


LOST = (
    "No gradient reaches {}: do not leave the tensors (numpy, .tolist()) or the graph (.detach())."
)


def gradients(attend, torch):
    parts = inputs()
    tensors = [torch.tensor(part, requires_grad=True) for part in parts]
    toward = draw(T, E, seed=3)
    y = attend(*tensors)
    array(y)
    if y.requires_grad:
        (y * torch.tensor(toward)).sum().backward()
    exact = [part.astype(np.float64) for part in parts]
    for number, name in enumerate("qkv"):
        if tensors[number].grad is None:
            return LOST.format(name)
        got = array(tensors[number].grad)
        if not close(got, slope(exact, number, toward), 1e-3):
            return judge(attend, torch, parts) or (
                f"The gradient of {name} is not that of the formula: is a part of it detached?"
            )
    return None


def slope(parts, number, toward, step=1e-5):
    """The oracle's gradient by central differences."""
    out = np.zeros_like(parts[number])
    for place in np.ndindex(out.shape):
        ends = []
        for sign in (1, -1):
            moved = [part.copy() for part in parts]
            moved[number][place] += sign * step
            ends.append((oracle(*moved) * toward).sum())
        out[place] = (ends[0] - ends[1]) / (2 * step)
    return out


def input_unchanged(attend, torch):
    tensors = [torch.tensor(part) for part in inputs()]
    before = [array(tensor) for tensor in tensors]
    attend(*tensors)
    if all(close(array(t), b, 0) for t, b in zip(tensors, before, strict=True)):
        return None
    return "An input was changed in place (q /= …, or a method ending in _): make a new tensor."


QUESTIONS = [
    ("shape", shape),
    ("one place", one_place),
    ("weights sum to one", weights_sum_to_one),
    ("root of D", root_of_d),
    ("nothing leaks", nothing_leaks),
    ("the past is seen", the_past_is_seen),
    ("values", values),
    ("batch and heads", batch_and_heads),
    ("gradients", gradients),
    ("inputs unchanged", input_unchanged),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = "Define a function with the name causal_attention and the arguments q, k, v."
    return ask_of(ns, "causal_attention", missing, QUESTIONS)
