"""Windows are those of Mistral, Ministral and Qwen3, ALiBi is Bloom's, sines are DistilBERT's."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from test_folder import SIZES, assert_same_model, load_quietly
from test_model import SMALL, randomize
from transformers.masking_utils import sliding_window_causal_mask_function
from transformers.models.bloom import modeling_bloom
from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings

from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model.attention import causal_attention, fused_causal_attention
from minimind_wiki.model.masks import causal_mask
from minimind_wiki.model.positions import alibi_bias, alibi_slopes, sinusoidal

OURS = {
    "mistral": preset("26m", **SMALL, sliding_window=7),
    "ministral": preset("26m", **SMALL, sliding_window=5, full_layers="1"),
    "qwen3": preset("64m", **SMALL, num_key_value_heads=2, sliding_window=6),
    "qwen3 with full layers": preset("64m", **SMALL, sliding_window=6, full_layers="0,1"),
    "qwen3_moe": preset("moe-198m", **SMALL, sliding_window=6),
    "mixtral": preset(
        "26m", **SMALL, sliding_window=6, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True
    ),
    "qwen2_moe": preset(
        "26m",
        **SMALL,
        sliding_window=6,
        full_layers="2",
        num_experts=4,
        num_shared_experts=1,
        shared_expert_gate=True,
    ),
}
THEIRS = {
    "mistral": (transformers.MistralConfig, SIZES | {"sliding_window": 7}),
    "mistral without window": (transformers.MistralConfig, SIZES | {"sliding_window": None}),
    "ministral": (transformers.MinistralConfig, SIZES | {
        "head_dim": 12, "sliding_window": 5, "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }),
    "qwen3": (transformers.Qwen3Config, SIZES | {
        "head_dim": 12, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
    }),
    "qwen3 with its window off": (transformers.Qwen3Config, SIZES | {
        "head_dim": 12, "sliding_window": 4, "max_window_layers": 1,
    }),
    "qwen3_moe": (transformers.Qwen3MoeConfig, SIZES | {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 12,
        "use_sliding_window": True, "sliding_window": 4,
    }),
    "mixtral": (transformers.MixtralConfig, SIZES | {"num_local_experts": 4, "sliding_window": 6}),
    "qwen2_moe": (transformers.Qwen2MoeConfig, SIZES | {
        "num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
        "qkv_bias": False, "use_sliding_window": True, "sliding_window": 5,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_our_folder_with_a_window_opens_in_transformers(name, tmp_path):
    ours = Transformer(OURS[name], seed=3)
    randomize(ours)
    assert ours.config.layout == name.split()[0]
    save_model_folder(tmp_path / "model", ours)
    assert_same_model(ours, load_quietly(tmp_path / "model"))
    assert load_model_folder(tmp_path / "model")[0].config == ours.config


@pytest.mark.parametrize("name", THEIRS)
def test_transformers_folder_with_a_window_opens_here(name, tmp_path):
    kind, values = THEIRS[name]
    torch.manual_seed(7)
    theirs = transformers.AutoModelForCausalLM.from_config(kind(**values)).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "model")
    ours, _ = load_model_folder(tmp_path / "model")
    off = "without" in name or "off" in name
    assert ours.config.sliding_window == (0 if off else values["sliding_window"])
    assert_same_model(ours, theirs)


def test_qwens_older_way_to_name_the_full_layers():
    hub = config_to_hub(OURS["qwen3 with full layers"])
    del hub["layer_types"]
    assert config_from_hub(hub | {"max_window_layers": 2}) == OURS["qwen3 with full layers"]
    assert config_from_hub(hub).sliding_window == 0  # 28 full layers are more than there are


@pytest.mark.parametrize("window", [1, 4, 20])
def test_the_window_is_transformers(window):
    may = sliding_window_causal_mask_function(window)
    place = torch.arange(12)
    theirs = may(0, 0, place[:, None], place)
    assert torch.equal(causal_mask(12, 12, window=window), theirs.expand(12, 12))


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 20, 25, 32])
def test_slopes_are_blooms(heads):
    theirs = modeling_bloom._get_alibi_slopes(heads, torch.device("cpu"))
    torch.testing.assert_close(alibi_slopes(heads), theirs, atol=0, rtol=1e-6)


@pytest.mark.parametrize("attend", [causal_attention, fused_causal_attention])
def test_alibi_attention_is_blooms(attend):
    """Bloom adds slope · key position, which differs from ours by a constant in each row."""
    config = transformers.BloomConfig(hidden_size=24, n_head=3, num_hidden_layers=1)
    torch.manual_seed(0)
    bloom = modeling_bloom.BloomAttention(config, layer_idx=0).eval()
    x = torch.randn(2, 9, 24)
    mask = causal_mask(9, 9)
    bias = torch.zeros(9, 9).masked_fill(~mask, torch.finfo(torch.float32).min)
    alibi = modeling_bloom.build_alibi_tensor(torch.ones(2, 9), 3, torch.float32)
    with torch.no_grad():
        theirs = bloom(x, torch.zeros_like(x), alibi, bias.expand(2, 1, 9, 9))[0]
        joined = bloom.query_key_value(x).view(2, 9, 3, 3, 8)  # B, T, heads, (q, k, v), D
        q, k, v = (joined[:, :, :, part].transpose(1, 2) for part in range(3))
        ours = attend(q, k, v, alibi_bias(3, 9, 9).masked_fill(~mask, float("-inf")))
        ours = bloom.dense(ours.transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_sines_are_distilberts():
    theirs = torch.empty(40, 12)
    create_sinusoidal_embeddings(40, 12, theirs)
    torch.testing.assert_close(sinusoidal(torch.arange(40), 12), theirs, atol=1e-5, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's kernel needs CUDA")
@pytest.mark.parametrize("fields", [
    {"sliding_window": 200, "attention_sinks": 4}, {"positions": "alibi"}, {}
])  # fmt: skip
def test_the_compiled_flex_kernel_is_the_formula(fields):
    config = ModelConfig(
        vocab_size=99, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=96, max_position_embeddings=512, **fields,
    )  # fmt: skip
    model = Transformer(config).cuda()
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 99, (2, 400), generator=draw).cuda()
    documents = torch.tensor([[1] * 150 + [2] * 250, [1] * 300 + [2] * 60 + [0] * 40]).cuda()
    found = []
    for backend, run in (("plain", model), ("flex", torch.compile(model))):
        model.model.attention_backend = backend
        model.zero_grad()
        logits = run(ids, documents_BT=documents)
        logits.square().mean().backward()
        found.append([logits, *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, atol=2e-4, rtol=2e-3)
