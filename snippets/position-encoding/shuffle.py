"""Two words of a sentence change places. Which words notice?

Shapes: T words, D numbers for each. Layers of attention as drawn, without training.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

D, WORDS = 32, ["the", "dog", "bit", "a", "man", "today"]
SWAPPED = [0, 4, 2, 3, 1, 5]  # "the man bit a dog today"


def turned(x_TD):
    """Rotary positions: pair (i, i + D/2) of the word at place p turns by p * frequency."""
    half = D // 2
    angles = [[p * 10000 ** (-i / half) for i in range(half)] for p in range(len(WORDS))]
    cos = torch.tensor([[math.cos(a) for a in row] for row in angles])
    sin = torch.tensor([[math.sin(a) for a in row] for row in angles])
    a, b = x_TD[:, :half], x_TD[:, half:]
    return a * cos - b * sin, b * cos + a * sin


def attention(x_TD, weights, mask, positions):
    q, k, v = (x_TD @ w for w in weights)
    if positions == "rotary":
        (q1, q2), (k1, k2) = turned(q), turned(k)
        score_TT = (q1 @ k1.T + q2 @ k2.T) / math.sqrt(D)
    else:
        score_TT = q @ k.T / math.sqrt(D)
    # A word may look at those before it and at itself; without a mask at all.
    seen = [[float(s <= t or mask == "none") for s in range(len(WORDS))] for t in range(len(WORDS))]
    look_TT = torch.exp(score_TT) * torch.tensor(seen)
    return look_TT / look_TT.sum(-1, keepdim=True) @ v


def states(order, layers, mask, positions):
    """What stands for each word after the layers, by word and not by place."""
    torch.manual_seed(0)
    x_TD = torch.randn(len(WORDS), D)[order]
    for _ in range(layers):
        weights = [torch.randn(D, D) / math.sqrt(D) for _ in range(3)]
        size = torch.sqrt(x_TD.square().mean(-1, keepdim=True))
        x_TD = x_TD + attention(x_TD / size, weights, mask, positions)
    return x_TD[order]  # a swap undoes itself


def run(layers=1, mask="causal", positions="none"):
    before = states(list(range(len(WORDS))), layers, mask, positions)
    after = states(SWAPPED, layers, mask, positions)
    far = (before - after).norm(dim=-1) / before.norm(dim=-1)
    moved = [value if value > 1e-5 else 0.0 for value in far.tolist()]  # rounding
    bars = Bars(WORDS, moved, "moved", "model")
    y = Axis("how far its state moves", range=(0, 1))
    last = f"{moved[-1]:.2f}" if moved[-1] else "nothing"
    noticed = [word for word, by in zip(WORDS, moved, strict=True) if by] or ["no word"]
    text = f"Moved: {', '.join(noticed)}. The last word, {WORDS[-1]!r}, moves by {last}."
    return {"figure": Figure(Panel("", y, bars=[bars], legend="none")), "text": text}
