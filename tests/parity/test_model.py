"""Our models are transformers' models: same logits, gradients and rotary positions."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from transformers.models.llama import modeling_llama

from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_from_hub, tensors_to_hub
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model.attention import causal_attention
from minimind_wiki.model.rope import apply_rope, rope_tables

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "vocab_size": 259,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,  # large, so that attention is far from uniform and norms matter
    "rms_norm_eps": 1e-3,
}
LAYOUTS: dict[str, ModelConfig] = {
    "llama": preset("26m", **SMALL),
    "llama untied": preset("26m", **SMALL, tie_word_embeddings=False),
    "qwen3": preset("64m", **SMALL, num_key_value_heads=2),
    "qwen3 untied, wide heads": preset("64m", **SMALL, tie_word_embeddings=False, head_dim=20),
    "qwen3_moe top-1": preset("moe-198m", **SMALL),
    "qwen3_moe top-2": preset("moe-198m", **SMALL, num_experts_per_tok=2, norm_topk_prob=True),
    "gpt2": preset(
        "gpt2-124m", **SMALL | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    ),
}


def randomize(model: torch.nn.Module) -> None:
    """Gains and biases away from one and zero: a forgotten one must show."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))


def pair(config: ModelConfig) -> tuple[Transformer, torch.nn.Module]:
    """Our model and transformers' with the same weights, in memory."""
    ours = Transformer(config, seed=3)
    randomize(ours)
    hub = config_to_hub(config)
    auto = transformers.AutoConfig.for_model(**hub)
    theirs = transformers.AutoModelForCausalLM.from_config(auto, attn_implementation="eager")
    missing, extra = theirs.load_state_dict(tensors_to_hub(ours.state_dict(), config), strict=False)
    assert not extra and set(missing) <= {"lm_head.weight"}
    theirs.tie_weights()
    return ours, theirs.eval()


def token_ids() -> torch.Tensor:
    return torch.randint(0, 259, (2, 33), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [n for n in LAYOUTS if "moe" not in n])  # those: test_folder.py
def test_logits_and_gradients_are_transformers(name):
    ours, theirs = pair(LAYOUTS[name])
    ids = token_ids()
    a, b = ours(ids), theirs(ids).logits
    assert a.std() > 0.1  # a model that says nothing would agree with anything
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    for logits in (a, b):
        torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        ).backward()
    theirs_grad = {n: p.grad for n, p in theirs.named_parameters()}
    config = LAYOUTS[name]
    ours_grad = tensors_to_hub({n: p.grad for n, p in ours.named_parameters()}, config)
    assert ours_grad.keys() == theirs_grad.keys()
    for n, gradient in ours_grad.items():
        torch.testing.assert_close(gradient, theirs_grad[n], atol=2e-5, rtol=1e-3, msg=n)


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_configuration_come_back(name):
    config = LAYOUTS[name]
    assert config_from_hub(config_to_hub(config)) == config
    state = Transformer(config).state_dict()
    back = tensors_from_hub(tensors_to_hub(state, config), config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[k], state[k]) for k in state)


@pytest.mark.parametrize("theta", [1e4, 1e6])
def test_rotary_positions_are_llamas(theta):
    config = transformers.LlamaConfig(
        hidden_size=96, num_attention_heads=4, max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )  # fmt: skip
    x = torch.randn(2, 4, 2000, 24, generator=torch.Generator().manual_seed(0))
    cos, sin = modeling_llama.LlamaRotaryEmbedding(config)(x, torch.arange(2000)[None])
    theirs, _ = modeling_llama.apply_rotary_pos_emb(x, x, cos, sin)
    ours = apply_rope(x, *rope_tables(2000, 24, theta))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_attention_is_torchs_multihead_attention():
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 9, 8, generator=draw) for _ in range(3))
    module = torch.nn.MultiheadAttention(32, 4, bias=False, batch_first=True)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.eye(32).repeat(3, 1))
        module.out_proj.weight.copy_(torch.eye(32))
    flat = [t.transpose(1, 2).flatten(2) for t in (q, k, v)]
    mask = torch.nn.Transformer.generate_square_subsequent_mask(9)
    theirs, _ = module(*flat, attn_mask=mask, is_causal=True)
    ours = causal_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
