"""GGUF: one file with weights, settings and tokenizer, for llama.cpp, Ollama and LM Studio.

What llama.cpp wants, as its own converter writes it (conversion/llama.py, qwen.py and base.py in
github.com/ggml-org/llama.cpp):

- its names for tensors, and the experts of a layer as one tensor;
- for the architecture `llama` the rows of the query and key matrices in another order: there the
  rotary pair of coordinate i is i + 1, here and in transformers it is i + D/2. `qwen3` and
  `qwen3moe` turn as we do;
- norms and the router in float32; matrices in the type that is asked for.

| type | what it keeps of 32 weights in a row |
|---|---|
| f32, f16 | each |
| q8_0 | one float16 scale and 32 bytes (8.5 bits a weight) |
| q4_0 | one float16 scale and 32 half bytes (4.5); embedding and head stay q8_0 |

Shapes: H heads, D head_dim, I inputs.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minimind_wiki.errors import MinimindError, unknown
from minimind_wiki.infer.export.gguf_vocab import vocabulary
from minimind_wiki.infer.export.place import whole_file
from minimind_wiki.infer.hub_attention import rope_to_hub
from minimind_wiki.model import ModelConfig, Transformer

ARCHITECTURES = {"llama": "llama", "qwen3": "qwen3", "qwen3_moe": "qwen3moe"}
"""transformers' name of a layout, and llama.cpp's."""
TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}
"""llama.cpp's number for a file of mostly this type (llama_ftype)."""
_PLACES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
}
_EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(\w+)\.weight$")
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)$")


def check_gguf(config: ModelConfig, kind: str = "f16") -> None:
    """Raise MinimindError, with the reason, if llama.cpp would not compute this model."""
    if kind not in TYPES:
        raise unknown("type", kind, TYPES)
    reasons, layers = [], range(config.num_hidden_layers)
    if config.layout not in ARCHITECTURES:
        reasons.append(f"it has no model of the layout {config.layout!r}")
    if config.sliding_window:
        reasons.append("its models of this layout have no sliding window")
    if config.rope_type not in ("default", "ntk", "linear"):
        reasons.append(f"rotary scaling {config.rope_type!r} is not exported")
    if config.num_experts and not config.norm_topk_prob:
        reasons.append(
            "it makes the weights of the chosen experts sum to one, and this model was trained "
            "with norm_topk_prob = false"
        )
    if config.num_experts and not all(config.has_experts(layer) for layer in layers):
        reasons.append("it wants experts in every layer")
    if reasons:
        raise MinimindError(
            f"llama.cpp cannot run this model: {'; '.join(reasons)}. Export with --to onnx or --to "
            "hf, or serve it with 'minimind serve'."
        )


def to_pairs(weight_EI: Tensor, heads: int) -> Tensor:
    """Rows from our rotary order (i beside i + D/2) to llama.cpp's (i beside i + 1), (H · D, I).

    >>> to_pairs(torch.tensor([[0], [1], [2], [3]]), heads=1).flatten().tolist()
    [0, 2, 1, 3]
    """
    return weight_EI.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def gguf_tensors(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """llama.cpp's tensors: names, and float32 values in its order. A tied head is left out."""
    config = model.config
    state = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    stacks: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        if found := _EXPERT.match(name):
            stacks.setdefault(f"{found[1]}.{found[3]}.weight", []).append(tensor)
            continue
        if config.layout == "llama" and name.endswith("q_proj.weight"):
            tensor = to_pairs(tensor, config.num_attention_heads)
        if config.layout == "llama" and name.endswith("k_proj.weight"):
            tensor = to_pairs(tensor, config.num_key_value_heads)
        yield gguf_name(name), tensor
    for name, tensors in stacks.items():
        yield gguf_name(name), torch.stack(tensors)


def gguf_name(name: str) -> str:
    """llama.cpp's name of one of our tensors.

    >>> gguf_name("model.layers.3.self_attn.o_proj.weight")
    'blk.3.attn_output.weight'
    """
    stem, _, kind = name.rpartition(".")
    if found := _LAYER.match(stem):
        return f"blk.{found[1]}.{_PLACES[found[2]]}.{kind}"
    return f"{_PLACES[stem]}.{kind}"


def stored_type(name: str, shape: tuple[int, ...], kind: str) -> str:
    """How a tensor of this name and shape is stored in a file of type `kind`.

    A row that is no multiple of a block (32) cannot be cut into blocks and stays float16. The
    embedding, which may be the head as well, is the last to be rounded: q8_0 in a q4_0 file, as
    llama.cpp's own quantizer gives it more bits than the rest.

    >>> stored_type("blk.0.ffn_up.weight", (512, 192), "q4_0")
    'q4_0'
    >>> stored_type("output_norm.weight", (192,), "q4_0")
    'f32'
    """
    if len(shape) < 2 or "ffn_gate_inp" in name:
        return "f32"
    if kind.startswith("q") and shape[-1] % 32:
        return "f16"
    outer = name in ("token_embd.weight", "output.weight")
    return "q8_0" if kind == "q4_0" and outer else kind


def settings(config: ModelConfig) -> dict[str, int | float]:
    """The numbers of a model under llama.cpp's keys, without the architecture's name in front."""
    values: dict[str, int | float] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(rope_to_hub(config)["rope_theta"]),
    }
    if config.num_experts:
        values["expert_count"] = config.num_experts
        values["expert_used_count"] = config.num_experts_per_tok
        values["expert_feed_forward_length"] = config.intermediate_size
    return values


def export_gguf(
    model: Transformer, tokenizer: Any, out: str | Path, kind: str = "f16", name: str = "minimind"
) -> Path:
    """Write `out` for llama.cpp; `tokenizer` needs save(folder). Return the path.

    Raises MinimindError if llama.cpp would compute something else than this model, or make other
    ids of a text than this tokenizer.
    """
    import gguf

    config = model.config
    check_gguf(config, kind)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        words = vocabulary((Path(folder) / "tokenizer.json").read_text("utf-8"), config.vocab_size)
        about = json.loads((Path(folder) / "tokenizer_config.json").read_text("utf-8"))
    with whole_file(out) as fresh:
        writer = gguf.GGUFWriter(fresh, ARCHITECTURES[config.layout])
        writer.add_name(name)
        writer.add_file_type(TYPES[kind])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, value in settings(config).items():
            if isinstance(value, float):
                writer.add_float32(f"{writer.arch}.{key}", value)
            else:
                writer.add_uint32(f"{writer.arch}.{key}", value)
        if config.rope_type == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(config.rope_factor)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(words.pre)
        writer.add_token_list(words.tokens)
        writer.add_token_types(words.types)
        writer.add_token_merges(words.merges)
        writer.add_bos_token_id(tokenizer.bos_id)
        writer.add_eos_token_id(tokenizer.eos_id)
        writer.add_pad_token_id(tokenizer.pad_id)
        writer.add_add_bos_token(bool(about.get("add_bos_token", False)))
        if isinstance(about.get("chat_template"), str):
            writer.add_chat_template(about["chat_template"])
        for place, tensor in gguf_tensors(model):
            stored = stored_type(place, tuple(tensor.shape), kind)
            as_type = gguf.GGMLQuantizationType[stored.upper()]
            blocks = gguf.quants.quantize(np.ascontiguousarray(tensor.numpy()), as_type)
            writer.add_tensor(place, blocks, raw_dtype=as_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return Path(out)
