"""Sampling against transformers' filters and against counts; generation against the plain loop."""

from __future__ import annotations

import pytest
import torch
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate, sample_next, stream
from minimind_wiki.infer.sampling import keep_top_k, keep_top_p
from minimind_wiki.model import Transformer, preset

MODEL = Transformer(preset("nano", max_position_embeddings=48, initializer_range=0.2), seed=1)


def ids(batch: int = 3, time: int = 7) -> torch.Tensor:
    return torch.randint(0, 256, (batch, time), generator=torch.Generator().manual_seed(4))


def logits() -> torch.Tensor:
    return 3 * torch.randn(16, 50, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("k", [1, 3, 50, 80])
def test_top_k_is_transformers(k):
    assert torch.equal(keep_top_k(logits(), k), TopKLogitsWarper(k)(None, logits()))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999])
def test_top_p_is_transformers(p):
    assert torch.equal(keep_top_p(logits(), p), TopPLogitsWarper(p)(None, logits()))


def test_the_draw_follows_the_filtered_distribution():
    row = logits()[:1]
    warped = TemperatureLogitsWarper(0.7)(None, row)
    warped = TopPLogitsWarper(0.9)(None, TopKLogitsWarper(6)(None, warped))
    wanted = torch.softmax(warped, -1)[0]
    draw = torch.Generator().manual_seed(0)
    drawn = sample_next(row.expand(20_000, -1), 0.7, 6, 0.9, draw)
    share = torch.bincount(drawn, minlength=50) / 20_000
    assert (share[wanted == 0] == 0).all()
    torch.testing.assert_close(share, wanted, atol=0.015, rtol=0)  # 4 standard errors


def test_temperature_zero_is_greedy_and_a_seed_repeats():
    assert torch.equal(sample_next(logits(), 0), logits().argmax(-1))
    a, b, c = (
        generate(MODEL, ids(), 20, 1.0, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_meaningless_sampling_is_refused(values, message):
    with pytest.raises(WrongCall, match=message):
        sample_next(logits(), **values)
    with pytest.raises(WrongCall, match=message):
        generate(MODEL, ids(), 1, **values)


def test_greedy_generation_is_the_loop_without_a_cache():
    plain = ids()
    with torch.no_grad():
        for _ in range(20):
            plain = torch.cat([plain, MODEL(plain)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(generate(MODEL, ids(), 20, temperature=0), plain)
    assert len(set(plain[0, 7:].tolist())) > 3  # not one token for ever


def test_a_stopped_row_is_padded_and_the_end_comes_when_all_have_stopped():
    free = generate(MODEL, ids(), 20, temperature=0)
    stop = int(free[0, 10])  # the first row stops here at the latest
    out = generate(MODEL, ids(), 20, temperature=0, stop_ids=[stop])
    pad = MODEL.config.pad_token_id
    for row, expected in zip(out.tolist(), free.tolist(), strict=True):
        new = expected[7:]
        kept = new[: new.index(stop) + 1] if stop in new else new
        kept = (kept + [pad] * 20)[: len(row) - 7]
        assert row[7:] == kept
    one = generate(MODEL, ids()[:1], 20, temperature=0, stop_ids=[stop])
    assert one.shape[1] <= 11 and one[0, -1] == stop


def test_stream_gives_the_tokens_as_they_come():
    steps = list(stream(MODEL, ids(), 5, temperature=0))
    assert torch.equal(torch.stack(steps, 1), generate(MODEL, ids(), 5, temperature=0)[:, 7:])


def test_what_was_generated_can_be_trained_on():
    for step in stream(MODEL, ids(), 4):
        MODEL(step[:, None]).sum().backward()
    assert MODEL.lm_head.weight.grad is not None
    assert torch.is_grad_enabled()
    MODEL.zero_grad()


def test_the_context_limit_is_an_error_and_exact():
    assert generate(MODEL, ids(), 41, temperature=0).shape == (3, 48)
    with pytest.raises(WrongCall, match="ask for at most 41"):
        generate(MODEL, ids(), 42)
    with pytest.raises(WrongCall, match="prompt has 49 tokens"):
        generate(MODEL, ids(1, 49), 1)
    with pytest.raises(WrongCall, match="at least one token"):
        generate(MODEL, ids(1, 0), 1)
    assert torch.equal(generate(MODEL, ids(), 0), ids())
