"""A configuration that cannot work says which field and what to do; hub configs are understood."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.infer.hub_tensors import tensors_from_hub, tensors_to_hub
from minimind_wiki.model import PRESETS, ModelConfig, Transformer, preset

GPT2_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 8,
}

BAD = [
    ({"hidden_size": 100}, "hidden_size 100 is not a multiple of num_attention_heads 8"),
    ({"num_key_value_heads": 3}, r"num_key_value_heads 3 does not divide .* one of \[1, 2, 4, 8\]"),
    ({"head_dim": 7}, "head_dim 7 is odd"),
    ({"num_hidden_layers": 0}, "num_hidden_layers is 0; give a value of at least 1"),
    ({"vocab_size": -1}, "vocab_size is -1"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    ({"rms_norm_eps": 0.0}, "rms_norm_eps is 0.0"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
    ({"rope_theta": 0.5}, "rope_theta is 0.5"),
    ({"num_experts": 2, "num_experts_per_tok": 3}, "num_experts_per_tok 3 is more than"),
    ({"eos_token_id": 6400}, "eos_token_id 6400 is outside the vocabulary of 6400"),
    ({"family": "lama"}, "unknown family 'lama'; did you mean 'llama'"),
    ({"family": "gpt2", "qk_norm": True}, "family 'gpt2' has neither q/k-norm"),
]


@pytest.mark.parametrize("values, message", BAD)
def test_bad_values_name_the_field(values, message):
    with pytest.raises(WrongCall, match=message):
        ModelConfig(**values)


def test_derived_sizes():
    config = ModelConfig(hidden_size=64, num_attention_heads=4)
    assert (config.num_key_value_heads, config.head_dim) == (4, 16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_config_json(name):
    assert config_from_hub(config_to_hub(preset(name))) == preset(name)


def test_older_transformers_folders_are_understood():
    old = {
        "model_type": "llama", "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96,
        "rope_theta": 5000.0, "rope_scaling": None, "eos_token_id": [7, 8], "pad_token_id": None,
    }  # fmt: skip
    config = config_from_hub(old)
    assert (config.rope_theta, config.eos_token_id, config.pad_token_id) == (5000.0, 7, 0)
    assert config.tie_word_embeddings is False  # transformers' default, not ours


def test_the_first_gpt2_folder_is_understood():
    first = {
        "model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "n_ctx": 1024, "n_positions": 1024, "bos_token_id": 50256, "eos_token_id": 50256,
    }  # fmt: skip
    config = config_from_hub(first | {"pad_token_id": 50256})
    changed = {f: getattr(preset("gpt2-124m"), f) for f in ("rope_theta", "scale_residual_init")}
    assert dataclasses.replace(config, **changed) == preset("gpt2-124m")
    state = Transformer(preset("gpt2-124m", **GPT2_SMALL)).state_dict()
    config = preset("gpt2-124m", **GPT2_SMALL)
    hub = tensors_to_hub(state, config)
    hub = {k.removeprefix("transformer."): v for k, v in hub.items()}  # as OpenAI's were stored
    hub |= {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8).tril() for i in range(2)}
    back = tensors_from_hub(hub, config)
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "mamba"}, "unknown model_type in config.json 'mamba'"),
        ({"attention_bias": True}, "sets attention_bias to True"),
        ({"hidden_act": "gelu"}, "sets hidden_act to 'gelu'"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "asks for rotary scaling"),
    ],
)
def test_what_we_do_not_build_is_refused(change, message):
    with pytest.raises(MinimindError, match=message):
        config_from_hub(config_to_hub(preset("nano")) | change)
