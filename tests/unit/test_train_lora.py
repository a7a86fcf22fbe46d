"""LoRA and QLoRA on our model: what learns, what stays, what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.model.moe_dispatch import Visits, at_once, in_turn
from minimind_wiki.train.frozen import layers_named, trainable_share, trained_tensors
from minimind_wiki.train.lora import LoraConfig, LoraLinear
from minimind_wiki.train.lora_folder import load_adapter, save_adapter
from minimind_wiki.train.lora_model import (
    adapters_off,
    add_adapter,
    lora_layers,
    merge,
    merged,
    use_adapters,
)
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.quantized import QuantizedLinear, quantize_layers, unquantize_layers
from minimind_wiki.train.recompute import recompute_blocks

SIZES = {"hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.2}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}


def model(**more: object) -> Transformer:
    return Transformer(preset("nano", **SIZES | more), seed=1)


def ids(length: int = 12) -> Tensor:
    return torch.randint(0, 256, (2, length), generator=torch.Generator().manual_seed(0))


def loss(net: torch.nn.Module, ids_BT: Tensor) -> Tensor:
    return F.cross_entropy(net(ids_BT)[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten())


def draw(net: torch.nn.Module) -> None:
    """Everything that learns, away from its start at zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in trained_tensors(net).values():
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))


def steps(net: torch.nn.Module, count: int = 8, rate: float = 0.02) -> list[float]:
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        value = loss(net, ids())
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def base_weights(net: torch.nn.Module) -> dict[str, Tensor]:
    state = {name.replace(".base.", "."): tensor for name, tensor in net.state_dict().items()}
    return {name: tensor.clone() for name, tensor in state.items() if ".lora_" not in name}


def test_it_begins_at_the_model_and_only_branches_learn():
    net = model()
    before, logits = base_weights(net), net(ids()).detach()
    add_adapter(net, LoraConfig("all", rank=4))
    assert torch.equal(net(ids()), logits)
    assert set(trained_tensors(net)) == {
        f"{path}.lora_{letter}.default" for path in layers_named(net) for letter in "AB"
    }
    assert 0 < trainable_share(net) < 0.25
    losses = steps(net)
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in base_weights(net).items())
    with adapters_off(net):
        assert torch.equal(net(ids()), logits)
    assert not torch.equal(net(ids()), logits)


def test_a_starts_as_a_linear_layer_does_and_a_seed_means_the_same():
    nets = [model(), model(), model()]
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        add_adapter(net, LoraConfig("down_proj", rank=16), seed=seed)
    first, same, other = (next(iter(lora_layers(net).values())).lora_A["default"] for net in nets)
    assert torch.equal(first, same) and not torch.equal(first, other)
    bound = 1 / 48**0.5  # kaiming_uniform with a = sqrt(5): uniform within ±1/sqrt(inputs)
    assert 0.98 * bound < first.abs().max() <= bound
    assert abs(first.std().item() / (bound / 3**0.5) - 1) < 0.1


def test_dropout_acts_in_training_only_and_the_mode_is_kept():
    net = model().eval()
    add_adapter(net, LoraConfig("all", dropout=0.5))
    draw(net)
    assert torch.equal(net(ids()), net(ids()))
    net.train()
    assert not torch.equal(net(ids()), net(ids()))


def test_branches_of_a_half_precision_model_are_in_float32():
    net = model().bfloat16()
    add_adapter(net, LoraConfig("q_proj"))
    layer = next(iter(lora_layers(net).values()))
    assert layer.lora_A["default"].dtype == torch.float32
    assert net(ids()).dtype == layer.weight.dtype == torch.bfloat16
    merge(net)
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("capacity", [0.0, 8.0])
def test_all_ways_through_experts_see_the_adapter(capacity):
    """Grouped products read `expert.up_proj.weight` and never call the layer."""
    net = model(**EXPERTS, expert_capacity=capacity).train()
    plain = net(ids()).detach()
    assert len(add_adapter(net, LoraConfig("mlp.experts.1.up_proj,down_proj"))) == 2 * (4 + 1)
    draw(net)
    logits = net(ids())
    assert (logits - plain).abs().max() > 0.01
    logits.square().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.requires_grad]
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    experts = net.model.layers[0].mlp.experts
    visits = Visits.of(torch.randint(4, (6, 2), generator=torch.Generator().manual_seed(3)), 4)
    x = torch.randn(12, 32, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(at_once(experts, x, visits), in_turn(experts, x, visits))
    if capacity:
        net.zero_grad()
        net.eval()(ids()).square().sum().backward()  # room for all: the same numbers
        for mine, other in zip(gradients, (p.grad for p in net.parameters() if p.requires_grad),
                               strict=True):  # fmt: skip
            torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)


def test_where_only_the_weight_is_read_dropout_is_refused():
    net = model(**EXPERTS, expert_capacity=8.0).train()
    add_adapter(net, LoraConfig("all", dropout=0.1))
    with pytest.raises(WrongCall, match="dropout 0"):
        net(ids())
    net.eval()(ids())


