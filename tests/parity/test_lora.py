"""Our LoRA, IA3, prompts and prefixes are PEFT's: outputs, gradients, merged weights, folders.

Both sides run the same weights in float32. The base models agree to 1e-4 (test_model.py), and so
must these; each test asks first that the part moves the logits by far more.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import copy
import json
import warnings

import peft
import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from test_model import LAYOUTS, pair, token_ids
from torch import nn

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer
from minimind_wiki.train.adapters import ScaledLinear, add_ia3, merge_ia3
from minimind_wiki.train.lora import LoraConfig
from minimind_wiki.train.lora_folder import load_adapter, save_adapter
from minimind_wiki.train.lora_model import add_adapter, lora_layers, merge, unmerge, use_adapters
from minimind_wiki.train.prompts import Prefix, add_prompt, with_prompt
from minimind_wiki.train.quantized import QuantizedLinear

CLOSE = {"atol": 1e-4, "rtol": 0}
LAYERS = ["q_proj", "v_proj", "down_proj"]


def draw(parameters: dict[str, torch.Tensor], seed: int = 9) -> None:
    """Values everywhere: a branch that starts at zero would hide every mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in sorted(parameters.items()):
            tensor.copy_(0.15 * torch.randn(tensor.shape, generator=generator))


def peft_lora(theirs: nn.Module, **more: object) -> nn.Module:
    settings = {"r": 4, "lora_alpha": 6, "target_modules": LAYERS, "task_type": "CAUSAL_LM"} | more
    model = peft.get_peft_model(theirs, peft.LoraConfig(**settings)).eval()
    draw({n: p for n, p in model.named_parameters() if ".lora_" in n})
    return model


def copy_branches(ours: Transformer, theirs: nn.Module, name: str = "default") -> None:
    modules = dict(theirs.base_model.model.named_modules())
    with torch.no_grad():
        for path, layer in lora_layers(ours).items():
            layer.lora_A[name].copy_(modules[path].lora_A[name].weight)
            layer.lora_B[name].copy_(modules[path].lora_B[name].weight)


def loss(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("layout", ["llama", "qwen3"])
def test_outputs_gradients_and_merged_weights_are_peft_s(layout, rslora):
    ours, theirs = pair(LAYOUTS[layout])
    ids = token_ids()
    plain = ours(ids).detach()
    theirs = peft_lora(theirs, use_rslora=rslora)
    found = add_adapter(ours, LoraConfig(",".join(LAYERS), rank=4, alpha=6, rslora=rslora))
    assert len(found) == 3 * len(LAYERS)
    copy_branches(ours, theirs)
    a, b = ours(ids), theirs(ids).logits
    assert (a - plain).abs().max() > 0.1
    torch.testing.assert_close(a, b, **CLOSE)
    loss(a, ids).backward()
    loss(b, ids).backward()
    modules = dict(theirs.base_model.model.named_modules())
    for path, layer in lora_layers(ours).items():
        torch.testing.assert_close(
            layer.lora_A["default"].grad, modules[path].lora_A["default"].weight.grad, **CLOSE
        )
        torch.testing.assert_close(
            layer.lora_B["default"].grad, modules[path].lora_B["default"].weight.grad, **CLOSE
        )
        assert layer.lora_B["default"].grad.abs().max() > 1e-3
        assert layer.base.weight.grad is None
    merge(ours)
    for name, weight in theirs.merge_and_unload().state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, atol=1e-6, rtol=0)


def test_all_means_peft_s_all_linear():
    ours, theirs = pair(LAYOUTS["qwen3 untied, wide heads"])
    theirs = peft_lora(theirs, target_modules="all-linear")
    adapted = {
        name
        for name, module in theirs.base_model.model.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }
    assert set(add_adapter(ours, LoraConfig("all"))) == adapted


