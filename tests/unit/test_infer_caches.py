"""Every cache gives what a pass without one gives, and holds no more than it says."""

from __future__ import annotations

import pytest
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import stream
from minimind_wiki.infer.caches import KINDS, RingCache, SinkCache, make_cache, read
from minimind_wiki.model import KVCache, ModelConfig, Transformer
from minimind_wiki.model.attention import causal_attention
from minimind_wiki.model.rope import apply_rope

LAYOUTS = {
    "full": {},
    "one key head, q/k-norm": {"num_key_value_heads": 1, "qk_norm": True},
    "yarn": {"rope_type": "yarn", "rope_factor": 4.0},
    "alibi": {"positions": "alibi"},
    "none": {"positions": "none"},
    "gpt2": {"family": "gpt2", "num_key_value_heads": 4},
    "experts": {"num_experts": 4, "num_experts_per_tok": 2},
    "window": {"sliding_window": 3},
    "window and sinks": {"sliding_window": 3, "attention_sinks": 2},
    "window but for layer 1": {"sliding_window": 2, "full_layers": "1"},
    "window and sinks but for layer 0": {
        "sliding_window": 4, "attention_sinks": 1, "full_layers": "0",
    },
    "window and alibi": {"positions": "alibi", "sliding_window": 4, "attention_sinks": 1},
    "gpt2 and window": {"family": "gpt2", "num_key_value_heads": 4, "sliding_window": 5},
}  # fmt: skip
PAIRS = [
    (name, kind)
    for name, fields in LAYOUTS.items()
    for kind in KINDS
    if (kind != "ring" or "sliding_window" in fields)
    and (kind != "sinks" or fields.get("family") != "gpt2")
]


def model(name: str = "full", **fields) -> Transformer:
    sizes = {
        "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 24,
        "rope_theta": 100.0, "initializer_range": 0.3,
    }  # fmt: skip
    return Transformer(ModelConfig(**sizes | LAYOUTS[name] | fields), seed=3).eval()


def ids(batch: int = 2, time: int = 16) -> torch.Tensor:
    return torch.randint(0, 99, (batch, time), generator=torch.Generator().manual_seed(1))


