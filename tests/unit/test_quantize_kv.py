"""The cache in eight bits: near enough, small, and in the place of the others."""

from __future__ import annotations

import math

import pytest
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.quantize import Int8Cache, Int8PagedCache
from minimind_wiki.infer.quantize.kv import encode_vectors
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import KVCache, Transformer, preset
from minimind_wiki.model.attention import causal_attention

MODEL = Transformer(preset("nano"), seed=1).eval()
IDS = torch.randint(0, 60, (2, 40), generator=torch.Generator().manual_seed(0))


def test_attention_stays_within_the_derived_bound():
    """Scores move by at most ε, weights by a factor up to e^2ε, values by half a step."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, 2, 30, 16, generator=generator) for _ in range(3))
    (k_codes, k_scale), (v_codes, v_scale) = encode_vectors(k), encode_vectors(v)
    found = causal_attention(q, k_codes * k_scale, v_codes * v_scale)
    wanted = causal_attention(q, k, v)
    for query in range(30):
        seen = slice(0, query + 1)
        reach = q[:, :, query].abs().sum(-1)  # ‖q‖₁
        epsilon = (k_scale[:, :, seen].amax((-2, -1)) / 2 * reach / math.sqrt(16))[..., None]
        half = v_scale[:, :, seen].amax((-2, -1))[..., None] / 2
        largest = v[:, :, seen].abs().amax(-2)
        bound = (torch.exp(2 * epsilon) - 1) * (largest + half) + half
        off = (found - wanted)[:, :, query].abs()
        assert (off <= bound + 1e-6).all()
    assert (found - wanted).norm() < 0.02 * wanted.norm()


@torch.no_grad()
def test_scores_of_a_model_stay_near():
    """Within two hundredths of the scores' spread, for random weights; and in pieces as in one."""
    wanted = MODEL(IDS)
    whole, parts = (Int8Cache(MODEL.config, 2, 40) for _ in range(2))
    at_once = MODEL(IDS, whole)
    in_pieces = torch.cat([MODEL(IDS[:, a:b], parts) for a, b in ((0, 7), (7, 8), (8, 40))], 1)
    assert torch.allclose(at_once, in_pieces, atol=1e-5) and not torch.equal(at_once, wanted)
    assert (at_once - wanted).abs().max() < 0.02 * wanted.std()


@torch.no_grad()
def test_memory_is_a_byte_a_number_and_four_a_vector():
    cache, plain = Int8Cache(MODEL.config, 2, 40), KVCache(MODEL.config, 2, 40)
    size = sum(t.numel() * t.element_size() for t in (*cache.codes, *cache.scales))
    full = sum(t.numel() * t.element_size() for t in (*plain.keys, *plain.values))
    dim = MODEL.config.head_dim
    assert size / full == (dim + 4) / (4 * dim)
    MODEL(IDS, cache)
    with pytest.raises(WrongCall, match="room=41"):
        MODEL(IDS[:, :1], cache)


def test_zeros_stay_zeros():
    codes, scale = encode_vectors(torch.zeros(2, 4))
    assert not codes.any() and not scale.any()


@torch.no_grad()
def test_the_engine_runs_on_it():
    """Blocks in eight bits give what a row in eight bits gives, and not what float32 gives."""
    prompts = [IDS[row % 2, : 5 + 9 * row].tolist() for row in range(4)]
    engine = Engine(MODEL, room=512)
    engine.cache = Int8PagedCache(MODEL.config, 512 // 16)
    greedy = Sampling(temperature=0)
    numbers = [engine.add(Request(p, 6, greedy, logprobs=0)) for p in prompts]
    found = {number: list(prompt) for number, prompt in zip(numbers, prompts, strict=True)}
    scores: dict[int, list[float]] = {number: [] for number in numbers}
    while engine.busy:
        for number, token in engine.step():
            assert token.logprob is not None
            found[number].append(token.id)
            scores[number].append(token.logprob)
    for number, prompt in zip(numbers, prompts, strict=True):
        ids, last = torch.tensor([found[number]]), slice(len(prompt) - 1, -1)
        eight, full = (
            MODEL(ids, cache)[0, last].log_softmax(-1)
            for cache in (Int8Cache(MODEL.config, 1, 100), None)
        )
        assert eight.argmax(-1).tolist() == found[number][len(prompt) :]
        mine = torch.tensor(scores[number])
        assert (mine - eight.amax(-1)).abs().max() < 0.1 * (full - eight).abs().amax()


def test_a_wiped_block_is_zero():
    cache = Int8PagedCache(MODEL.config, 4)
    cache.keys[0].scales[1] = float("nan")
    cache.wipe([1])
    assert not cache.keys[0].index_select(0, torch.tensor([1])).any()
