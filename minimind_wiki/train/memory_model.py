"""What training needs in memory and sends over the network, from the shape alone.

Three things fill a card: the *states* (weight, gradient, optimizer), which only sharding makes
smaller; the *activations* kept for backward, which grow with the tokens in a forward pass; and what
is gathered for a moment. Formulas after ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054, sections
3, 5 and 7), Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053) and Korthikanti et al. 2022
(arXiv:2205.05198); `tests/parity/test_distributed.py` holds them against two processes.

| kind | weights | gradients | optimizer |
|---|---|---|---|
| none, ddp | 1 | 1 | 1 |
| zero1 | 1 | 1 | 1/n |
| zero2 | 1 | 1/n | 1/n |
| zero3, fsdp | 1/n | 1/n | 1/n |
| tensor | 1/n in blocks | 1/n in blocks | 1/n in blocks |
"""

from __future__ import annotations

from dataclasses import dataclass

from minimind_wiki.errors import WrongCall, unknown
from minimind_wiki.model import ModelConfig

PIECES = {  # which of weights, gradients, optimizer state lie in n pieces
    "none": (False, False, False),
    "ddp": (False, False, False),
    "zero1": (False, False, True),
    "zero2": (False, True, True),
    "zero3": (True, True, True),
    "fsdp": (True, True, True),
}


@dataclass(frozen=True, slots=True)
class Formats:
    """Bytes for each parameter. The default is ours: float32 weights, autocast, AdamW."""

    weights: float = 4
    gradients: float = 4
    optimizer: float = 8  # AdamW's two averages


HALF = Formats(2, 2, 12)
"""ZeRO's own count: 16-bit weights and gradients; the optimizer keeps float32 weights as well."""


def state_bytes(
    parameters: float, kind: str, size: int, formats: Formats = Formats(), in_blocks: float = 0
) -> float:
    """Bytes of weights, gradients and optimizer state in each of `size` processes.

    `in_blocks`: how many of the parameters lie in the matrices that `tensor` cuts (`split_count`).

    ZeRO's figure 1, 7.5 billion parameters on 64 cards, in gigabytes:

    >>> [round(state_bytes(7.5e9, kind, 64, HALF) / 1e9, 1)
    ...  for kind in ("ddp", "zero1", "zero2", "zero3")]
    [120.0, 31.4, 16.6, 1.9]
    """
    parts = (formats.weights, formats.gradients, formats.optimizer)
    if kind == "tensor":
        return sum(parts) * (parameters - in_blocks + in_blocks / size)
    if kind not in PIECES:
        raise unknown("kind of parallel training", kind, [*PIECES, "tensor"])
    dealt = PIECES[kind]
    return parameters * sum(b / size if cut else b for b, cut in zip(parts, dealt, strict=True))


def split_count(config: ModelConfig) -> int:
    """Parameters in the matrices of the blocks, which tensor parallel cuts (dense Llama layout).

    >>> from minimind_wiki.model import preset
    >>> split_count(preset("26m"))     # of 25,829,888; the rest are 6400 x 512 and the norms
    22544384
    """
    hidden, inner, shared, wide = _widths(config)
    block = 2 * hidden * inner + 2 * hidden * shared + 3 * hidden * wide
    return config.num_hidden_layers * block


def ring_bytes(collective: str, payload: float, size: int) -> float:
    """Bytes that each process sends when `payload` bytes go round a ring of `size`.

    In a ring every process passes a piece of 1/n to its neighbour, n - 1 times for a reduce-scatter
    or an all-gather, and for both of them in an all-reduce (Patarasuk & Yuan 2009). However many
    join, none sends more than twice the payload:

    >>> [ring_bytes("all_reduce", 100, n) for n in (1, 2, 4, 100)]
    [0.0, 100.0, 150.0, 198.0]
    """
    rounds = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
    if collective not in rounds:
        raise unknown("collective", collective, rounds)
    return rounds[collective] * payload * (size - 1) / size


def payloads(
    parameters: float, kind: str, formats: Formats = Formats(), kept: float = 0, passes: int = 1
) -> dict[str, float]:
    """What a step of data parallel hands to each collective, in bytes.

    `kept`: parameters of the unit that zero3 and fsdp gather once and keep until backward (the
    embedding and the head); all others are gathered twice. `passes`: micro-batches in the step.
    Gradients are sent after the last of them only, but pieces of weights are gathered in each.

    >>> {kind: sum(ring_bytes(name, b, 64) for name, b in payloads(1e9, kind, HALF).items()) / 1e9
    ...  for kind in ("ddp", "zero1", "zero3")}
    {'ddp': 3.9375, 'zero1': 3.9375, 'zero3': 5.90625}
    """
    weights, gradients = parameters * formats.weights, parameters * formats.gradients
    if kind == "none":
        return {}
    if kind == "ddp":
        return {"all_reduce": gradients}
    if kind not in PIECES:
        raise unknown("kind of data parallel", kind, PIECES)
    gathered = weights
    if PIECES[kind][0]:
        gathered = passes * (2 * weights - kept * formats.weights)
    return {"reduce_scatter": gradients, "all_gather": gathered}


def tensor_payload(config: ModelConfig, tokens: int, width: float = 4, passes: int = 1) -> float:
    """Bytes that tensor parallel hands to all-reduce in a step of `tokens`.

    In each block two sums forward and two backward, each of tokens x hidden numbers of `width`
    bytes (Megatron-LM, section 3); with q/k-norm also the gradients of its two gains, in float32,
    in each of the `passes`.
    It grows with the batch and not with the model's matrices, the opposite of data parallel.

    >>> from minimind_wiki.model import preset
    >>> f"{tensor_payload(preset('26m'), tokens=32 * 512) / 2**20:.0f} MiB"
    '1024 MiB'
    """
    gains = passes * 2 * config.head_dim * 4 if config.qk_norm else 0
    return config.num_hidden_layers * (4 * tokens * config.hidden_size * width + gains)


def activation_bytes(config: ModelConfig, tokens: int, width: float = 4, split: int = 1) -> float:
    """Bytes kept from forward to backward for `tokens` of one forward pass, dense Llama layout.

    For each token a block keeps, in numbers of `width` bytes: twice (norm's input, quotient,
    output); q, k, v as they meet; attention's result twice (by head, and joined); four inner
    widths. The attention kernel keeps one number a head and never the scores, so this is linear
    in the length. Beyond the blocks: the last norm, and log-softmax over the vocabulary. `split`
    processes of tensor parallel share all but the stream and the vocabulary.

    >>> from minimind_wiki.model import preset
    >>> f"{activation_bytes(preset('26m'), tokens=32 * 512) / 2**30:.1f} GiB"
    '5.6 GiB'
    """
    hidden, inner, shared, wide = _widths(config)
    heads, shared_heads = config.num_attention_heads, config.num_key_value_heads
    inside = 3 * inner + 2 * shared + 4 * wide + heads
    if config.qk_norm:
        inside += 2 * (inner + shared) + heads + shared_heads
    block = 6 * hidden + 2 + inside / split
    return tokens * width * (config.num_hidden_layers * block + 3 * hidden + 1 + config.vocab_size)


def _widths(config: ModelConfig) -> tuple[int, int, int, int]:
    """Hidden width, all query heads, all key heads, inner width; WrongCall for other layouts."""
    if config.family != "llama" or config.num_experts:
        raise WrongCall("the memory model counts dense Llama and Qwen3 layouts only.")
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    return (config.hidden_size, heads * config.head_dim, shared * config.head_dim,
            config.intermediate_size)  # fmt: skip