def test_several_adapters_add_up_as_in_peft():
    ours, theirs = pair(LAYOUTS["llama"])
    theirs = peft_lora(theirs)
    theirs.add_adapter("more", peft.LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"]))
    draw({n: p for n, p in theirs.named_parameters() if ".more." in n}, seed=2)
    add_adapter(ours, LoraConfig(",".join(LAYERS), rank=4, alpha=6))
    copy_branches(ours, theirs)
    add_adapter(ours, LoraConfig("q_proj", rank=2, alpha=2), "more")
    with torch.no_grad():
        for path, module in theirs.base_model.model.named_modules():
            if path.endswith("q_proj"):
                layer = lora_layers(ours)[path]
                layer.lora_A["more"].copy_(module.lora_A["more"].weight)
                layer.lora_B["more"].copy_(module.lora_B["more"].weight)
    ids, seen = token_ids(), []
    for names in (["default"], ["more"], ["default", "more"], []):
        use_adapters(ours, *names)
        if names:
            theirs.base_model.set_adapter(names)
            expected = theirs(ids).logits
        else:
            with theirs.disable_adapter():
                expected = theirs(ids).logits
        torch.testing.assert_close(ours(ids), expected, **CLOSE)
        assert all((expected - other).abs().max() > 0.05 for other in seen)
        seen.append(expected.detach())


@pytest.mark.parametrize("layout", ["llama", "qwen3 untied, wide heads"])
def test_our_adapter_opens_in_peft(layout, tmp_path):
    ours = Transformer(LAYOUTS[layout], seed=3)
    save_model_folder(tmp_path / "base", ours)
    ids = token_ids()
    plain = ours(ids).detach()
    targets = "all" if layout == "llama" else "q_proj,mlp.down_proj,lm_head"
    add_adapter(ours, LoraConfig(targets, rank=3, alpha=5, rslora=True, dropout=0.1))
    draw({n: p for n, p in ours.named_parameters() if p.requires_grad})
    save_adapter(tmp_path / "adapter", ours, base="base")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as for a tensor that found no place
        base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    logits = theirs.eval()(ids).logits
    assert (logits - plain).abs().max() > 0.1
    torch.testing.assert_close(ours.eval()(ids), logits, **CLOSE)
    merge(ours)
    save_model_folder(tmp_path / "merged", ours)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(merged(ids).logits, logits, **CLOSE)


def test_peft_s_adapter_opens_here(tmp_path):
    ours, theirs = pair(LAYOUTS["qwen3"])
    pattern = r".*layers\.[02]\.self_attn\.(k|o)_proj"
    theirs = peft_lora(theirs, target_modules=pattern, use_rslora=True, lora_dropout=0.2)
    theirs.save_pretrained(tmp_path / "adapter")
    ids = token_ids()
    assert (theirs(ids).logits - ours(ids)).abs().max() > 0.1
    config = load_adapter(tmp_path / "adapter", ours.eval())
    assert (config.rank, config.alpha, config.rslora, config.dropout) == (4, 6, True, 0.2)
    assert len(lora_layers(ours)) == 4
    torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)
    save_adapter(tmp_path / "again", ours)
    again = load_model_folder(save_model_folder(tmp_path / "base", pair(LAYOUTS["qwen3"])[0]))[0]
    load_adapter(tmp_path / "again", again)
    assert torch.equal(again(ids), ours(ids))


