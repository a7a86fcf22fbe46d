"""Experts in config.json and model.safetensors, between our names and transformers'.

| layout | what it has | its own names |
|---|---|---|
| qwen3_moe | q/k-norm, routed experts, dense layers between | ours |
| qwen2_moe | one wide shared expert behind a sigmoid, dense layers between | shared_expert |
| mixtral | routed experts in every layer, weights that sum to one | block_sparse_moe, w1 w2 w3 |
| minimind_moe | everything else that this package builds; only it can read it | ours |

Several shared experts are one wide one: F(x) + G(x) = Wf f(x) + Wg g(x), the product of
Wf and Wg side by side with f(x) above g(x).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError
from minimind_wiki.model import ModelConfig
from minimind_wiki.model.checks import layer_numbers

LAYOUTS = ("qwen3_moe", "qwen2_moe", "mixtral", "minimind_moe")
FIELDS = (
    "num_experts", "num_experts_per_tok", "num_shared_experts", "shared_expert_gate",
    "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers", "dense_intermediate_size",
    "expert_capacity", "router_aux_loss_coef", "router_z_loss_coef", "router_bias_rate",
)  # fmt: skip
"""Fields that say nothing in a dense model."""
_MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_PARTS = (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1))  # and the axis of an expert's width
_SHARED = re.compile(r"(.*\.mlp)\.shared_expert(?:s\.\d+)?\.(\w+)\.weight$")


def experts_to_hub(config: ModelConfig) -> dict[str, Any]:
    """The keys that differ from our fields."""
    width, layout = config.intermediate_size, config.layout
    if layout == "mixtral":
        return {"num_local_experts": config.num_experts}
    hub: dict[str, Any] = {
        "intermediate_size": config.dense_intermediate_size or width,
        "moe_intermediate_size": width,
        "mlp_only_layers": list(layer_numbers(config.mlp_only_layers)),
    }
    if layout == "qwen2_moe":
        hub |= {"shared_expert_intermediate_size": config.num_shared_experts * width}
        hub |= {"qkv_bias": False}
    return hub


def experts_from_hub(hub: dict[str, Any], layout: str) -> dict[str, Any]:
    """Our fields. Raises MinimindError for a variant that this package does not build."""
    number = hub["num_experts"] if "num_experts" in hub else hub["num_local_experts"]
    if layout == "mixtral":
        return {"num_experts": number, "norm_topk_prob": True}
    width, dense = hub["moe_intermediate_size"], hub.get("mlp_only_layers") or []
    hybrid = bool(dense) or hub.get("decoder_sparse_step", 1) > 1
    other = hybrid and hub["intermediate_size"] != width
    ours = {
        "num_experts": number,
        "intermediate_size": width,
        "dense_intermediate_size": hub["intermediate_size"] if other else 0,
        "mlp_only_layers": ",".join(str(layer) for layer in dense),
    }
    if layout == "qwen2_moe":
        if hub.get("qkv_bias", True):  # absent means yes: Qwen's own checkpoints have biases
            raise _not_built("qkv_bias", True, "false")
        shared = hub["shared_expert_intermediate_size"]
        if shared % width:
            raise _not_built("shared_expert_intermediate_size", shared, f"a multiple of {width}")
        ours |= {"num_shared_experts": shared // width, "shared_expert_gate": True}
    return ours


def _not_built(name: str, value: Any, instead: str) -> MinimindError:
    return MinimindError(
        f"config.json sets {name} to {value}, which this package does not build with experts; only "
        f"models with {name} = {instead} can be loaded."
    )


def expert_tensors_to_hub(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The tensors under transformers' names."""
    if config.layout == "mixtral":
        return {_mixtral_name(name, back=False): tensor for name, tensor in state.items()}
    if config.layout != "qwen2_moe":
        return state
    hub: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if found := _SHARED.match(name):  # the experts stand in their order
            wide, axis = f"{found[1]}.shared_expert.{found[2]}.weight", dict(_PARTS)[found[2]]
            hub[wide] = torch.cat([hub[wide], tensor], axis) if wide in hub else tensor
        else:
            hub[name] = tensor
    return hub


def expert_tensors_from_hub(hub: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The inverse of `expert_tensors_to_hub`."""
    if config.layout == "mixtral":
        return {_mixtral_name(name, back=True): tensor for name, tensor in hub.items()}
    if config.layout != "qwen2_moe":
        return hub
    state: dict[str, Tensor] = {}
    for name, tensor in hub.items():
        if found := _SHARED.match(name):
            parts = tensor.chunk(config.num_shared_experts, dict(_PARTS)[found[2]])
            for number, part in enumerate(parts):
                state[f"{found[1]}.shared_experts.{number}.{found[2]}.weight"] = part.contiguous()
        else:
            state[name] = tensor
    return state


def _mixtral_name(name: str, back: bool) -> str:
    if ".mlp." not in name and ".block_sparse_moe." not in name:
        return name
    pairs = [(".mlp.", ".block_sparse_moe."), *_MIXTRAL.items()]
    for ours, theirs in pairs:
        old, new = (theirs, ours) if back else (ours, theirs)
        name = name.replace(old, new)
    return name