def test_an_adapted_head_learns_through_the_chunked_loss():
    net = model(tie_word_embeddings=False)
    add_adapter(net, LoraConfig("lm_head,q_proj"))
    draw(net)
    labels = ids().roll(-1, 1)
    found = []
    for chunk in (0, 256):
        net.zero_grad()
        LossModel(net, chunk)(ids(), labels).backward()
        found.append({n: p.grad for n, p in net.named_parameters() if p.requires_grad})
    assert found[0]["lm_head.lora_B.default"].abs().max() > 0
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-4, rtol=1e-4)


def test_computing_blocks_twice_changes_no_gradient():
    found = []
    for again in (False, True):
        net = model()
        quantize_layers(net, "up_proj")
        add_adapter(net, LoraConfig("all"))
        draw(net)
        if again:
            recompute_blocks(net)
        loss(net, ids()).backward()
        found.append({n: p.grad for n, p in net.named_parameters() if p.requires_grad})
    assert all(torch.equal(found[1][name], gradient) for name, gradient in found[0].items())
    assert all(gradient.abs().max() > 0 for gradient in found[0].values())


def test_it_compiles_as_one_graph_and_works_under_autocast():
    net = model(num_hidden_layers=1)
    quantize_layers(net, "up_proj")
    add_adapter(net, LoraConfig("q_proj,up_proj"))
    draw(net)
    logits = net(ids())
    once = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(once(ids()), logits)
    loss(once, ids()).backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters() if p.requires_grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(ids())
    assert rough.dtype == torch.bfloat16
    assert 0 < (rough.float() - logits).abs().mean() < 0.05 * logits.std()  # 8 bits, some ten sums
    rough.float().square().sum().backward()


def test_names_are_checked():
    net = model()
    with pytest.raises(WrongCall, match="did you mean 'q_proj'"):
        add_adapter(net, LoraConfig("q_porj"))
    with pytest.raises(WrongCall, match="shares its weight"):
        add_adapter(net, LoraConfig("lm_head"))
    assert all(p.requires_grad for p in net.parameters())
    with pytest.raises(WrongCall, match="none of the projections"):
        add_adapter(torch.nn.Sequential(torch.nn.Linear(2, 2)), LoraConfig("all"))
    for name in ("", "a.b", "values"):
        with pytest.raises(WrongCall, match="cannot name"):
            add_adapter(net, LoraConfig(), name)
    add_adapter(net, LoraConfig(), "one")
    with pytest.raises(WrongCall, match="already"):
        add_adapter(net, LoraConfig(), "one")
    with pytest.raises(WrongCall, match="unknown adapter 'two'"):
        use_adapters(net, "two")
    with pytest.raises(WrongCall, match="rank"):
        LoraConfig(rank=0)
    with pytest.raises(WrongCall, match="dropout"):
        LoraConfig(dropout=1.0)


def test_a_second_adapter_learns_alone():
    net = model()
    add_adapter(net, LoraConfig("q_proj"), "one")
    add_adapter(net, LoraConfig("q_proj,v_proj"), "two")
    assert {name.rsplit(".", 1)[-1] for name in trained_tensors(net)} == {"two"}
    assert not any(isinstance(m.base, LoraLinear) for m in lora_layers(net).values())
    use_adapters(net, "one")
    assert {name.rsplit(".", 1)[-1] for name in trained_tensors(net)} == {"one"}
    use_adapters(net, "one", "one")  # once is enough
    assert {layer.active for layer in lora_layers(net).values()} == {("one",), ()}
    use_adapters(net)
    assert not trained_tensors(net)


def test_a_broken_adapter_is_not_merged():
    net = model()
    with pytest.raises(WrongCall, match="no adapter"):
        merge(net)
    add_adapter(net, LoraConfig("v_proj"))
    lora_layers(net)["model.layers.1.self_attn.v_proj"].lora_B["default"].data[0, 0] = float("nan")
    with pytest.raises(WrongCall, match=r"layers\.1.*not be finite"):
        merge(net)
    assert len(lora_layers(net)) == 2


