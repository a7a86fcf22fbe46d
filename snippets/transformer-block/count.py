"""How many numbers does a decoder learn, and in which part?

Counted as the package builds it: gated feed-forward, RMSNorm, no biases, positions by rotation.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel


def shapes(width, layers, vocabulary, tied):
    """For each part, the shapes of its tensors, and how often each occurs."""
    inside = 64 * math.ceil(8 * width / 3 / 64)  # eight thirds of the width, to a multiple of 64
    shared = width // 4  # a quarter as many key-value heads as heads
    return {
        "embeddings": [((vocabulary, width), 1)],
        "head": [((vocabulary, width), 0 if tied else 1)],
        "attention": [((width, width), 2 * layers), ((shared, width), 2 * layers)],
        "feed-forward": [((inside, width), 2 * layers), ((width, inside), layers)],
        "norms": [((width,), 2 * layers + 1)],
    }


def run(width=512, layers=8, vocabulary=6400, tied=True):
    parts = shapes(width, layers, vocabulary, tied)
    many = torch.tensor([sum(math.prod(s) * n for s, n in part) for part in parts.values()])
    total = many.sum().item()
    shares = (many / total).tolist()
    bars = Bars(list(parts), shares, role="model")
    title = f"{total:,} parameters"
    x = Axis("share of all parameters", range=(0, 1))
    panel = Panel(x, Axis("", "category"), bars=[bars], title=title, legend="none")
    rows = zip(parts, many.tolist(), shares, strict=True)
    text = "\n".join(f"{part}: {n:,} ({share:.1%})" for part, n, share in rows)
    return {"figure": Figure(panel), "text": f"{title}\n{text}"}
