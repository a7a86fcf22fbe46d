"""GPTQ and AWQ: better than rounding where inputs are correlated or uneven, never another model."""

from __future__ import annotations

import copy

import pytest
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.quantize.awq import awq, awq_scale, foldable
from minimind_wiki.infer.quantize.calibrate import block_linears, hessians, inputs
from minimind_wiki.infer.quantize.gptq import free_factor, gptq, hessian, output_error
from minimind_wiki.infer.quantize.round import decode, round_weight
from minimind_wiki.model import Transformer, preset

IDS = torch.randint(0, 60, (4, 24), generator=torch.Generator().manual_seed(0))


def correlated(seed: int, rows: int = 256, wide: int = 32) -> torch.Tensor:
    """Inputs that a few hidden causes explain, as those of a model are."""
    generator = torch.Generator().manual_seed(seed)
    causes = torch.randn(rows, wide // 4, generator=generator)
    mix = torch.randn(wide // 4, wide, generator=generator)
    return causes @ mix + 0.1 * torch.randn(rows, wide, generator=generator)


def weight_of(seed: int, wide: int = 32) -> torch.Tensor:
    return torch.randn(12, wide, generator=torch.Generator().manual_seed(seed))


def model_of(name: str = "nano", **fields) -> Transformer:
    return Transformer(preset(name, **fields), seed=1)


@pytest.mark.parametrize("group", [0, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq_errs_less_than_rounding(group, symmetric, act_order):
    for seed in range(3):
        weight, h = weight_of(seed), hessian(correlated(seed + 10))
        plain = output_error(weight, decode(*round_weight(weight, 4, group, symmetric)), h)
        rounded = gptq(weight, h, 4, group, symmetric, act_order=act_order)
        assert rounded.codes_OI.dtype == torch.int8
        assert output_error(weight, decode(*rounded), h) < 0.6 * plain


@pytest.mark.parametrize("group", [0, 8])
def test_gptq_of_inputs_that_have_nothing_in_common_is_rounding(group):
    """A diagonal H: no column can make up for another."""
    weight, h = weight_of(1), torch.diag(torch.arange(1.0, 33.0))
    plain = round_weight(weight, 4, group)
    for act_order in (False, True):
        rounded = gptq(weight, h, 4, group, act_order=act_order)
        assert torch.equal(rounded.codes_OI, plain.codes_OI)
        assert torch.equal(rounded.grid.scale_OG, plain.grid.scale_OG)


def test_gptq_bears_inputs_that_never_come():
    x = correlated(3)
    x[:, 4:9] = 0
    assert decode(*gptq(weight_of(3), hessian(x), 4)).isfinite().all()
    nothing = gptq(weight_of(3), torch.zeros(32, 32), 4)
    assert torch.equal(nothing.codes_OI, round_weight(weight_of(3), 4).codes_OI)
    with pytest.raises(WrongCall, match="not finite"):
        gptq(weight_of(3), torch.full((32, 32), float("nan")), 4)
    with pytest.raises(WrongCall, match="more damping"):
        free_factor(-torch.eye(3), damping=0.01)


def test_the_output_error_is_that_of_the_outputs():
    x, weight, other = correlated(1), weight_of(1), weight_of(2)
    direct = float((x.double() @ (weight - other).double().T).pow(2).sum())
    assert output_error(weight, other, hessian(x)) == pytest.approx(direct, rel=1e-4)


def test_awq_errs_less_where_few_inputs_are_large():
    x, weight = correlated(5), weight_of(5)
    x[:, [3, 17]] *= 30
    scale = awq_scale([weight], x, bits=4)
    assert scale[3] > 2 * scale.median() and scale[17] > 2 * scale.median()
    plain = decode(*round_weight(weight, 4))
    scaled = decode(*round_weight(weight * scale, 4)) / scale
    h = hessian(x)
    assert output_error(weight, scaled, h) < 0.7 * output_error(weight, plain, h)


def test_awq_leaves_alone_what_it_cannot_better():
    """Inputs of equal size: alpha = 0, all ones."""
    x = torch.ones(8, 32) * torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    assert torch.equal(awq_scale([weight_of(1)], x, bits=4), torch.ones(32))


@pytest.mark.parametrize(
    "name, fields",
    [("nano", {}), ("nano", {"num_key_value_heads": 1}), ("nano", {"qk_norm": True}),
     ("gpt2-124m", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "num_key_value_heads": 2, "intermediate_size": 48}),
     ("nano", {"num_experts": 3, "num_experts_per_tok": 2})],
)  # fmt: skip
def test_awq_does_not_change_the_model(name, fields):
    model = model_of(name, **fields).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():  # gains and biases as after training, not 1 and 0
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        seen = inputs(model, [IDS])
        awq(scaled, seen, 4)
        wanted = model(IDS)
        # the order of float32 sums, and no more
        assert (scaled(IDS) - wanted).abs().max() < 1e-4 * wanted.abs().max()
    changed = [
        n for n, p in scaled.named_parameters() if not torch.equal(p, model.get_parameter(n))
    ]
    pairs = {name for block in model.model.layers for _, names in foldable(block) for name in names}
    assert pairs and all(any(n.endswith(p + ".weight") for n in changed) for p in pairs)


def test_calibration_sees_what_each_layer_reads():
    model = model_of().eval()
    names = block_linears(model)
    assert len(names) == 7 * model.config.num_hidden_layers
    seen = inputs(model, [IDS[:2], IDS[2:]], rows=1000)
    embedded = model.model.embed_tokens(IDS)
    x = model.model.layers[0].input_layernorm(embedded).flatten(0, 1)
    assert torch.allclose(seen["model.layers.0.self_attn.k_proj"], x, atol=1e-6)
    found = hessians(model, 0, [IDS[:2], IDS[2:]])
    assert torch.allclose(found["model.layers.0.self_attn.k_proj"], x.T @ x, rtol=1e-4, atol=1e-3)
    assert set(found) == {n for n in names if n.startswith("model.layers.0.")}
    assert len(inputs(model, [IDS], rows=10)["model.layers.0.mlp.up_proj"]) <= 10
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_routers_are_left_alone():
    model = model_of(num_experts=2, num_shared_experts=1, shared_expert_gate=True)
    assert not any("gate" in n.split(".")[-1] and "proj" not in n for n in block_linears(model))
