"""The configuration of a decoder, with the names that transformers uses.

One frozen dataclass describes every model of the book. A value that cannot work raises at once,
with the field and the fix. Shapes that follow from others are filled in (`head_dim`) or derived
(`layout`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from minimind_wiki.errors import WrongCall, unknown

FAMILIES = ("llama", "gpt2")
FLOORS = {
    "vocab_size": 1,
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 1,
    "intermediate_size": 1,
    "max_position_embeddings": 1,
    "rope_theta": 1,
    "num_experts": 0,
    "num_experts_per_tok": 1,
    "num_shared_experts": 0,
    "initializer_range": 0,
}
"""The smallest value of each number that has one."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that decides the shape of a model. Sizes are counts; 0 means "derive it"."""

    vocab_size: int = 6400
    """Rows of the token embedding."""
    hidden_size: int = 768
    """Width of the residual stream (D)."""
    num_hidden_layers: int = 8
    """Blocks, each attention + feed-forward (L)."""
    num_attention_heads: int = 8
    """Query heads (H)."""
    num_key_value_heads: int = 0
    """Key and value heads (K), shared by groups of query heads; 0: as many as query heads."""
    head_dim: int = 0
    """Width of one head; 0: hidden_size / num_attention_heads."""
    intermediate_size: int = 2048
    """Inner width of the feed-forward (of each expert, where there are experts)."""
    max_position_embeddings: int = 32768
    """Longest sequence the model accepts, in tokens."""
    rope_theta: float = 1e6
    """Base of the rotary wavelengths; larger means longer waves."""
    rms_norm_eps: float = 1e-6
    """eps inside the root of every norm (GPT-2 calls it layer_norm_epsilon)."""
    qk_norm: bool = False
    """RMSNorm over each head's query and key before rotation (Qwen3)."""
    tie_word_embeddings: bool = True
    """Use the token embedding as the output head as well."""
    family: str = "llama"
    """"llama" (RMSNorm, rotary, SwiGLU) or "gpt2" (LayerNorm, learned positions, GELU, biases)."""
    num_experts: int = 0
    """Routed experts in each feed-forward; 0: dense."""
    num_experts_per_tok: int = 1
    """Routed experts that each token visits (top-k)."""
    num_shared_experts: int = 0
    """Experts that every token visits besides."""
    norm_topk_prob: bool = False
    """Make the chosen weights sum to one; for top-1 that cuts the router's gradient."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights."""
    scale_residual_init: bool = True
    """Divide it by sqrt(2 · layers) where a projection writes into the residual stream (GPT-2)."""
    bos_token_id: int = 1
    """Token that opens a text."""
    eos_token_id: int = 2
    """Token that ends a text."""
    pad_token_id: int = 0
    """Token that fills a row."""

    def __post_init__(self) -> None:
        if not self.num_key_value_heads:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        if not self.head_dim and self.num_attention_heads > 0:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
            if self.hidden_size % self.num_attention_heads:
                raise WrongCall(
                    f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                    f"{self.num_attention_heads}; change one of them or give head_dim."
                )
        self.validate()

    @property
    def layout(self) -> str:
        """transformers' model_type for these shapes; "minimind_moe" where it has none."""
        if self.family == "gpt2":
            return "gpt2"
        if self.num_experts:
            plain = self.qk_norm and not self.num_shared_experts
            return "qwen3_moe" if plain else "minimind_moe"
        return "qwen3" if self.qk_norm else "llama"

    def validate(self) -> None:
        """Raise WrongCall, naming the field and the fix, if no model can have these values."""
        if self.family not in FAMILIES:
            raise unknown("family", self.family, FAMILIES)
        for name, floor in FLOORS.items():
            value = getattr(self, name)
            if not value >= floor:
                raise WrongCall(f"{name} is {value}; give a value of at least {floor}.")
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if heads % shared:
            raise WrongCall(
                f"num_key_value_heads {shared} does not divide num_attention_heads {heads}; "
                f"use one of {[k for k in range(1, heads + 1) if heads % k == 0]}."
            )
        if self.family == "llama" and self.head_dim % 2:
            raise WrongCall(
                f"head_dim {self.head_dim} is odd, but rotary positions turn pairs; make it even "
                "(hidden_size / num_attention_heads)."
            )
        if not 0 < self.rms_norm_eps < 1:
            raise WrongCall(f"rms_norm_eps is {self.rms_norm_eps}; give a small one such as 1e-6.")
        if self.num_experts and self.num_experts_per_tok > self.num_experts:
            raise WrongCall(
                f"num_experts_per_tok {self.num_experts_per_tok} is more than num_experts "
                f"{self.num_experts}; lower it."
            )
        if self.family == "gpt2" and (self.qk_norm or self.num_experts or shared != heads):
            raise WrongCall(
                "family 'gpt2' has neither q/k-norm, experts nor shared key heads; leave qk_norm, "
                "num_experts and num_key_value_heads out, or use family 'llama'."
            )
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise WrongCall(
                    f"{name} {getattr(self, name)} is outside the vocabulary of {self.vocab_size}; "
                    f"give {name} or a larger vocab_size."
                )


def config_fields() -> tuple[str, ...]:
    """The names of all fields of `ModelConfig`."""
    return tuple(field.name for field in dataclasses.fields(ModelConfig))
