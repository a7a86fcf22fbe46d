"""A query and a key, turned by their places: what does their score depend on?

Shapes: P pairs of numbers in a vector; a pair is (x[i], x[i + P]), as in Llama.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel

PLACES = 128


def frequencies(pairs, theta):
    """Radians per token of each pair: theta^(-i/P)."""
    return [theta ** (-i / pairs) for i in range(pairs)]


def turn(first_P, second_P, place, speeds):
    """Every pair of a vector, turned by place * frequency."""
    cos = torch.tensor([math.cos(place * f) for f in speeds])
    sin = torch.tensor([math.sin(place * f) for f in speeds])
    return first_P * cos - second_P * sin, second_P * cos + first_P * sin


def score(query, key, query_place, key_place, speeds):
    a, b = turn(*query, query_place, speeds)
    c, d = turn(*key, key_place, speeds)
    return (a * c + b * d).sum().item()


def run(query=60, key=50, pairs=16, theta=10000):
    speeds = frequencies(pairs, theta)
    # The same vector for both, of length 1: unturned, their score is 1.
    vector = torch.ones(pairs) / math.sqrt(pairs), torch.zeros(pairs)
    places = range(0, PLACES + 1)
    curve = [score(vector, vector, query, place, speeds) for place in places]
    now = curve[key]
    later = score(vector, vector, query + 1000, key + 1000, speeds)
    lines = [
        Line(places, curve, "score", "model"),
        Line([query], [1.0], "query", "a", marker="square"),
        Line([key], [now], "key", "b", marker="circle"),
    ]
    y = Axis("score with the query", range=(-1.15, 1.15))
    top = Panel(Axis("place of the key", range=(0, PLACES)), y, lines, legend="top")
    numbers = range(1, pairs + 1)
    turns = [2 * math.pi / speed for speed in speeds]
    wave = Line(numbers, turns, "tokens for a turn", "c", marker="diamond")
    scale = Axis("tokens for one turn", "log", range=(1, 1e7))
    ticks = sorted({1, (pairs + 1) // 2, pairs})
    below = Panel(Axis("pair", range=(0.5, pairs + 0.5), ticks=ticks), scale, [wave], legend="none")
    text = (
        f"Query at {query}, key at {key}: distance {query - key}, score {now:.3f}. "
        f"Both 1000 places later: {later:.3f}. "
        f"The slowest pair needs {max(turns):,.0f} tokens for a turn."
    )
    return {"figure": Figure([top, below]), "text": text}