@pytest.mark.parametrize(
    "option", [{"use_dora": True}, {"bias": "lora_only"}, {"init_lora_weights": "pissa"},
               {"alpha_pattern": {"q_proj": 3}}, {"modules_to_save": ["lm_head"]}],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_what_peft_adds_and_we_do_not_compute_is_refused(option, tmp_path):
    ours, theirs = pair(LAYOUTS["llama"])
    peft_lora(theirs, **option).save_pretrained(tmp_path)
    with pytest.raises(MinimindError, match=next(iter(option))):
        load_adapter(tmp_path, ours)
    assert not lora_layers(ours)


def test_experts_are_refused_in_peft_s_format_but_merge(tmp_path):
    ours = Transformer(LAYOUTS["qwen3_moe top-1"], seed=3)
    add_adapter(ours, LoraConfig("all"))
    with pytest.raises(WrongCall, match="Merge the adapter"):
        save_adapter(tmp_path / "adapter", ours)
    draw({n: p for n, p in ours.named_parameters() if p.requires_grad})
    ids = token_ids()
    logits = ours(ids).detach()
    merge(ours)
    save_model_folder(tmp_path / "merged", ours)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(merged(ids).logits, logits, **CLOSE)


def test_ia3_is_peft_s():
    ours, theirs = pair(LAYOUTS["qwen3"])
    ids = token_ids()
    plain = ours(ids).detach()
    names = {"target_modules": ["k_proj", "v_proj", "down_proj"]}
    theirs = peft.get_peft_model(
        theirs, peft.IA3Config(**names, feedforward_modules=["down_proj"], task_type="CAUSAL_LM")
    )
    draw({n: p for n, p in theirs.named_parameters() if "ia3_l" in n})
    add_ia3(ours)
    modules = dict(theirs.base_model.model.named_modules())
    pairs = []
    for path, layer in ours.named_modules():
        if isinstance(layer, ScaledLinear):
            factor = modules[path].ia3_l["default"]
            layer.factor.data.copy_(factor.flatten())
            pairs.append((layer.factor, factor))
    assert len(pairs) == 9
    a, b = ours(ids), theirs(ids).logits
    assert (a - plain).abs().max() > 0.1
    torch.testing.assert_close(a, b, **CLOSE)
    loss(a, ids).backward()
    loss(b, ids).backward()
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad.flatten(), **CLOSE)
        assert mine.grad.abs().max() > 1e-4
    merge_ia3(ours)
    torch.testing.assert_close(ours(ids), b, **CLOSE)
    assert ours.state_dict().keys() == pair(LAYOUTS["qwen3"])[0].state_dict().keys()


def test_a_prompt_is_peft_s():
    ours, theirs = pair(LAYOUTS["qwen3"])
    ids, count, words = token_ids(), 5, 259
    plain = ours(ids).detach()
    theirs = peft.get_peft_model(
        theirs, peft.PromptTuningConfig(num_virtual_tokens=count, task_type="CAUSAL_LM")
    )
    embedding = theirs.prompt_encoder["default"].embedding.weight
    draw({"prompt": embedding})
    prompted = add_prompt(ours, count)
    prompted.prompt_PD.data.copy_(embedding)
    labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], 1)
    longer, longer_labels = with_prompt(ids, labels, words, count)
    a, b = ours(longer), theirs(ids, attention_mask=torch.ones_like(ids)).logits
    assert (a[:, count:] - plain).abs().max() > 0.1
    torch.testing.assert_close(a, b, **CLOSE)
    F.cross_entropy(a.flatten(0, 1), longer_labels.flatten()).backward()
    loss(b[:, count:], ids).backward()
    torch.testing.assert_close(prompted.prompt_PD.grad, embedding.grad, **CLOSE)
    assert embedding.grad.abs().max() > 1e-3