def test_a_merged_model_is_saved_like_any_other(tmp_path):
    net = model()
    add_adapter(net, LoraConfig("all"))
    draw(net)
    learns = [p for p in net.parameters() if p.requires_grad]
    with merged(net):
        save_model_folder(tmp_path / "between", net)
        logits = net(ids())
    assert torch.equal(load_model_folder(tmp_path / "between")[0](ids()), logits)
    after = [p for p in net.parameters() if p.requires_grad]
    assert all(a is b for a, b in zip(learns, after, strict=True))  # the optimizer's own
    merge(net)
    save_model_folder(tmp_path / "merged", net)
    assert torch.equal(load_model_folder(tmp_path / "merged")[0](ids()), logits)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    net = model()
    add_adapter(net, LoraConfig("q_proj,down_proj"), "mine")
    draw(net)
    with pytest.raises(WrongCall, match="did you mean 'mine'"):
        save_adapter(tmp_path / "a", net, "mime")
    save_adapter(tmp_path / "a", net, "mine")
    save_adapter(tmp_path / "a", net, "mine")  # over an older one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(WrongCall, match="not an adapter"):
        save_adapter(tmp_path, net, "mine")
    for other, what in ((model(hidden_size=64), "belongs"), (model(num_hidden_layers=1), "layers")):
        with pytest.raises(MinimindError, match=what):
            load_adapter(tmp_path / "a", other)
        assert not lora_layers(other) and all(p.requires_grad for p in other.parameters())
    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(MinimindError, match="damaged"):
        load_adapter(tmp_path / "a", model())
    weights.unlink()
    with pytest.raises(MinimindError, match="missing"):
        load_adapter(tmp_path / "a", model())
    gpt = Transformer(preset("gpt2-124m", **SIZES, num_hidden_layers=1, num_attention_heads=4))
    add_adapter(gpt, LoraConfig("q_proj"))
    with pytest.raises(WrongCall, match="Merge"):
        save_adapter(tmp_path / "gpt", gpt)


def test_an_adapter_comes_back_to_the_bit(tmp_path):
    net, again = model(), model()
    add_adapter(net, LoraConfig("all", rank=3, alpha=7, rslora=True))
    draw(net)
    save_adapter(tmp_path / "a", net)
    load_adapter(tmp_path / "a", again)
    assert torch.equal(again(ids()), net(ids()))
    assert set(trained_tensors(again)) == set(trained_tensors(net))


def test_a_quantized_layer_computes_with_its_rounded_weight():
    net = model(family="gpt2", num_key_value_heads=4)
    layer = net.model.layers[0].mlp.up_proj
    layer.bias.data.normal_(generator=torch.Generator().manual_seed(1))
    packed = QuantizedLinear(layer)
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    rounding = (packed.weight - layer.weight).abs().max() / layer.weight.abs().max()
    assert 0.01 < rounding < 0.16  # half of the widest gap between levels, 0.304
    y = packed(x)
    torch.testing.assert_close(y, F.linear(x, packed.weight, layer.bias))
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    expected = torch.autograd.grad(F.linear(x, packed.weight, layer.bias).square().sum(), x)
    torch.testing.assert_close(gradient, expected[0])


def test_a_graph_holds_no_unpacked_weight():
    layer = QuantizedLinear(torch.nn.Linear(32, 48))
    kept: list[tuple[int, ...]] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    x = torch.randn(3, 32, requires_grad=True)
    for net in (layer, torch.nn.Linear(32, 48)):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            net(x)
        held = any(torch.Size(shape).numel() == 32 * 48 for shape in kept)
        assert held == isinstance(net, torch.nn.Linear)


def test_a_cast_of_the_model_does_not_round_the_scales():
    layer = QuantizedLinear(torch.nn.Linear(64, 64))
    before = layer.unpacked(torch.float32)
    assert torch.equal(layer.bfloat16().unpacked(torch.float32), before)
    assert layer(torch.ones(1, 64).bfloat16()).dtype == torch.bfloat16
    state = QuantizedLinear(torch.nn.Linear(64, 64))
    state.load_state_dict(layer.state_dict())
    assert torch.equal(state.unpacked(torch.float32), before)


def test_qlora_learns_and_merges(tmp_path):
    net = model()
    names = quantize_layers(net)
    assert len(names) == 2 * 7
    add_adapter(net, LoraConfig("all", rank=4))
    packed = {n: b.clone() for n, b in net.named_buffers()}
    losses = steps(net)
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(buffer, packed[n]) for n, buffer in net.named_buffers())
    save_adapter(tmp_path / "adapter", net)
    logits = net(ids()).detach()
    merge(net)
    torch.testing.assert_close(net(ids()), logits, atol=1e-5, rtol=1e-5)
    save_model_folder(tmp_path / "merged", net)
    again = model()
    quantize_layers(again)
    load_adapter(tmp_path / "adapter", again)
    assert torch.equal(again(ids()), logits)
    other = model()
    quantize_layers(other, "down_proj")
    logits = other(ids())
    assert unquantize_layers(other) == quantize_layers(model(), "down_proj")
    torch.testing.assert_close(other(ids()), logits, atol=1e-6, rtol=0)
    assert other.state_dict().keys() == model().state_dict().keys()


def test_what_cannot_be_quantized_is_refused():
    net = model()
    net.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("inf")
    with pytest.raises(WrongCall, match=r"layers\.1\.mlp\.up_proj"):
        quantize_layers(net)
    assert not any(isinstance(m, QuantizedLinear) for m in net.modules())
    add_adapter(net, LoraConfig("q_proj"))
    with pytest.raises(WrongCall, match="before adding adapters"):
        quantize_layers(net, "q_proj")
