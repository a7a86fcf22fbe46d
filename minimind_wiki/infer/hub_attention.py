"""config.json: rotary scaling and sliding windows, between our flat fields and transformers'."""

from __future__ import annotations

from typing import Any

from minimind_wiki.errors import MinimindError
from minimind_wiki.model import ModelConfig
from minimind_wiki.model.rope_scaling import ntk_theta

OURS = (
    "positions", "attention_sinks", "full_layers", "rope_type", "rope_factor",
    "rope_original_positions", "rope_beta_fast", "rope_beta_slow", "rope_attention_factor",
)  # fmt: skip
"""Fields that transformers writes in another way, or does not have."""
_ROPE_KEYS = {  # those of each rope_type, and our field; transformers' own type is written beside
    "default": {},
    "linear": {"factor": "rope_factor"},
    "dynamic": {"factor": "rope_factor"},
    "yarn": {
        "factor": "rope_factor", "original_max_position_embeddings": "rope_original_positions",
        "beta_fast": "rope_beta_fast", "beta_slow": "rope_beta_slow",
        "attention_factor": "rope_attention_factor",
    },
    "llama3": {
        "factor": "rope_factor", "original_max_position_embeddings": "rope_original_positions",
        "high_freq_factor": "rope_beta_fast", "low_freq_factor": "rope_beta_slow",
    },
}  # fmt: skip
_NEUTRAL = {"truncate": (True, None), "mscale": (None,), "mscale_all_dim": (None,),
            "partial_rotary_factor": (1, None)}  # fmt: skip
_WINDOW_KEYS = {
    "mistral": ("sliding_window",),
    "ministral": ("sliding_window", "layer_types"),
    "mixtral": ("sliding_window",),
    "qwen3": ("use_sliding_window", "sliding_window", "layer_types"),
    "qwen3_moe": ("use_sliding_window", "sliding_window"),
    "qwen2_moe": ("use_sliding_window", "sliding_window", "layer_types"),
}


def rope_to_hub(config: ModelConfig) -> dict[str, Any]:
    """The keys that say how positions turn. "ntk" is written as what it is, a larger rope_theta.

    "dynamic": transformers' max_position_embeddings is the trained length, ours the longest text.
    """
    kind, theta = config.rope_type, config.rope_theta
    if kind == "ntk":
        kind, theta = "default", ntk_theta(theta, config.head_dim, config.rope_factor)
    values = {theirs: getattr(config, ours) for theirs, ours in _ROPE_KEYS[kind].items()}
    hub = {
        "rope_theta": theta,
        "rope_parameters": {"rope_type": kind, "rope_theta": theta} | values,
    }
    if kind == "dynamic":
        hub["max_position_embeddings"] = config.rope_original_positions
    return hub


def rope_from_hub(hub: dict[str, Any]) -> dict[str, Any]:
    """Our fields of the scaling. Raises MinimindError for one that this package does not build."""
    rope = dict(hub.get("rope_parameters") or hub.get("rope_scaling") or {})
    theta = rope.pop("rope_theta", hub.get("rope_theta", 10000.0))
    kind = rope.pop("type", "default")
    kind = rope.pop("rope_type", kind)
    known, room = _ROPE_KEYS.get(kind, {}), hub.get("max_position_embeddings", 2048)
    strange = [key for key in rope if key not in known and rope[key] not in _NEUTRAL.get(key, ())]
    if kind == "default":  # it has no parameters; some of them change the shape nevertheless
        strange = [key for key in strange if key in _NEUTRAL]
    elif rope.get("factor") is None:
        strange.append("no factor")
    if kind not in _ROPE_KEYS or strange:
        raise MinimindError(
            f"config.json asks for rotary scaling {rope | {'rope_type': kind}}, which this package "
            f"does not build ({', '.join(strange) or kind}); it knows {', '.join(_ROPE_KEYS)}."
        )
    ours: dict[str, Any] = {"rope_theta": theta, "rope_type": kind}
    ours |= {known[key]: rope[key] for key in known if rope.get(key) is not None}
    if kind in ("yarn", "llama3"):
        ours.setdefault("rope_original_positions", room)
    if kind == "dynamic":
        ours["rope_original_positions"] = room
        ours["max_position_embeddings"] = int(room * rope["factor"])
    return ours


def window_to_hub(config: ModelConfig) -> dict[str, Any]:
    """The keys of the sliding window that config.json has in this layout."""
    kinds = [
        "sliding_attention" if config.window(layer) else "full_attention"
        for layer in range(config.num_hidden_layers)
    ]
    window = config.sliding_window or None
    values = {"use_sliding_window": bool(window), "sliding_window": window, "layer_types": kinds}
    return {key: values[key] for key in _WINDOW_KEYS.get(config.layout, ())}


def window_from_hub(hub: dict[str, Any], layout: str) -> dict[str, Any]:
    """Our fields of the sliding window, from layer_types or an older way to name the layers."""
    keys, layers = _WINDOW_KEYS.get(layout, ()), hub.get("num_hidden_layers", 0)
    on = hub.get("use_sliding_window") if "use_sliding_window" in keys else bool(keys)
    default = None if layout == "mixtral" else 4096  # transformers' own, where the key is missing
    window = (hub.get("sliding_window", default) or 0) if on else 0
    kinds = hub.get("layer_types") if "layer_types" in keys else None
    if window and kinds is None and layout == "qwen3":
        kinds = ["full_attention"] * min(layers, hub.get("max_window_layers", 28))
    elif window and kinds is None and layout == "qwen2_moe":
        raise MinimindError("config.json has a window, but no layer_types; add one for each layer.")
    full = [str(layer) for layer, kind in enumerate(kinds or ()) if kind == "full_attention"]
    window = 0 if len(full) == layers else window
    return {"sliding_window": window, "full_layers": ",".join(full) if window else ""}
