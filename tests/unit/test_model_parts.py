"""Attention, cache, initial weights and experts: each against its own definition."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil

import pytest
import torch

import minimind_wiki.infer
import minimind_wiki.model
from minimind_wiki.errors import WrongCall
from minimind_wiki.model import KVCache, Transformer, preset
from minimind_wiki.model.attention import (
    causal_attention,
    fused_causal_attention,
    packed_attention,
)
from minimind_wiki.model.masks import document_lengths, document_mask
from minimind_wiki.model.moe import MixtureOfExperts, route
from minimind_wiki.model.rope import apply_rope, rope_tables

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 259,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NAMES = ("26m", "64m", "gpt2-124m", "moe-198m", "moe-145m")


def small(name: str) -> Transformer:
    return Transformer(preset(name, **SMALL), seed=2).eval()


def ids(batch: int = 2, time: int = 24) -> torch.Tensor:
    return torch.randint(0, 259, (batch, time), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("package", [minimind_wiki.model, minimind_wiki.infer])
def test_examples_in_docstrings(package):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        module = importlib.import_module(found.name)
        result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
        assert result.failed == 0, found.name


@pytest.mark.parametrize("queries, keys", [(9, 9), (1, 9), (4, 9), (1, 1)])
@pytest.mark.parametrize("shared", [1, 2, 4])
def test_fused_attention_is_the_formula(queries, keys, shared):
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=draw, requires_grad=True)
    k = torch.randn(2, shared, keys, 8, generator=draw, requires_grad=True)
    v = torch.randn(2, shared, keys, 8, generator=draw, requires_grad=True)
    plain, fused = causal_attention(q, k, v), fused_causal_attention(q, k, v)
    torch.testing.assert_close(plain, fused, atol=1e-6, rtol=1e-5)
    probe = torch.randn(plain.shape, generator=draw)
    for a, b in zip(
        torch.autograd.grad((plain * probe).sum(), (q, k, v)),
        torch.autograd.grad((fused * probe).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_future_has_no_influence(name):
    model, tokens = small(name), ids()
    changed = tokens.clone()
    changed[:, 15] = (changed[:, 15] + 1) % 259
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :15], after[:, :15], atol=1e-5, rtol=1e-5)
    assert ((before - after)[:, 15:].abs().amax(-1) > 1e-3).all()  # and the past has one


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pieces", [[24], [1] * 24, [10, 1, 1, 7, 5]])
def test_with_a_cache_the_logits_are_the_same(name, pieces):
    model, tokens = small(name), ids()
    cache = KVCache(model.config, batch=2, room=24)
    with torch.no_grad():
        parts = [model(part, cache) for part in tokens.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), model(tokens), atol=2e-5, rtol=1e-4)
    assert cache.length == 24
    with pytest.raises(WrongCall, match="room for 24 tokens, but 25 are needed"):
        model(tokens[:, :1], cache)


@pytest.mark.parametrize("name", ["26m", "gpt2-124m"])
def test_documents_packed_in_one_row_are_read_as_if_alone(name):
    """Same logits as each document by itself, padding finite, gradients kept apart."""
    model = small(name)
    ids_BT = ids(2, 12)
    documents_BT = torch.tensor([[1] * 5 + [2] * 7, [1] * 3 + [2] * 4 + [3] * 2 + [0] * 3])
    packed_BTV = model(ids_BT, documents_BT=documents_BT)
    assert torch.isfinite(packed_BTV).all()
    for row, (first, last) in ((0, (0, 5)), (0, (5, 12)), (1, (0, 3)), (1, (3, 7)), (1, (7, 9))):
        alone_TV = model(ids_BT[row : row + 1, first:last])[0]
        torch.testing.assert_close(packed_BTV[row, first:last], alone_TV, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(packed_BTV[0, 5:], model(ids_BT)[0, 5:], atol=1e-3)


def test_documents_apart_are_the_formula_too():
    """Masked or one by one, values and gradients; two query heads share a key head."""
    documents_BT = torch.tensor([[1, 1, 2, 2, 2], [1, 2, 2, 0, 0]])
    generator = torch.Generator()
    allowed, lengths = document_mask(documents_BT), document_lengths(documents_BT)
    found = []
    for attend, apart in (
        (causal_attention, allowed), (fused_causal_attention, allowed), (packed_attention, lengths)
    ):  # fmt: skip
        generator.manual_seed(1)
        q, k, v = (torch.randn(2, n, 5, 8, generator=generator).requires_grad_() for n in (4, 2, 2))
        out = attend(q, k, v, apart)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out, q.grad, k.grad, v.grad))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_packed_rows_have_no_cache():
    model = small("26m")
    ids_BT = ids(1, 4)
    with pytest.raises(WrongCall, match="documents or a cache, not both"):
        model(ids_BT, KVCache(model.config, 1, 8), torch.ones_like(ids_BT))


def test_rotation_keeps_length_and_knows_only_the_distance():
    draw = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 1, 1, 16, generator=draw), torch.randn(1, 1, 1, 16, generator=draw)
    cos, sin = rope_tables(100, 16, 1e4)
    turned = [apply_rope(t.expand(1, 1, 100, 16), cos, sin)[0, 0] for t in (q, k)]
    torch.testing.assert_close(turned[0].norm(dim=-1), q.norm().expand(100))
    score = turned[0] @ turned[1].T
    for distance in (0, 3, 40):
        along = score.diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-4, rtol=1e-4)
    assert score.diagonal(0)[0] != pytest.approx(score.diagonal(-3)[0].item(), abs=1e-2)


def test_rotary_tables_stay_exact_when_the_model_is_cast():
    model = Transformer(preset("nano"))
    exact = model.model.rotary.cos.clone()
    model.bfloat16()
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.model.rotary.cos.dtype == torch.float32
    assert torch.equal(model.model.rotary.cos, exact)
    assert model(ids()).dtype == torch.bfloat16
    assert not any("rotary" in key for key in model.state_dict())


def test_initial_weights_follow_the_table():
    config = preset("tiny")
    model = Transformer(config, seed=0)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert (parameter == 1).all(), name
            continue
        writes = name.endswith(("o_proj.weight", "down_proj.weight"))
        wanted = 0.02 / math.sqrt(2 * config.num_hidden_layers) if writes else 0.02
        assert parameter.std().item() == pytest.approx(wanted, rel=0.03), name
        assert abs(parameter.mean().item()) < 0.001, name
    plain = Transformer(preset("tiny", scale_residual_init=False))
    spread = plain.model.layers[0].mlp.down_proj.weight.std().item()
    assert spread == pytest.approx(0.02, rel=0.03)
    biases = [p for n, p in small("gpt2-124m").named_parameters() if n.endswith("bias")]
    assert biases and all((b == 0).all() for b in biases)


def test_a_seed_is_a_model_and_leaves_torchs_own_generator_alone():
    state = torch.random.get_rng_state()
    a, b, c = (Transformer(preset("nano"), seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(a(ids()), b(ids())) and not torch.equal(a(ids()), c(ids()))


def test_a_fresh_model_knows_nothing():
    tokens = ids(8, 65)
    logits = Transformer(preset("tiny"))(tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(259), abs=0.15)


def test_tied_head_is_one_tensor():
    tied, untied = (Transformer(preset("nano", tie_word_embeddings=t)) for t in (True, False))
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert untied.num_parameters() - tied.num_parameters() == 259 * 64


def test_wrong_shapes_say_what_to_give():
    model = small("26m")
    with pytest.raises(WrongCall, match=r"shape \(24,\); give \(batch, time\)"):
        model(ids()[0])
    with pytest.raises(WrongCall, match="41 tokens are more than max_position_embeddings 40"):
        model(ids(1, 41))


@pytest.mark.parametrize("k, normalize, shared", [(1, False, 0), (2, True, 0), (2, False, 1)])
def test_experts_are_a_weighted_sum(k, normalize, shared):
    config = preset(
        "moe-198m",
        **SMALL,
        num_experts_per_tok=k,
        norm_topk_prob=normalize,
        num_shared_experts=shared,
    )
    torch.manual_seed(0)
    moe = MixtureOfExperts(config)
    x = torch.randn(2, 5, 32)
    out = moe(x)
    for b, t in ((0, 0), (1, 4)):  # by hand, one token at a time
        probability = torch.softmax(moe.gate(x[b, t]), 0)
        best = probability.argsort(descending=True)[:k]
        share = probability[best] / (probability[best].sum() if normalize else 1)
        wanted = sum(s * moe.experts[int(e)](x[b, t]) for s, e in zip(share, best, strict=True))
        wanted = wanted + sum(expert(x[b, t]) for expert in moe.shared_experts)
        torch.testing.assert_close(out[b, t], wanted, atol=1e-6, rtol=1e-5)


def test_the_router_learns_unless_its_single_weight_is_rescaled():
    def router_gradient(normalize: bool) -> float:
        moe = MixtureOfExperts(preset("moe-198m", **SMALL, norm_topk_prob=normalize))
        moe(torch.randn(2, 5, 32)).pow(2).sum().backward()
        return moe.gate.weight.grad.abs().max().item()

    torch.manual_seed(0)
    assert router_gradient(normalize=False) > 1e-4
    assert router_gradient(normalize=True) < 1e-6
    assert not preset("moe-198m").norm_topk_prob


def test_routing_takes_the_most_probable():
    weight, expert = route(torch.tensor([[0.0, 3.0, 1.0, 2.0]]), k=2, normalize=True)
    assert expert.tolist() == [[1, 3]]
    assert weight.sum().item() == pytest.approx(1)
