"""A quantized model: its layers, its size, its folder, and that nothing trains it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import generate, save_model_folder
from minimind_wiki.infer.quantize import (
    is_quantized,
    load_quantized,
    quantize_model,
    quicken,
    save_quantized,
    stored_bytes,
)
from minimind_wiki.infer.quantize.layers import QuantLinear, int8_kernel
from minimind_wiki.infer.quantize.round import bits_per_weight, round_weight
from minimind_wiki.model import Transformer, preset

IDS = torch.randint(0, 60, (3, 20), generator=torch.Generator().manual_seed(0))
GPT2 = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "intermediate_size": 64}  # fmt: skip
KINDS = [("nano", {}), ("nano", {"tie_word_embeddings": False}), ("gpt2-124m", GPT2),
         ("nano", {"num_experts": 3, "num_experts_per_tok": 2})]  # fmt: skip


def model_of(name: str = "nano", **fields) -> Transformer:
    return Transformer(preset(name, **fields), seed=1).eval()


def layer_of(weight: torch.Tensor, bits: int, group: int, symmetric: bool = True) -> QuantLinear:
    layer = QuantLinear(*weight.shape, bits, group, symmetric)
    layer.fill(round_weight(weight, bits, group, symmetric))
    return layer


@pytest.mark.parametrize("bits, group, symmetric", [(8, 0, True), (8, 16, False), (4, 0, True),
                                                    (4, 16, True), (4, 32, False)])  # fmt: skip
def test_a_layer_multiplies_by_its_weight(bits, group, symmetric):
    generator = torch.Generator().manual_seed(1)
    weight, x = (torch.randn(n, 64, generator=generator) for n in (24, 5))
    layer = layer_of(weight, bits, group, symmetric)
    assert torch.allclose(layer(x[None]), (x @ layer.weight.T)[None], atol=1e-5)
    step = layer.scales.repeat_interleave(group or 64, dim=1)
    assert ((layer.weight - weight).abs() <= step / 2 + 1e-6).all()
    assert 8 * stored_bytes(layer) / weight.numel() == bits_per_weight(bits, group, 64, symmetric)


def test_torch_s_kernel_is_exact_enough():
    """bfloat16 has eight digits: half a unit is 2⁻⁹ of an input, and of the sum again."""
    generator = torch.Generator().manual_seed(2)
    weight, x = (torch.randn(n, 96, generator=generator) for n in (40, 6))
    layer = layer_of(weight, 8, 0)
    exact = x @ layer.weight.T
    quick = int8_kernel(x[None], layer.codes, layer.scales[:, 0])[0]
    bound = 2**-9 * (x.abs() @ layer.weight.abs().T) + 2**-9 * exact.abs() + 1e-5
    assert ((quick - exact).abs() <= bound * (1 + 2**-8)).all()
    assert (quick - exact).norm() < 0.005 * exact.norm() and not torch.equal(quick, exact)


@pytest.mark.parametrize("name, fields", KINDS)
def test_a_model_in_eight_bits_says_nearly_the_same(name, fields):
    model = model_of(name, **fields)
    with torch.no_grad():
        wanted = model(IDS)
        small = quantize_model(model, bits=8)
        assert torch.equal(model(IDS), wanted)  # the original is as it was
        assert (small(IDS) - wanted).norm() < 0.03 * wanted.norm()
    left = {n.rsplit(".", 2)[-2] for n, _ in small.named_parameters()}
    assert all("norm" in n or n in ("gate", "embed_positions") for n in left)
    if model.config.tie_word_embeddings:
        assert small.lm_head.codes is small.model.embed_tokens.codes


def test_fewer_bits_weigh_less_and_groups_err_less():
    model = model_of()
    with torch.no_grad():
        wanted = model(IDS)
        forms = {key: quantize_model(model, *key) for key in ((8, 0), (4, 16), (4, 0))}
        errors = [float((m(IDS) - wanted).norm()) for m in forms.values()]
    sizes = [stored_bytes(m) for m in forms.values()]
    assert errors[0] < errors[1] < errors[2]
    assert stored_bytes(model) > sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_methods_read_texts(method):
    model = model_of()
    small = quantize_model(model, 4, 16, method, [IDS], symmetric=False)
    again = quantize_model(model, 4, 16, method, [IDS], symmetric=False)
    plain = quantize_model(model, 4, 16, symmetric=False)
    with torch.no_grad():
        assert torch.equal(small(IDS), again(IDS)) and not torch.equal(small(IDS), plain(IDS))
    with pytest.raises(WrongCall, match="texts to calibrate"):
        quantize_model(model, 4, 16, method)


@pytest.mark.parametrize("name, fields", KINDS)
@pytest.mark.parametrize("bits, group, symmetric", [(8, 0, True), (4, 16, False)])
def test_a_folder_gives_back_the_same_model(tmp_path, name, fields, bits, group, symmetric):
    model = quantize_model(model_of(name, **fields), bits, group, symmetric=symmetric)
    path = save_quantized(tmp_path / "small", model, run={"command": "test"})
    back, tokenizer = load_quantized(path)
    assert tokenizer is None and back.config == model.config and not back.training
    with torch.no_grad():
        assert torch.equal(back(IDS), model(IDS))
    assert back.quantization == model.quantization
    assert stored_bytes(back) == stored_bytes(model)
    names = set(load_file(path / "model.safetensors"))
    assert ("lm_head.codes" in names) == (not model.config.tie_word_embeddings)
    assert not list(tmp_path.glob(".*"))


def test_only_we_open_it_and_it_says_so(tmp_path):
    path = save_quantized(tmp_path / "small", quantize_model(model_of(), 4, 16))
    config = json.loads((path / "config.json").read_text())
    assert config["model_type"] == "minimind_quantized"  # transformers knows none of that name
    assert config["quantization_config"] == {
        "quant_method": "minimind", "model_type": "llama", "bits": 4, "group": 16,
        "symmetric": True, "method": "round",
    }  # fmt: skip
    plain = save_model_folder(tmp_path / "plain", model_of())
    assert is_quantized(path) and not is_quantized(plain) and not is_quantized(tmp_path)
    with pytest.raises(MinimindError, match="load_model_folder"):
        load_quantized(plain)
    with pytest.raises(WrongCall, match="save_model_folder"):
        save_quantized(tmp_path / "other", model_of())
    with pytest.raises(WrongCall, match="not overwritten"):
        save_quantized(path, quantize_model(model_of()))


def test_a_damaged_folder_is_an_error_that_helps(tmp_path):
    path = save_quantized(tmp_path / "small", quantize_model(model_of(), 8))
    tensors = load_file(path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.codes"
    save_file(tensors | {name: tensors[name].float()}, path / "model.safetensors")
    with pytest.raises(MinimindError, match=r"up_proj.codes .* copy the folder"):
        load_quantized(path)
    del tensors[name]
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(MinimindError, match=r"lacks .*up_proj.codes"):
        load_quantized(path)
    config = json.loads((path / "config.json").read_text())
    del config["quantization_config"]["model_type"]
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MinimindError, match="copy the folder"):
        load_quantized(path)


def test_nothing_trains_it_and_nothing_rounds_it_twice():
    small = quantize_model(model_of())
    with pytest.raises(WrongCall, match="cannot be trained"):
        small.train()
    assert not any(p.requires_grad for p in small.parameters())
    with pytest.raises(WrongCall, match="quantized already"):
        quantize_model(small)


@pytest.mark.parametrize("call, hint", [
    ({"bits": 5}, "8 or 4"), ({"group": 48}, "q_proj.*divisor"), ({"method": "gtpq"}, "gptq"),
    ({"act_order": True}, "option of gptq"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_work(call, hint):
    with pytest.raises(WrongCall, match=hint):
        quantize_model(model_of(), **call)


def test_it_generates_and_can_be_quickened():
    model = model_of()
    small = quantize_model(model)
    exact = generate(small, IDS[:1], 8, temperature=0)
    assert exact.shape == (1, 28)
    with torch.no_grad():
        before = small(IDS)
        assert quicken(small) == 7 * model.config.num_hidden_layers + 1
        after = small(IDS)
    assert not torch.equal(before, after) and (after - before).norm() < 0.02 * before.norm()
    assert quicken(quantize_model(model, 4)) == 1  # the head alone
