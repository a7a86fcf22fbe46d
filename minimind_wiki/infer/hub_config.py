"""config.json: between our configuration and that of transformers.

Llama, Qwen3 and Qwen3-MoE use our field names as they are; GPT-2 has its own. Where transformers
has no such model (experts with a shared one) the file says model_type "minimind_moe", and only this
package can read it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.model import ModelConfig

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "gpt2": "GPT2LMHeadModel",
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
    "use_sliding_window": (False, None),
    "scale_attn_by_inverse_layer_idx": (False, None),
    "decoder_sparse_step": (1, None),
    "mlp_only_layers": ([], None),
}


def config_to_hub(config: ModelConfig) -> dict[str, Any]:
    """The content of config.json."""
    hub = dataclasses.asdict(config)
    layout = config.layout
    hub.pop("family")
    if layout == "gpt2":
        for ours, theirs in _GPT2_FIELDS.items():
            hub[theirs] = hub.pop(ours)
        for name in ("num_key_value_heads", "head_dim", "rope_theta", "qk_norm"):
            hub.pop(name)
        hub |= {"activation_function": "gelu_new", "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        hub |= {"resid_pdrop": 0.0}
    else:
        hub["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
        hub |= {"hidden_act": "silu", "attention_bias": False, "attention_dropout": 0.0}
    if config.num_experts:
        hub["moe_intermediate_size"] = config.intermediate_size
        hub |= {"decoder_sparse_step": 1, "mlp_only_layers": []}
    else:
        for name in ("num_experts", "num_experts_per_tok", "num_shared_experts", "norm_topk_prob"):
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
    rope = hub.get("rope_parameters") or hub.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise MinimindError(
            f"config.json asks for rotary scaling {rope}, which this package does not build yet; "
            "remove it to use the model inside its original context."
        )
    if layout != "gpt2":
        source["rope_theta"] = rope.get("rope_theta", hub.get("rope_theta", 10000.0))
    source["family"] = "gpt2" if layout == "gpt2" else "llama"
    source["qk_norm"] = hub.get("qk_norm", layout in ("qwen3", "qwen3_moe"))
    if layout in ("qwen3_moe", "minimind_moe"):
        source["intermediate_size"] = hub["moe_intermediate_size"]
        source.setdefault("num_experts", hub.get("num_local_experts"))  # transformers 5 renames it
    # transformers leaves out what equals its own defaults, which are not always ours
    source.setdefault("tie_word_embeddings", False)
    source.setdefault("rms_norm_eps", 1e-5 if layout == "gpt2" else 1e-6)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = source.get(name)
        value = value[0] if isinstance(value, list) else value  # several ends: the first
        source[name] = value if isinstance(value, int) and 0 <= value < hub["vocab_size"] else 0
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    return ModelConfig(**{k: v for k, v in source.items() if k in known and v is not None})
