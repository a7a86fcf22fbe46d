"""Between our configuration and tensor names and those of transformers.

Llama, Qwen3 and Qwen3-MoE use our names as they are. GPT-2 keeps other names, stores its matrices
transposed, and q, k and v as one. Where transformers has no such model (experts with a shared one)
the folder says model_type "minimind_moe" and only we can read it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

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
_GPT2_NAMES = {
    "model.embed_tokens": "transformer.wte",
    "model.embed_positions": "transformer.wpe",
    "model.norm": "transformer.ln_f",
    "model.layers": "transformer.h",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "self_attn.o_proj": "attn.c_proj",
    "mlp.up_proj": "mlp.c_fc",
    "mlp.down_proj": "mlp.c_proj",
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
    source["rope_theta"] = rope.get("rope_theta", hub.get("rope_theta", 10000.0))
    source["family"] = "gpt2" if layout == "gpt2" else "llama"
    source["qk_norm"] = hub.get("qk_norm", layout in ("qwen3", "qwen3_moe"))
    if layout in ("qwen3_moe", "minimind_moe"):
        source["intermediate_size"] = hub["moe_intermediate_size"]
    # transformers leaves out what equals its own defaults, which are not always ours
    source.setdefault("tie_word_embeddings", False)
    source.setdefault("rms_norm_eps", 1e-5 if layout == "gpt2" else 1e-6)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = source.get(name)
        value = value[0] if isinstance(value, list) else value  # several ends: the first
        source[name] = value if isinstance(value, int) and 0 <= value < hub["vocab_size"] else 0
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    return ModelConfig(**{k: v for k, v in source.items() if k in known and v is not None})


def tensors_to_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The tensors of model.safetensors. A tied head is left out: transformers ties it again."""
    state = {k: v.detach() for k, v in state.items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    if config.family != "gpt2":
        return {k: v.contiguous() for k, v in state.items()}
    hub: dict[str, Tensor] = {}
    for layer in range(config.num_hidden_layers):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"model.layers.{layer}.self_attn.{n}_proj.{kind}") for n in "qkv"]
            joined = torch.cat(parts, dim=0)
            hub[f"transformer.h.{layer}.attn.c_attn.{kind}"] = joined
    for name, tensor in state.items():
        for ours, theirs in _GPT2_NAMES.items():
            name = name.replace(ours, theirs)
        hub[name] = tensor
    return {k: (v.T if _is_gpt2_matrix(k) else v).contiguous() for k, v in hub.items()}


def tensors_from_hub(hub: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of `tensors_to_hub`; tables that can be computed are dropped."""
    hub = {k: v for k, v in hub.items() if not k.endswith((".inv_freq", ".attn.masked_bias"))}
    if config.family == "gpt2":
        state: dict[str, Tensor] = {}
        for name, tensor in hub.items():
            if name.endswith(".attn.bias"):  # GPT-2's stored causal mask
                continue
            if not name.startswith(("transformer.", "lm_head")):
                name = "transformer." + name
            tensor = tensor.T.contiguous() if _is_gpt2_matrix(name) else tensor
            for ours, theirs in _GPT2_NAMES.items():
                name = name.replace(theirs, ours)
            if ".attn.c_attn." in name:
                for part, letter in zip(tensor.chunk(3), "qkv", strict=True):
                    state[name.replace("attn.c_attn", f"self_attn.{letter}_proj")] = part
            else:
                state[name] = tensor
        hub = state
    if config.tie_word_embeddings and "model.embed_tokens.weight" in hub:
        hub["lm_head.weight"] = hub["model.embed_tokens.weight"]
    return hub


def _is_gpt2_matrix(name: str) -> bool:
    """Whether GPT-2 stores this tensor as (in, out), the transpose of a Linear's (out, in)."""
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
