"""What a configuration may not say of experts, and which of transformers' models they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minimind_wiki.errors import WrongCall
from minimind_wiki.model.checks import layer_numbers

if TYPE_CHECKING:
    from minimind_wiki.model.config import ModelConfig

ONLY_WITH_EXPERTS = (
    "num_shared_experts",
    "mlp_only_layers",
    "dense_intermediate_size",
    "expert_capacity",
    "router_bias_rate",
)
"""Fields that would do nothing in a dense model."""


def layout_of_experts(config: ModelConfig) -> str:
    """transformers' model_type for these experts, "minimind_moe" where it has none."""
    shared = config.num_shared_experts > 0
    if config.router_bias_rate or shared != config.shared_expert_gate:
        return "minimind_moe"
    if config.qk_norm:
        return "minimind_moe" if shared else "qwen3_moe"
    if shared:
        return "qwen2_moe"
    every_layer = all(config.has_experts(i) for i in range(config.num_hidden_layers))
    return "mixtral" if config.norm_topk_prob and every_layer else "minimind_moe"


def check_experts(config: ModelConfig) -> None:
    """Raise WrongCall, naming the field and the fix, if these experts cannot work."""
    if not config.num_experts:
        for name in ONLY_WITH_EXPERTS:
            if getattr(config, name):
                raise WrongCall(f"{name} needs experts; give num_experts, or leave it out.")
        return
    if config.num_experts_per_tok > config.num_experts:
        raise WrongCall(
            f"num_experts_per_tok {config.num_experts_per_tok} is more than num_experts "
            f"{config.num_experts}; lower it."
        )
    if config.shared_expert_gate and not config.num_shared_experts:
        raise WrongCall("shared_expert_gate needs a shared expert; give num_shared_experts.")
    for name in ("expert_capacity", "router_aux_loss_coef", "router_z_loss_coef",
                 "router_bias_rate"):  # fmt: skip
        if getattr(config, name) == math.inf:
            raise WrongCall(f"{name} is infinite; give 0 to leave it out.")
    layers = range(config.num_hidden_layers)
    try:
        named = layer_numbers(config.mlp_only_layers)
        wrong = [str(number) for number in named if number not in layers]
    except ValueError:
        wrong = [config.mlp_only_layers]
    if wrong:
        raise WrongCall(
            f"mlp_only_layers names {wrong[0]}; give numbers from 0 to {len(layers) - 1}, "
            "separated by commas."
        )
    sparse = sum(config.has_experts(number) for number in layers)
    if not sparse:
        raise WrongCall(
            "no layer is left for experts; lower decoder_sparse_step or shorten mlp_only_layers."
        )
    if config.dense_intermediate_size and sparse == len(layers):
        raise WrongCall(
            "dense_intermediate_size is given, but every layer has experts; leave it out or name "
            "the dense layers in mlp_only_layers."
        )
