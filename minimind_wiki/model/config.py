"""The configuration of a decoder, with the names that transformers uses.

One frozen dataclass describes every model of the book. A value that cannot work raises at once,
with the field and the fix. Shapes that follow from others are filled in (`head_dim`) or derived
(`layout`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model import checks
from minimind_wiki.model.moe_checks import check_experts, layout_of_experts

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
    "sliding_window": 0,
    "attention_sinks": 0,
    "rope_theta": 1,
    "rope_original_positions": 0,
    "num_experts": 0,
    "num_experts_per_tok": 1,
    "num_shared_experts": 0,
    "decoder_sparse_step": 1,
    "dense_intermediate_size": 0,
    "expert_capacity": 0,
    "router_aux_loss_coef": 0,
    "router_z_loss_coef": 0,
    "router_bias_rate": 0,
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
    sliding_window: int = 0
    """Tokens that a query sees, itself included; 0: all before it."""
    attention_sinks: int = 0
    """First tokens of a document that stay visible beside the window."""
    full_layers: str = ""
    """Layers without the window, such as 0,1 (numbered from 0)."""
    positions: str = ""
    """rotary, learned, sinusoidal, alibi or none; empty: rotary, for gpt2 learned."""
    rope_theta: float = 1e6
    """Base of the rotary wavelengths; larger means longer waves."""
    rope_type: str = "default"
    """How rotary waves are stretched: default (not), linear, ntk, dynamic, yarn or llama3."""
    rope_factor: float = 1.0
    """How many times longer than in training texts may be."""
    rope_original_positions: int = 0
    """Trained length (dynamic, yarn, llama3); 0: max_position_embeddings / rope_factor."""
    rope_beta_fast: float = 0.0
    """Waves with more turns in the trained length stay as they are; 0: yarn 32, llama3 4."""
    rope_beta_slow: float = 0.0
    """Waves with fewer turns in the trained length are slowed in full; 0: 1."""
    rope_attention_factor: float = 0.0
    """yarn's factor on queries and keys; 0: 0.1 ln(rope_factor) + 1."""
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
    shared_expert_gate: bool = False
    """Scale what the shared experts say by a learned sigmoid of the token (Qwen2-MoE)."""
    norm_topk_prob: bool = False
    """Make the chosen weights sum to one; for top-1 that cuts the router's gradient."""
    decoder_sparse_step: int = 1
    """Every how many layers the feed-forward has experts; the layers between are dense."""
    mlp_only_layers: str = ""
    """Layers without experts besides, such as 0,1 (numbered from 0)."""
    dense_intermediate_size: int = 0
    """Inner width of the layers without experts; 0: that of one expert."""
    expert_capacity: float = 0.0
    """Most visits an expert takes in training, in even shares; more are dropped (0: no limit)."""
    router_aux_loss_coef: float = 0.001
    """Weight of the loss that asks for an even load (Switch)."""
    router_z_loss_coef: float = 0.0
    """Weight of the loss that keeps the router's scores small (ST-MoE)."""
    router_bias_rate: float = 0.0
    """Step of the bias that evens the load without a loss (DeepSeek-V3: 0.001); 0: no bias."""
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
        for name, value in checks.derived(self).items():
            object.__setattr__(self, name, value)
        self.validate()

    @property
    def layout(self) -> str:
        """transformers' model_type for these shapes; "minimind" or "minimind_moe": it has none."""
        native = "learned" if self.family == "gpt2" else "rotary"
        window = self.sliding_window and self.family == "gpt2"
        if self.attention_sinks or self.positions != native or window:
            return "minimind_moe" if self.num_experts else "minimind"
        if self.family == "gpt2":
            return "gpt2"
        if self.num_experts:
            layout = layout_of_experts(self)
            everywhere = layout in ("qwen3_moe", "mixtral")  # there no layer goes without a window
            return "minimind_moe" if self.full_layers and everywhere else layout
        if self.sliding_window and not self.qk_norm:
            return "ministral" if self.full_layers else "mistral"
        return "qwen3" if self.qk_norm else "llama"

    def window(self, layer: int) -> int:
        """Tokens that a query of this layer (from 0) sees; 0: all before it."""
        return 0 if layer in checks.layer_numbers(self.full_layers) else self.sliding_window

    def has_experts(self, layer: int) -> bool:
        """Whether the feed-forward of this layer (from 0) has experts, as transformers decides."""
        every = (layer + 1) % self.decoder_sparse_step == 0
        dense = layer in checks.layer_numbers(self.mlp_only_layers)
        return self.num_experts > 0 and every and not dense

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
        checks.check_positions(self)
        checks.check_window(self)
        if not 0 < self.rms_norm_eps < 1:
            raise WrongCall(f"rms_norm_eps is {self.rms_norm_eps}; give a small one such as 1e-6.")
        check_experts(self)
        if self.family == "gpt2" and (self.qk_norm or self.num_experts or shared != heads):
            raise WrongCall(
                "family 'gpt2' has neither q/k-norm, experts nor shared key heads; leave qk_norm, "
                "num_experts and num_key_value_heads out, or use family 'llama'."
            )
        checks.check_tokens(self)


def config_fields() -> tuple[str, ...]:
    """The names of all fields of `ModelConfig`."""
    return tuple(field.name for field in dataclasses.fields(ModelConfig))
