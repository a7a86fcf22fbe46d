"""The pass that keeps everything says what the model says, cut and patched as hooks would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind_wiki.book.views.trace import Cuts, round_weights, trace
from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.export.bundle import quantize_rows
from minimind_wiki.model import ModelConfig, Transformer

SHAPES = {
    "plain": {},
    "shared key heads": {"num_key_value_heads": 2},
    "q/k-norm": {"qk_norm": True},
    "window": {"sliding_window": 3, "full_layers": "1"},
    "experts": {"num_experts": 4, "num_experts_per_tok": 2},
}
IDS = [3, 9, 9, 4, 17, 3, 9]


def model_of(**fields: Any) -> Transformer:
    config = ModelConfig(
        vocab_size=31, hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=40, max_position_embeddings=32, initializer_range=0.3, **fields,
    )  # fmt: skip
    return Transformer(config, seed=1).eval()


def odds(model: Transformer) -> Tensor:
    with torch.no_grad():
        return model(torch.tensor([IDS]))[0].softmax(-1)


def hooked(model: Transformer, place: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """What the model says when the output of a module is changed."""
    module = model.model.get_submodule(place)
    handle = module.register_forward_hook(lambda _m, _i, out: change(out))
    try:
        return odds(model)
    finally:
        handle.remove()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_pass_is_the_models_own(shape: str) -> None:
    model = model_of(**SHAPES[shape])
    seen = trace(model, IDS)
    torch.testing.assert_close(seen.odds[-1], odds(model), atol=2e-6, rtol=1e-4)
    for weights_HTT, valued_HTT in zip(seen.weights, seen.valued, strict=True):
        for rows in (weights_HTT, valued_HTT):
            torch.testing.assert_close(rows.sum(-1), torch.ones(4, len(IDS)))
            assert not rows.triu(1).any()
    for layer, (fired_TF, block) in enumerate(zip(seen.fired, model.model.layers, strict=True)):
        if shape == "experts":
            assert fired_TF.shape == (len(IDS), 0)
            continue
        with torch.no_grad():
            thought_TD = block.mlp.down_proj(fired_TF)
        torch.testing.assert_close(thought_TD.norm(dim=-1), seen.added[layer][:, 1])
    if shape == "window":
        assert not seen.weights[0].tril(-3).any() and seen.weights[1].tril(-3).any()
    stream = [seen.stream[0]]
    handles = [
        layer.register_forward_hook(lambda _m, _i, out: stream.append(out[0]))
        for layer in model.model.layers
    ]
    odds(model)
    for handle in handles:
        handle.remove()
    for mine, theirs in zip(seen.stream, stream, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_parts_that_are_cut_add_nothing() -> None:
    model = model_of()
    for part, place in (("attention", "layers.1.self_attn"), ("mlp", "layers.1.mlp")):
        cut = trace(model, IDS, Cuts(parts=frozenset([(1, part)])))
        wanted = hooked(model, place, torch.zeros_like)
        torch.testing.assert_close(cut.odds[-1], wanted, atol=2e-6, rtol=1e-4)
        assert not torch.allclose(wanted, odds(model), atol=1e-3)


def test_a_head_that_is_off_has_no_output() -> None:
    model = model_of(num_key_value_heads=2)
    projection = model.model.layers[2].self_attn.o_proj

    def without(_module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0].clone()
        x[..., 6:12] = 0  # head 1 of four, six numbers each
        return (x,)

    handle = projection.register_forward_pre_hook(without)
    wanted = odds(model)
    handle.remove()
    cut = trace(model, IDS, Cuts(heads=frozenset([(2, 1)])))
    torch.testing.assert_close(cut.odds[-1], wanted, atol=2e-6, rtol=1e-4)


def test_a_patch_puts_one_vector_in() -> None:
    model = model_of()
    vector = torch.randn(24, generator=torch.Generator().manual_seed(0))

    def put(out: Tensor) -> Tensor:
        out = out.clone()
        out[0, 4] = vector
        return out

    for layer, place in ((-1, "embed_tokens"), (0, "layers.0")):
        patched = trace(model, IDS, Cuts(patch=(layer, 4, vector)))
        torch.testing.assert_close(
            patched.odds[-1], hooked(model, place, put), atol=2e-6, rtol=1e-4
        )


def test_weights_are_rounded_as_the_bundle_rounds_them() -> None:
    model = model_of()
    before = model.model.layers[0].mlp.gate_proj.weight.detach().clone()
    gain = model.model.norm.weight.detach().clone()
    round_weights(model)
    steps, scale = quantize_rows(before.numpy())
    after = model.model.layers[0].mlp.gate_proj.weight
    torch.testing.assert_close(after.detach(), torch.from_numpy(steps * scale[:, None]))
    assert not torch.equal(after, before) and torch.equal(model.model.norm.weight, gain)


def test_a_family_without_views_is_named() -> None:
    model = Transformer(
        ModelConfig(family="gpt2", vocab_size=31, hidden_size=24, num_hidden_layers=1,
                    num_attention_heads=4, max_position_embeddings=32), seed=0,
    )  # fmt: skip
    with pytest.raises(WrongCall, match="rotary"):
        trace(model, IDS)
