"""torch.compile takes each dense model of the package whole: one graph, and the same logits."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention as flex

from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.encoder import EncoderConfig, MaskedLM
from minimind_wiki.model.seq2seq import EncoderDecoder, Seq2SeqConfig

SIZES = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 24,
}  # fmt: skip
DECODERS = {
    "llama": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 1, "qk_norm": True},
    "gpt2": {"family": "gpt2"},
    "window": {"sliding_window": 3},
    "window and sinks, one layer full": {
        "sliding_window": 3, "attention_sinks": 1, "full_layers": "0"
    },
    "learned": {"positions": "learned"},
    "sinusoidal": {"positions": "sinusoidal"},
    "alibi": {"positions": "alibi", "sliding_window": 4},
    "none": {"positions": "none"},
    "yarn": {"rope_type": "yarn", "rope_factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "rope_factor": 4.0},  # 16 trained tokens of 64
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()


def graphs(model: torch.nn.Module, *inputs: object, **named: object) -> int:
    """Graphs that two steps with gradients need; the logits must be the uncompiled model's."""
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, backend=counter)
    for _ in range(2):
        logits = compiled(*inputs, **named)
        logits.square().mean().backward()
    torch.testing.assert_close(logits, model(*inputs, **named), atol=1e-5, rtol=1e-5)
    return counter.frame_count


def ids(time: int = 12) -> torch.Tensor:
    return torch.randint(0, 50, (2, time), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "name, packed",
    [(name, True) for name in DECODERS]
    + [(name, False) for name in ("llama", "gpt2", "window", "alibi", "dynamic")],
)
def test_a_decoder_is_one_graph(name, packed):
    layers = {"num_hidden_layers": 2} if "full_layers" in DECODERS[name] else {}
    model = Transformer(ModelConfig(**SIZES | layers | DECODERS[name], max_position_embeddings=64))
    documents = torch.tensor([[1] * 5 + [2] * 7, [1] * 9 + [0] * 3]) if packed else None
    long = name == "dynamic" and not packed  # beyond the trained length, where tables are made anew
    assert graphs(model, ids(20 if long else 12), documents_BT=documents) == 1


def test_a_decoder_compiled_for_one_length_takes_another():
    model = Transformer(ModelConfig(**SIZES, max_position_embeddings=64))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for time in (12, 20, 1):
        torch.testing.assert_close(compiled(ids(time)), model(ids(time)))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_with_flex_attention_it_is_one_graph_too(monkeypatch):
    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)  # it refuses CPU gradients
    model = Transformer(ModelConfig(**SIZES, max_position_embeddings=64, **DECODERS["alibi"]))
    model.model.attention_backend = "flex"
    documents = torch.tensor([[1] * 5 + [2] * 7, [1] * 9 + [0] * 3])
    assert graphs(model, ids(), documents_BT=documents) == 1


@pytest.mark.parametrize("padded", [False, True])
def test_an_encoder_is_one_graph(padded):
    real = torch.arange(12).expand(2, 12) < torch.tensor([[12], [7]]) if padded else None
    model = MaskedLM(EncoderConfig(**SIZES, max_position_embeddings=16))
    assert graphs(model, ids(), real) == 1


@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
def test_an_encoder_decoder_is_one_graph(kind):
    config = Seq2SeqConfig(**SIZES, num_decoder_layers=1, head_dim=8, feed_forward_proj=kind)
    model = EncoderDecoder(config)
    real = torch.arange(12).expand(2, 12) < torch.tensor([[12], [7]])
    assert graphs(model, ids(), ids(6), real) == 1


def test_a_break_is_counted():
    """The counter itself: reading a number out of a tensor breaks a graph in two."""

    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight.sum().item() + self.weight

    assert graphs(Broken(), torch.ones(3)) > 1