def numbers(cache) -> int:
    """How many numbers a cache holds, by the memory under its tensors."""
    tensors = [t for t in (*cache.keys, *cache.values) if t is not None]
    assert len(tensors) == 4
    return sum(t.untyped_storage().nbytes() // t.element_size() for t in tensors)


@pytest.mark.parametrize("pieces", [[1] * 16, [7, 1, 1, 4, 3], [2, 10, 1, 3]])
@pytest.mark.parametrize("name, kind", PAIRS)
@torch.no_grad()
def test_the_logits_are_those_without_a_cache(name, kind, pieces):
    ours = model(name)
    cache = make_cache(kind, ours, batch=2, room=16)
    whole = ours(ids())
    parts = [ours(part, cache) for part in ids().split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)
    assert whole.std() > 0.3 and cache.length == 16


@pytest.mark.parametrize("name, kind", PAIRS)
@torch.no_grad()
def test_the_tokens_are_those_without_a_cache(name, kind):
    ours, plain = model(name), ids(time=6)
    for _ in range(18):
        plain = torch.cat([plain, ours(plain)[:, -1].argmax(-1, keepdim=True)], 1)
    steps = list(stream(ours, ids(time=6), 18, temperature=0, cache=kind))
    assert torch.stack(steps, 1).tolist() == plain[:, 6:].tolist()


@torch.no_grad()
def test_the_default_is_the_static_cache_to_the_bit():
    """Rollouts and records of training depend on it."""
    ours, cache, new = model(), KVCache(model().config, 2, 16), ids(time=6)
    draw, ours_draw = (torch.Generator().manual_seed(5) for _ in range(2))
    for step in stream(ours, ids(time=6), 10, generator=ours_draw):
        share = torch.softmax(ours.lm_head(ours.model(new, cache)[:, -1]), dim=-1)
        new = torch.multinomial(share, 1, generator=draw)
        assert torch.equal(step, new[:, 0])


@pytest.mark.parametrize("sinks", [0, 2])
@torch.no_grad()
def test_a_ring_keeps_a_window(sinks):
    """2 · K · D numbers a token and layer; a layer without the window keeps the whole text."""
    fields = {"sliding_window": 3, "attention_sinks": sinks, "max_position_embeddings": 200}
    token = 2 * 2 * 2 * 8  # keys and values, layers, heads, head_dim
    for room in (20, 200):
        ring = make_cache("ring", model(**fields), 1, room)
        assert numbers(ring) == token * (3 + sinks)
        half = make_cache("ring", model(full_layers="1", **fields), 1, room)
        assert numbers(half) == token // 2 * (3 + sinks + room)
    ours, ring = model(**fields), make_cache("ring", model(**fields), 1, 200)
    text = ids(1, 200)
    out = torch.cat([ours(part, ring) for part in text.split([9, *[1] * 187, 4], dim=1)], dim=1)
    torch.testing.assert_close(out, ours(text), atol=1e-4, rtol=1e-4)
    assert numbers(ring) == token * (3 + sinks)
    with pytest.raises(WrongCall, match="room=9"):
        ours(text[:, :9], make_cache("ring", ours, 1, 8))


@torch.no_grad()
def each_sees_the_first_and_the_last(ours: Transformer, ids_1T, room: int, sinks: int):
    """What streaming means, without a cache: every query with its own list of tokens, (1, T, V)."""
    decoder, x_1TD = ours.model, ours.model.embed_tokens(ids_1T)
    for layer in decoder.layers:
        own, y_1TD = layer.self_attn, layer.input_layernorm(x_1TD)
        q, k = own._heads(own.q_proj(y_1TD), own.q_norm), own._heads(own.k_proj(y_1TD), own.k_norm)
        v, out = own._heads(own.v_proj(y_1TD), None), []
        for t in range(ids_1T.shape[1]):
            seen = list(range(t + 1))
            if len(seen) > room:
                seen = seen[:sinks] + seen[sinks - room :]
            keys, query = k[:, :, seen], q[:, :, t : t + 1]
            if decoder.rotary is not None:
                cos, sin = decoder.rotary(0, len(seen))
                keys, query = apply_rope(keys, cos, sin), apply_rope(query, cos[-1:], sin[-1:])
            out.append(causal_attention(query, keys, v[:, :, seen]))
        x_1TD = x_1TD + own.o_proj(torch.cat(out, dim=2).transpose(1, 2).flatten(2))
        x_1TD = x_1TD + layer.mlp(layer.post_attention_layernorm(x_1TD))
    return ours.lm_head(decoder.norm(x_1TD))


@pytest.mark.parametrize("sinks", [0, 2])
@pytest.mark.parametrize("name", ["full", "one key head, q/k-norm", "none"])
@torch.no_grad()
def test_sinks_stream_past_the_context_without_growing(name, sinks):
    ours, text = model(name), ids(1, 4 * 24)
    wanted = each_sees_the_first_and_the_last(ours, text, 10, sinks)
    cache = SinkCache(ours.config, 1, room=10, sinks=sinks)
    found, sizes = [], set()
    for part in text.split([7, *[1] * 89], dim=1):  # 7 to read the prompt, then one by one
        found.append(ours(part, cache))
        sizes.add(numbers(cache))
    found = torch.cat(found, dim=1)
    assert found.isfinite().all()
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    kept = cache.keys[0].shape
    assert max(sizes) == 2 * 2 * kept[1] * kept[3] * 9 and cache.length == 9
    # the window moved: a model that still saw all would say something else
    assert not torch.allclose(wanted[:, 12:24], ours(text[:, :24])[:, 12:], atol=1e-2)


@torch.no_grad()
def test_a_prompt_that_overfills_the_sinks_is_read_like_a_stream():
    ours, text = model(), ids(1, 40)
    wanted = each_sees_the_first_and_the_last(ours, text, 12, 4)
    cache = SinkCache(ours.config, 1, room=12)
    last = ours.lm_head(read(ours, text, cache))
    torch.testing.assert_close(last, wanted[:, -1], atol=1e-4, rtol=1e-4)
    first = next(stream(ours, text, 1, temperature=0, cache=SinkCache(ours.config, 1, room=12)))
    assert int(first) == int(wanted[0, -1].argmax())


def test_a_stream_with_sinks_has_no_limit():
    steps = list(stream(model(), ids(), 80, temperature=0, cache="sinks"))  # the context is 24
    assert len(steps) == 80 and len({tuple(step.tolist()) for step in steps}) > 3
    with pytest.raises(WrongCall, match="ask for at most 8"):
        next(stream(model(), ids(), 80, temperature=0, cache="growing"))


def test_what_cannot_work_is_refused_with_the_fix():
    with pytest.raises(WrongCall, match="unknown cache 'rings'; did you mean 'ring'"):
        make_cache("rings", model(), 1, 8)
    with pytest.raises(WrongCall, match="no sliding_window"):
        RingCache(model().config, 1, 8)
    with pytest.raises(WrongCall, match="'learned' are in what is cached"):
        SinkCache(model("gpt2").config, 1)
    with pytest.raises(WrongCall, match="at most the model's 24"):
        SinkCache(model().config, 1, room=25)
    with pytest.raises(WrongCall, match="the rest one by one"):
        model()(ids(), SinkCache(model().config, 2, room=10))
