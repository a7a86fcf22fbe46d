"""Speculative decoding changes no distribution: counted, and token by token where nothing is drawn.

The chi-square statistic of the right rule stays near its degrees of freedom; two wrong rules that
look right go far beyond, so the test can tell.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from minimind_wiki.infer.speculative import Lookup, judge
from minimind_wiki.model import Transformer, preset

SMALL = {"vocab_size": 20, "max_position_embeddings": 64, "initializer_range": 0.3,
         "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
LARGE = Transformer(preset("nano", **SMALL), seed=1).eval()
CLOSE = Transformer(preset("nano", **SMALL), seed=1).eval()  # the same, a little disturbed
with torch.no_grad():
    for weight in CLOSE.parameters():
        weight += 0.03 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
OTHER = Transformer(preset("nano", **SMALL), seed=2).eval()


def take_all(guesses, p_TV, q_kV, generator):
    """Wrong: every guess stands."""
    return [*guesses, int(torch.multinomial(p_TV[-1], 1, generator=generator))]


def draw_from_p(guesses, p_TV, q_kV, generator):
    """Wrong: a guess stands as it should, but what replaces it is drawn from all of p."""
    for place, token in enumerate(guesses):
        if torch.rand((), generator=generator) * q_kV[place, token] >= p_TV[place, token]:
            new = torch.multinomial(p_TV[place], 1, generator=generator)
            return [*guesses[:place], int(new)]
    return take_all(guesses, p_TV, q_kV, generator)


def chi_square(rule, certain: bool, rounds: int = 4000) -> float:
    """Of the first three tokens of a chain, 4³ cells, against the chain's own probabilities.

    A chain of four states stands for the model and another for the guesser: the next token depends
    on the last. `certain`: the guesser always names one token, as a lookup does.
    """
    draw = torch.Generator().manual_seed(3)
    p_VV = torch.softmax(1.5 * torch.randn(4, 4, generator=draw), dim=-1)
    q_VV = torch.softmax(1.5 * torch.randn(4, 4, generator=draw), dim=-1)
    if certain:
        q_VV = torch.eye(4)[torch.tensor([2, 0, 3, 1])]
    counts = dict.fromkeys(itertools.product(range(4), repeat=3), 0)
    for _ in range(rounds):
        text = [0]
        while len(text) < 4:
            chain = text[-1:]
            for _ in range(2):
                chain.append(int(torch.multinomial(q_VV[chain[-1]], 1, generator=draw)))
            text += rule(chain[1:], p_VV[chain], q_VV[chain[:-1]], draw)
        counts[tuple(text[1:4])] += 1
    total = 0.0
    for (a, b, c), count in counts.items():
        wanted = rounds * float(p_VV[0, a] * p_VV[a, b] * p_VV[b, c])
        total += (count - wanted) ** 2 / wanted
    return total


# 63 degrees of freedom: a right rule is above 113 once in ten thousand
@pytest.mark.parametrize("certain", [False, True])
def test_the_distribution_is_the_models_own(certain):
    assert chi_square(judge, certain) < 113


@pytest.mark.parametrize("rule", [take_all, draw_from_p])
def test_wrong_rules_are_seen(rule):
    assert chi_square(rule, certain=False, rounds=1500) > 200


def test_a_lookup_finds_the_latest_place_that_is_alike():
    assert Lookup(20, 2).guess([1, 2, 3, 1, 2, 4, 1, 2], 3)[0] == [4, 1, 2]
    assert Lookup(20, 2).guess([1, 2, 3], 3)[0] == []
    assert Lookup(20, 1).guess([5, 5], 3)[0] == [5]
