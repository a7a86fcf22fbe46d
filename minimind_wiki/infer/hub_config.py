"""config.json: between our configuration and that of transformers.

Llama, Qwen3 and Qwen3-MoE use our field names as they are; GPT-2 has its own. Where transformers
has no such model (attention sinks, positions of another family, experts with a shared one) the file
says model_type "minimind" or "minimind_moe", and only this package can read it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.infer import hub_moe
from minimind_wiki.infer.hub_attention import (
    OURS,
    rope_from_hub,
    rope_to_hub,
    window_from_hub,
    window_to_hub,
)
from minimind_wiki.model import ModelConfig

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "ministral": "MinistralForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "minimind": "MiniMindForCausalLM",
    "minimind_moe": "MiniMindMoeForCausalLM",
}
_GPT2_FIELDS = {  # ours: transformers'
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "rms_norm_eps": "layer_norm_epsilon",
}
_NEUTRAL = {  # what we do not have, and the values that mean "not there"
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "hidden_act": ("silu", None),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh", None),
    "scale_attn_by_inverse_layer_idx": (False, None),
}


def config_to_hub(config: ModelConfig) -> dict[str, Any]:
    """The content of config.json."""
    hub = dataclasses.asdict(config)
    layout = config.layout
    own = layout.startswith("minimind")
    if not own:
        for name in ("family", "sliding_window", *OURS):
            hub.pop(name)
    if layout == "gpt2":
        for ours, theirs in _GPT2_FIELDS.items():
            hub[theirs] = hub.pop(ours)
        for name in ("num_key_value_heads", "head_dim", "rope_theta", "qk_norm"):
            hub.pop(name)
        hub |= {"activation_function": "gelu_new", "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        hub |= {"resid_pdrop": 0.0}
    elif not own:
        hub |= rope_to_hub(config) | window_to_hub(config)
        hub |= {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0}
    if config.num_experts:
        hub |= hub_moe.experts_to_hub(config)
    else:
        for name in hub_moe.FIELDS:
            hub.pop(name)
    return {"model_type": layout, "architectures": [ARCHITECTURES[layout]]} | hub


def config_from_hub(hub: dict[str, Any]) -> ModelConfig:
    """Our configuration from a config.json of ours or of transformers.

    Raises MinimindError for a model type or an option that this package does not build.
    """
    layout = str(hub.get("model_type"))
    if layout not in ARCHITECTURES:
        raise unknown("model_type in config.json", layout, ARCHITECTURES)
    for name, neutral in _NEUTRAL.items():
        if hub.get(name) not in neutral:
            raise MinimindError(
                f"config.json sets {name} to {hub[name]!r}, which this package does not build; "
                f"only models with {name} = {neutral[0]!r} can be loaded."
            )
    source = dict(hub)
    if layout == "gpt2":
        source |= {ours: hub[theirs] for ours, theirs in _GPT2_FIELDS.items() if theirs in hub}
        source["intermediate_size"] = hub.get("n_inner") or 4 * source["hidden_size"]
        source.setdefault("tie_word_embeddings", True)
    elif not layout.startswith("minimind"):
        source |= rope_from_hub(hub) | window_from_hub(hub, layout)
    source["family"] = "gpt2" if layout == "gpt2" else hub.get("family", "llama")
    source["qk_norm"] = hub.get("qk_norm", layout in ("qwen3", "qwen3_moe"))
    if layout in hub_moe.LAYOUTS:
        source |= hub_moe.experts_from_hub(hub, layout)
    # transformers leaves out what equals its own defaults, which are not always ours
    source.setdefault("tie_word_embeddings", False)
    source.setdefault("rms_norm_eps", 1e-5 if layout == "gpt2" else 1e-6)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = source.get(name)
        value = value[0] if isinstance(value, list) else value  # several ends: the first
        source[name] = value if isinstance(value, int) and 0 <= value < hub["vocab_size"] else 0
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    return ModelConfig(**{k: v for k, v in source.items() if k in known and v is not None})
