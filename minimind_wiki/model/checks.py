"""What a configuration leaves open about positions, and what it may not say of them, of windows
and of special tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minimind_wiki.errors import WrongCall, unknown

if TYPE_CHECKING:
    from minimind_wiki.model.config import ModelConfig

POSITIONS = ("rotary", "learned", "sinusoidal", "alibi", "none")
ROPE_TYPES = ("default", "linear", "ntk", "dynamic", "yarn", "llama3")
TURNS = {"yarn": (32.0, 1.0), "llama3": (4.0, 1.0)}
"""rope_beta_fast and rope_beta_slow where they are left open, as in transformers."""


def layer_numbers(text: str) -> tuple[int, ...]:
    """The layers that a field such as "0,1" names.

    >>> layer_numbers("0, 5")
    (0, 5)
    """
    return tuple(int(number) for number in text.split(",") if number.strip())


def derived(config: ModelConfig) -> dict[str, Any]:
    """Values for the fields about positions that are 0 or empty, where they have a meaning."""
    kind, factor = config.rope_type, config.rope_factor
    found: dict[str, Any] = {}
    if not config.positions:
        found["positions"] = "learned" if config.family == "gpt2" else "rotary"
    if kind in ("dynamic", *TURNS) and not config.rope_original_positions and factor >= 1:
        found["rope_original_positions"] = int(config.max_position_embeddings / factor)
    for name, turns in zip(("fast", "slow"), TURNS.get(kind, ()), strict=False):
        if not getattr(config, f"rope_beta_{name}"):
            found[f"rope_beta_{name}"] = turns
    if kind == "yarn" and not config.rope_attention_factor and factor >= 1:
        found["rope_attention_factor"] = 0.1 * math.log(factor) + 1.0
    return found


def check_tokens(config: ModelConfig) -> None:
    """Raise WrongCall, naming the field and the fix, for a token outside the vocabulary."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if not 0 <= getattr(config, name) < config.vocab_size:
            raise WrongCall(
                f"{name} {getattr(config, name)} is outside the vocabulary of {config.vocab_size}; "
                f"give {name} or a larger vocab_size."
            )


def check_positions(config: ModelConfig) -> None:
    """Raise WrongCall, naming the field and the fix, if these positions cannot work."""
    kind, factor, trained = config.rope_type, config.rope_factor, config.rope_original_positions
    if config.positions not in POSITIONS:
        raise unknown("positions", config.positions, POSITIONS)
    if kind not in ROPE_TYPES:
        raise unknown("rope_type", kind, ROPE_TYPES)
    if config.positions == "sinusoidal" and config.hidden_size % 2:
        raise WrongCall(
            f"hidden_size {config.hidden_size} is odd, but sinusoidal positions are pairs of sine "
            "and cosine; make it even."
        )
    if config.positions == "rotary" and config.head_dim % 2:
        raise WrongCall(
            f"head_dim {config.head_dim} is odd, but rotary positions turn pairs; make it even "
            "(hidden_size / num_attention_heads)."
        )
    if kind == "default":
        return
    if config.positions != "rotary":
        raise WrongCall(
            f"rope_type '{kind}' stretches rotary positions, but positions is "
            f"'{config.positions}'; leave one of them out."
        )
    if not 1 <= factor < math.inf:
        raise WrongCall(f"rope_factor is {factor}; give new length / trained length, 1 or more.")
    if kind in ("ntk", "dynamic") and config.head_dim < 4:
        raise WrongCall(f"rope_type '{kind}' needs a head_dim of at least 4, not 2.")
    if kind == "yarn" and not (config.rope_theta > 1 and config.rope_attention_factor > 0):
        raise WrongCall("rope_type 'yarn' needs rope_theta above 1, rope_attention_factor above 0.")
    if kind in TURNS and not config.rope_beta_fast > config.rope_beta_slow > 0:
        raise WrongCall(
            f"rope_beta_fast is {config.rope_beta_fast} and rope_beta_slow {config.rope_beta_slow};"
            " give more turns for fast than for slow, both above 0."
        )
    if kind in ("dynamic", *TURNS) and trained < 1:
        raise WrongCall("rope_original_positions is 0; give the length the model was trained on.")
    if kind == "dynamic" and config.max_position_embeddings != int(trained * factor):
        raise WrongCall(
            f"rope_type 'dynamic' stretches {trained} rope_original_positions {factor} times; set "
            f"max_position_embeddings to {int(trained * factor)}."
        )


def check_window(config: ModelConfig) -> None:
    """Raise WrongCall, naming the field and the fix, if this window cannot work."""
    for name in ("attention_sinks", "full_layers"):
        if getattr(config, name) and not config.sliding_window:
            raise WrongCall(f"{name} needs a window beside it; give sliding_window too.")
    try:
        layers = layer_numbers(config.full_layers)
    except ValueError as error:
        raise WrongCall(
            f"full_layers is {config.full_layers!r}; give numbers of layers with commas, as 0,1."
        ) from error
    outside = [layer for layer in layers if not 0 <= layer < config.num_hidden_layers]
    if outside:
        raise WrongCall(
            f"full_layers names layer {outside[0]}, but they go from 0 to "
            f"{config.num_hidden_layers - 1}."
        )