def test_a_prefix_is_peft_s():
    ours, theirs = pair(LAYOUTS["qwen3"])
    ids, count = token_ids(), 5
    plain = ours(ids).detach()
    theirs = peft.get_peft_model(
        theirs, peft.PrefixTuningConfig(num_virtual_tokens=count, task_type="CAUSAL_LM")
    )
    embedding = theirs.prompt_encoder["default"].embedding.weight
    draw({"prefix": embedding})
    prefix = Prefix(ours, ids[0, :count])
    layers, heads, _, size = prefix.keys_LKPE.shape

    def split(flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """PEFT's row of a place: layer by layer, its keys and then its values, head by head."""
        both = flat.view(count, layers, 2, heads, size).permute(2, 1, 3, 0, 4)
        return both[0], both[1]

    keys, values = split(embedding.detach())
    prefix.keys_LKPE.data.copy_(keys)
    prefix.values_LKPE.data.copy_(values)
    a, b = prefix(ours, ids), theirs(ids, attention_mask=torch.ones_like(ids)).logits
    assert (a - plain).abs().max() > 0.1
    torch.testing.assert_close(a, b, **CLOSE)
    loss(a, ids).backward()
    loss(b, ids).backward()
    keys, values = split(embedding.grad)
    torch.testing.assert_close(prefix.keys_LKPE.grad, keys, **CLOSE)
    torch.testing.assert_close(prefix.values_LKPE.grad, values, **CLOSE)
    assert keys.abs().max() > 1e-4


def test_unmerge_gives_the_weights_back_to_the_bit():
    ours, _ = pair(LAYOUTS["llama"])
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    add_adapter(ours, LoraConfig("all"))
    draw({n: p for n, p in ours.named_parameters() if p.requires_grad})
    ids = token_ids()
    logits = ours(ids).detach()
    layers = merge(ours)
    assert ours.state_dict().keys() == before.keys()
    torch.testing.assert_close(ours(ids), logits, **CLOSE)
    unmerge(ours, layers)
    assert torch.equal(ours(ids), logits)
    use_adapters(ours)
    merge(ours)  # nothing is active: the base itself
    assert all(torch.equal(ours.state_dict()[name], weight) for name, weight in before.items())


class One(nn.Module):
    """A model of one layer, for PEFT to adapt."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def one_layer(base: nn.Module, mine: nn.Module, dropout: float = 0.0) -> tuple[nn.Module, One]:
    """PEFT's branch beside `base` and ours beside `mine`, with the same numbers."""
    config = peft.LoraConfig(r=3, lora_alpha=4, target_modules=["layer"], lora_dropout=dropout)
    model = One(base)
    model.is_loaded_in_4bit = base.weight.dtype == torch.uint8
    theirs = peft.get_peft_model(model, config)
    draw({n: p for n, p in theirs.named_parameters() if ".lora_" in n})
    ours = One(mine)
    add_adapter(ours, LoraConfig("layer", rank=3, alpha=4, dropout=dropout))
    copy_branches(ours, theirs)
    return theirs, ours


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_formats_and_dropout_are_peft_s_to_the_bit(dtype):
    base = nn.Linear(24, 16).to(dtype)
    theirs, ours = one_layer(base, copy.deepcopy(base), dropout=0.4)
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(3)).to(dtype)
    for mode in (True, False):
        theirs.train(mode)
        ours.train(mode)
        outputs = []
        for net in (theirs, ours):
            torch.manual_seed(7)
            outputs.append(net(x))
        assert outputs[0].dtype == outputs[1].dtype == dtype
        assert torch.equal(outputs[0], outputs[1])
        assert not torch.equal(outputs[0], base(x))


def test_qlora_is_peft_s_on_bitsandbytes():
    bnb = pytest.importorskip("bitsandbytes")
    base = nn.Linear(128, 48)
    packed = bnb.nn.Linear4bit(128, 48, compress_statistics=True, quant_type="nf4")
    packed.load_state_dict(base.state_dict())
    theirs, ours = one_layer(packed.to("cpu"), QuantizedLinear(base))
    assert type(theirs.base_model.model.layer).__name__ == "Linear4bit"
    xs = [torch.randn(5, 128, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    outputs = []
    for net, x in zip((theirs, ours), xs, strict=True):
        outputs.append(net(x.requires_grad_(True)))
        outputs[-1].square().sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(xs[1].grad, xs[0].grad, **CLOSE)
    layer, other = ours.layer, theirs.base_model.model.layer
    for mine, its in ((layer.lora_A, other.lora_A), (layer.lora_B, other.lora_B)):
        torch.testing.assert_close(mine["default"].grad, its["default"].weight.grad, **CLOSE)
        assert mine["default"].grad.abs().max() > 0.1


def test_the_file_is_what_peft_would_write(tmp_path):
    ours, theirs = pair(LAYOUTS["llama"])
    theirs = peft_lora(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    load_adapter(tmp_path / "theirs", ours)
    save_adapter(tmp_path / "ours", ours)
    written = peft.PeftConfig.from_pretrained(tmp_path / "ours")
    expected = peft.PeftConfig.from_pretrained(tmp_path / "theirs")
    for field in ("peft_type", "task_type", "r", "lora_alpha", "use_rslora", "bias"):
        assert getattr(written, field) == getattr(expected, field)
    a, b = (load_file(tmp_path / side / "adapter_model.safetensors") for side in ("ours", "theirs"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert json.loads((tmp_path / "ours" / "adapter_config.json").read_text())["lora_alpha"] == 6
