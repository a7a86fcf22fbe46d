"""Attention over five words, with numbers small enough for paper.

Change a number in Q, K or V and run again. Shapes: T = 5 words, D = 4.
"""

import math

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

WORDS = ["the", "cat", "ate", "since", "it"]
D = 4  # what the four numbers stand for: animal, action, place, filler

Q = [[0, 0, 0, 1], [1, 1, 0, 0], [2, 0, 1, 0], [0, 2, 0, 0], [2, 0, 0, 1]]
K = [[0, 0, 0, 2], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
V = [[0, 0], [8, 0], [0, 8], [0, 0], [2, 2]]


def softmax(scores_TT):
    """Each row over its sum, after e to the power of each score."""
    e_TT = torch.exp(scores_TT)
    return e_TT / e_TT.sum(-1, keepdim=True)


def attention(q_TD, k_TD, v_TE, causal):
    """The words' weights (T, T), row = who asks, and what each gathers."""
    scores_TT = q_TD @ k_TD.transpose(0, 1) / math.sqrt(D)
    if causal:  # what comes later gets a score so low that e to it is 0
        places = range(len(WORDS))
        hide = [[0.0 if s <= t else -1e9 for s in places] for t in places]
        scores_TT = scores_TT + torch.tensor(hide)
    weights_TT = softmax(scores_TT)
    return scores_TT, weights_TT, weights_TT @ v_TE


def told(scores, weights):
    """The scores of "it", and the weights that each word gives, as text."""
    lines = ["scores of it, over √4: " + ", ".join(f"{s:g}" for s in scores[-1]), ""]
    for word, row in zip(WORDS, weights, strict=True):
        seen = [f"{w} {x:.2f}" for w, x in zip(WORDS, row, strict=True) if x]
        lines.append(f"{word} gives: " + ", ".join(seen))
    return lines


def run(q=2, k=2, v=8, causal=True):
    asks, offers, gives = [[[*row] for row in part] for part in (Q, K, V)]
    asks[4][0], offers[1][0], gives[1][0] = q, k, v
    parts = (torch.tensor(rows).float() for rows in (asks, offers, gives))
    scores, weights, out = (x.tolist() for x in attention(*parts, causal))
    bars = [Bars(WORDS, weights[4], "weights of it", "model")]
    axis = Axis("weight that it gives", range=(0, 1))
    lines = told(scores, weights)
    lines += ["", f"it gathers ({out[4][0]:.2f}, {out[4][1]:.2f})"]
    panel = Panel("", axis, bars=bars, legend="none")
    return {"figure": Figure([panel]), "text": "\n".join(lines)}
