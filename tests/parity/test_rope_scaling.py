"""Scaled rotary positions are transformers': frequencies, factor, logits, and both ways on disk."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from test_folder import SIZES, load_quietly
from test_model import pair, token_ids
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.rope_scaling import scaled_frequencies

KINDS = {
    "linear": {"factor": 3.0},
    "dynamic": {"factor": 3.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 512},
    "yarn of its own": {
        "factor": 2.0, "original_max_position_embeddings": 100, "attention_factor": 1.3,
        "beta_fast": 6.0, "beta_slow": 0.5,
    },
    "llama3": {
        "factor": 8.0, "original_max_position_embeddings": 600, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    },
}  # fmt: skip


def theirs(name: str, room: int, head_dim: int = 64, theta: float = 1e4) -> dict:
    """A config.json with this scaling, as transformers writes it."""
    rope = {"rope_type": name.split()[0], "rope_theta": theta} | KINDS[name]
    config = transformers.LlamaConfig(
        **SIZES | {"head_dim": head_dim, "max_position_embeddings": room, "rope_parameters": rope}
    )
    return config.to_dict()


@pytest.mark.parametrize("theta", [1e4, 1e6])
@pytest.mark.parametrize("head_dim", [12, 64])
@pytest.mark.parametrize("name", KINDS)
def test_frequencies_are_transformers(name, head_dim, theta):
    hub = theirs(name, 2048, head_dim, theta)
    config = config_from_hub(hub)
    for length in (10, 2048, 5000) if name == "dynamic" else (2048,):
        wanted, factor = ROPE_INIT_FUNCTIONS[name.split()[0]](
            transformers.LlamaConfig(**hub), torch.device("cpu"), seq_len=length
        )
        ours, our_factor = scaled_frequencies(config, length)
        torch.testing.assert_close(ours, wanted, atol=0, rtol=2e-6)
        assert our_factor == pytest.approx(factor, rel=1e-6)


def test_ntk_is_the_dynamic_form_at_its_full_length():
    """Static NTK has no name in transformers: dynamic scaling that has come to the same factor."""
    config = config_from_hub(theirs("dynamic", 2048))
    by_length, _ = scaled_frequencies(config, 4096)  # the factor 3 gives 2 · 3 - 2 there
    fixed = ModelConfig(head_dim=64, rope_theta=1e4, rope_type="ntk", rope_factor=4.0)
    torch.testing.assert_close(scaled_frequencies(fixed)[0], by_length)


@pytest.mark.parametrize("name", KINDS)
def test_the_scaling_is_read_and_written(name):
    hub = theirs(name, 2048)
    config = config_from_hub(hub)
    assert config.max_position_embeddings == (2048 * 3 if name == "dynamic" else 2048)
    written = config_to_hub(config)
    assert written["max_position_embeddings"] == 2048
    assert written["rope_parameters"].items() >= hub["rope_parameters"].items()
    assert config_from_hub(written) == config
    old = {k: v for k, v in hub.items() if k != "rope_parameters"}  # as transformers 4 had it
    scaling = dict(hub["rope_parameters"])
    old |= {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}
    scaling["type"] = scaling.pop("rope_type")
    assert config_from_hub(old) == config


OURS = {
    "linear": {"rope_type": "linear", "rope_factor": 4.0},
    "ntk": {"rope_type": "ntk", "rope_factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "rope_factor": 4.0},  # 16 trained tokens of 33
    "yarn": {"rope_type": "yarn", "rope_factor": 4.0, "rope_beta_fast": 2.0},
    "llama3": {"rope_type": "llama3", "rope_factor": 4.0},
}


def config(name: str) -> ModelConfig:
    sizes = {k: v for k, v in SIZES.items() if not k.endswith("token_id")}
    return ModelConfig(**sizes | OURS[name], head_dim=16, rope_theta=100.0, rms_norm_eps=1e-6)


@pytest.mark.parametrize("name", OURS)
def test_logits_and_gradients_are_transformers(name):
    ours, transformer = pair(config(name))
    a, b = ours(token_ids()), transformer(token_ids()).logits
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    a.square().mean().backward()
    b.square().mean().backward()
    for mine, other in (
        (ours.model.embed_tokens.weight.grad, transformer.model.embed_tokens.weight.grad),
        (ours.model.layers[0].self_attn.q_proj.weight.grad,
         transformer.model.layers[0].self_attn.q_proj.weight.grad),
    ):  # fmt: skip
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-3)
    plain = Transformer(ModelConfig(**{f: getattr(ours.config, f) for f in SIZES} | {
        "head_dim": 16, "rope_theta": 100.0}), seed=None)  # fmt: skip
    plain.load_state_dict(ours.state_dict())
    assert (plain(token_ids()) - a).abs().max() > 0.1  # the scaling says something


@pytest.mark.parametrize("name", OURS)
def test_a_folder_with_scaling_opens_on_both_sides(name, tmp_path):
    ours = Transformer(config(name), seed=3)
    save_model_folder(tmp_path / "model", ours)
    with torch.no_grad():
        b = load_quietly(tmp_path / "model")(token_ids()).logits
        back, _ = load_model_folder(tmp_path / "model")
        torch.testing.assert_close(ours(token_ids()), b, atol=1e-4, rtol=0)
        torch.testing.assert_close(back(token_ids()), ours(token_ids()), atol=1e-6, rtol=0)
