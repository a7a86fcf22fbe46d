"""What the width of a head does to the scores, and the scores to the softmax.

One query and its keys are drawn at random, each number with variance 1. Shapes: N queries, S keys.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

N, S = 500, 12
FACTORS = {"none": lambda d: 1.0, "root": math.sqrt, "full": float}


def weights_of(scores):
    """The softmax of a list of scores; the largest is taken off first."""
    top = max(scores)  # e to a large power would overflow, and it cancels
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def run(width=64, divide="none", seed=0):
    torch.manual_seed(seed)
    q_ND, k_SD = torch.randn(N, width), torch.randn(S, width)
    scores_NS = q_ND @ k_SD.transpose(0, 1) / FACTORS[divide](width)
    spread = scores_NS.square().mean().sqrt().item()

    rows = [weights_of(scores) for scores in scores_NS.tolist()]
    largest = sum(max(row) for row in rows) / N
    settled = sum(max(row) > 0.99 for row in rows) / N

    keys = [f"{number}" for number in range(1, S + 1)]
    axis = Axis("weight, first query", range=(0, 1))
    bars = [Bars(keys, sorted(rows[0], reverse=True), "weights", "model")]
    panel = Panel(Axis("keys, by weight"), axis, bars=bars, legend="none")
    text = (
        f"Spread of the scores: {spread:.2f} (√{width} = {math.sqrt(width):.1f}).\n"
        f"Largest of {S} weights, mean of {N} queries: {largest:.2f}.\n"
        f"Queries that give one key more than 0.99: {settled:.0%}."
    )
    return {"figure": Figure([panel]), "text": text}
