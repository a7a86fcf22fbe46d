"""Drawing for many: a request's draws are its own, and they are those of `sample_next`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import sample_next
from minimind_wiki.infer.draw import Drawer, draw, filtered
from minimind_wiki.infer.request import Request, Sampling

V = 40
PLAIN = [
    Sampling(0),
    Sampling(0.8, top_k=7, seed=1),
    Sampling(0.8, top_k=7, seed=2),
    Sampling(1.3, top_p=0.7, seed=1),
    Sampling(seed=5),
]
OTHERS = [
    Sampling(seed=9, repetition_penalty=1.5, frequency_penalty=0.4),
    Sampling(0, no_repeat_ngram_size=1),
    Sampling(1.1, typical_p=0.5, min_p=0.1, logit_bias={3: 5.0}, seed=3),
]


def scores(step: int) -> torch.Tensor:
    """A row a request, the same for all, so that only settings tell them apart."""
    row = 2 * torch.randn(1, V, generator=torch.Generator().manual_seed(step))
    return row.expand(len(PLAIN + OTHERS), V).clone()


def asked(sampling: Sampling, **more) -> Drawer:
    return Drawer(Request([1, 2], 8, sampling, **more), V)


def alone(sampling: Sampling, steps: int = 12) -> list[int]:
    drawer = asked(sampling)
    return [draw(scores(step)[:1], [drawer])[0].id for step in range(steps)]


def test_a_request_draws_the_same_in_any_company():
    for order in (PLAIN + OTHERS, (PLAIN + OTHERS)[::-1], [PLAIN[2], OTHERS[0]]):
        drawers = [asked(sampling) for sampling in order]
        rows = [draw(scores(step)[: len(order)], drawers) for step in range(12)]
        for column, sampling in enumerate(order):
            assert [row[column].id for row in rows] == alone(sampling), sampling
    assert alone(PLAIN[1]) != alone(PLAIN[2])


@pytest.mark.parametrize("sampling", PLAIN)
def test_the_draws_are_those_of_sample_next(sampling):
    generator = torch.Generator().manual_seed(sampling.seed or 0)
    wanted = [
        int(sample_next(scores(step)[:1], sampling.temperature, sampling.top_k, sampling.top_p,
                        generator))
        for step in range(12)
    ]  # fmt: skip
    assert alone(sampling) == wanted


def test_draws_follow_the_filtered_distribution():
    sampling = OTHERS[2]
    wanted = torch.softmax(filtered(scores(0)[:1], [asked(sampling)]), -1)[0]
    assert 2 < int((wanted > 0).sum()) < V
    rows = scores(0)[:1].expand(500, V)
    drawers = [asked(replace(sampling, seed=seed)) for seed in range(500)]
    ids = [drawn.id for _ in range(10) for drawn in draw(rows, drawers)]
    share = torch.tensor(ids).bincount(minlength=V) / len(ids)
    assert (share[wanted == 0] == 0).all()
    torch.testing.assert_close(share, wanted, atol=0.03, rtol=0)  # 4 standard errors


def test_without_a_seed_every_request_draws_differently():
    assert alone(Sampling(), 30) != alone(Sampling(), 30)


def test_penalties_follow_the_requests_own_tokens():
    drawer = asked(Sampling(0, presence_penalty=1, frequency_penalty=0.5))
    logits = torch.zeros(1, V)
    logits[0, 1], logits[0, 4], logits[0, 6] = 9.0, 8.0, 7.4
    got = [draw(logits, [drawer])[0].id for _ in range(5)]
    # 1 stands in the prompt, which does not count: 9, then 9 - 1.5 = 7.5, then 7.0
    assert got == [1, 4, 1, 6, 1]
    unlike = asked(Sampling(0, repetition_penalty=1.2))  # 1 stands in the prompt: 9 / 1.2 = 7.5
    assert draw(logits, [unlike])[0].id == 4


def test_no_run_comes_twice():
    drawer = asked(Sampling(0, no_repeat_ngram_size=2))
    logits = torch.zeros(1, V)
    logits[0, 7], logits[0, 8] = 2.0, 1.0
    ids = [draw(logits, [drawer])[0].id for _ in range(6)]
    assert ids[:4] == [7, 7, 8, 7]  # 7 7 must not come again, nor 7 8
    pairs = list(pairwise(ids))
    assert len(set(pairs)) == len(pairs)


def test_where_every_token_is_refused_the_rule_against_runs_gives_way():
    drawer = Drawer(Request([0, 1, 2], 4, Sampling(0, no_repeat_ngram_size=1)), 3)
    assert draw(torch.tensor([[0.0, 2.0, 1.0]]), [drawer])[0].id == 1


def test_log_probabilities_are_the_models_own():
    logits = scores(3)[:2]
    wanted = torch.log_softmax(logits[0], -1)
    plain, told = draw(logits, [asked(Sampling(0)), asked(OTHERS[2], logprobs=3)])
    assert plain.logprob is None and plain.top == ()
    assert told.logprob == pytest.approx(float(wanted[told.id]))
    assert [token for token, _ in told.top] == wanted.topk(3).indices.tolist()
    assert [value for _, value in told.top] == pytest.approx(wanted.topk(3).values.tolist())
    none, all_of_them = asked(Sampling(0), logprobs=0), asked(Sampling(0), logprobs=99)
    zero, every = draw(logits, [none, all_of_them])
    assert zero.top == () and zero.logprob is not None and len(every.top) == V


def test_half_precision_scores_are_drawn_in_float32():
    assert filtered(scores(0)[:1].bfloat16(), [asked(PLAIN[1])]).dtype == torch.float32


def test_the_scores_of_the_caller_stay_as_they_are():
    logits = scores(0)
    before = logits.clone()
    draw(logits, [asked(sampling) for sampling in PLAIN + OTHERS])
    assert torch.equal(logits, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(bad):
    logits = scores(0)[:1]
    logits[0, 3] = bad
    with pytest.raises(MinimindError, match="not finite"):
        draw(logits, [asked(Sampling(0))])
    with pytest.raises(MinimindError, match="not finite"):
        draw(torch.full((1, V), -torch.inf), [asked(Sampling(0))])


@pytest.mark.parametrize(
    "values, message",
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": 1e-9}, "give 0, or 0.00001"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 2.0}, "top_p is 2.0"),
        ({"min_p": -0.1}, "min_p is -0.1; give a number from 0 to 1"),
        ({"typical_p": 0.0}, "typical_p is 0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"presence_penalty": float("nan")}, "presence_penalty is nan"),
        ({"frequency_penalty": float("-inf")}, "frequency_penalty is -inf"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"logit_bias": {V: 1.0}}, "names the token 40; give ids from 0 to 39"),
        ({"logit_bias": {-1: 1.0}}, "names the token -1"),
        ({"logit_bias": {1: float("nan")}}, "logit_bias of token 1 is nan"),
    ],
)
def test_settings_without_a_meaning_are_refused(values, message):
    with pytest.raises(WrongCall, match=message):
        asked(Sampling(**values))


def test_any_other_setting_is_fine():
    Sampling(0, 1, 1.0, 0, 1, 2.0, -2.0, 2.0, 3, {39: -100}, -(2**63)).check(V)
    assert len(alone(Sampling(1e-5, seed=-1))) == 12
