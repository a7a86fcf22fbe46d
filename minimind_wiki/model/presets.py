"""Named shapes. `preset("tiny", vocab_size=300)` takes one and changes fields by keyword.

MiniMind's own (github.com/jingyaogong/minimind) keep its exact parameter counts; `tests/unit/
test_model_presets.py` counts each. nano, tiny and mini read bytes and are for a CPU.
"""

# ruff: noqa: C408
from __future__ import annotations

from typing import Any

from minimind_wiki.errors import unknown
from minimind_wiki.model.config import ModelConfig, config_fields

_CPU = dict(  # 256 bytes and three marks; see `minimind_wiki.tokenizer`
    vocab_size=259, max_position_embeddings=1024, rope_theta=1e4, rms_norm_eps=1e-5,
    pad_token_id=256, bos_token_id=257, eos_token_id=258,
)  # fmt: skip
_MINIMIND2 = dict(num_attention_heads=8, num_key_value_heads=2, rms_norm_eps=1e-5)
_MINIMIND3 = dict(
    hidden_size=768, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
    intermediate_size=2432, qk_norm=True, rms_norm_eps=1e-6,
)  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "nano": _CPU | dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, intermediate_size=192),
    "tiny": _CPU | dict(hidden_size=192, num_hidden_layers=4, num_attention_heads=6,
                        num_key_value_heads=3, intermediate_size=512),
    "mini": _CPU | dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=8,
                        num_key_value_heads=4, intermediate_size=768),
    "26m": _MINIMIND2 | dict(hidden_size=512, num_hidden_layers=8, intermediate_size=1408),
    "104m": _MINIMIND2 | dict(hidden_size=768, num_hidden_layers=16, intermediate_size=2048),
    "moe-145m": _MINIMIND2 | dict(hidden_size=640, num_hidden_layers=8, intermediate_size=1728,
                                  num_experts=4, num_experts_per_tok=2, num_shared_experts=1,
                                  norm_topk_prob=True),
    "64m": _MINIMIND3,
    "moe-198m": _MINIMIND3 | dict(num_experts=4, num_experts_per_tok=1,
                                  router_aux_loss_coef=0.004),  # 5e-4 for each of 8 layers
    "gpt2-124m": dict(family="gpt2", vocab_size=50257, hidden_size=768, num_hidden_layers=12,
                      num_attention_heads=12, intermediate_size=3072, rms_norm_eps=1e-5,
                      max_position_embeddings=1024,
                      bos_token_id=50256, eos_token_id=50256, pad_token_id=50256),
}  # fmt: skip


def preset(name: str, **overrides: Any) -> ModelConfig:
    """The configuration called `name`, with any field replaced by keyword.

    Raises WrongCall, with the nearest names, for an unknown preset or field.

    >>> preset("26m").layout, preset("64m").layout
    ('llama', 'qwen3')
    >>> preset("tiny", vocab_size=300).vocab_size
    300
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    for field in overrides:
        if field not in config_fields():
            raise unknown("model field", field, config_fields())
    return ModelConfig(**(PRESETS[name] | overrides))
