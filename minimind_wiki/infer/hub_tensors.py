"""model.safetensors: between our tensor names and those of transformers.

Llama, Qwen3 and Qwen3-MoE use our names as they are; for other experts see `hub_moe.py`. GPT-2 has
other names, stores its matrices transposed, and q, k and v as one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind_wiki.infer.hub_moe import expert_tensors_from_hub, expert_tensors_to_hub
from minimind_wiki.model import ModelConfig

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


def tensors_to_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The tensors of model.safetensors. A tied head is left out: transformers ties it again."""
    state = {k: v.detach() for k, v in state.items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    if config.family != "gpt2":
        state = expert_tensors_to_hub(state, config)
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
    hub = expert_tensors_from_hub(hub, config)
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
