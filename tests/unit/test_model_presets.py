"""The presets have the parameter counts that are published for them."""

from __future__ import annotations

import pytest
import torch

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import PRESETS, Transformer, preset

COUNTS = {  # parameters, active parameters
    "nano": (115_200, 115_200),
    "tiny": (1_673_472, 1_673_472),
    "mini": (4_788_224, 4_788_224),
    "26m": (25_829_888, 25_829_888),
    "64m": (63_912_192, 63_912_192),
    "104m": (104_030_976, 104_030_976),
    "moe-198m": (198_416_640, 63_936_768),
    "moe-145m": (145_029_760, 91_945_600),
    "gpt2-124m": (124_439_808, 124_439_808),
}
LAYOUTS = {
    "26m": "llama",
    "64m": "qwen3",
    "104m": "llama",
    "moe-198m": "qwen3_moe",
    "moe-145m": "minimind_moe",
    "gpt2-124m": "gpt2",
}


def test_every_preset_is_counted():
    assert COUNTS.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    with torch.device("meta"):  # shapes without memory
        model = Transformer(preset(name))
    assert (model.num_parameters(), model.active_parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    assert preset(name).layout == LAYOUTS[name]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_at_small_width(name):
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    config = preset(name, hidden_size=32, num_hidden_layers=2, intermediate_size=48, **heads)
    model = Transformer(config)
    logits = model(torch.randint(0, 250, (2, 9)))
    assert logits.shape == (2, 9, config.vocab_size)
    logits.logsumexp(-1).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


def test_fields_are_overridable():
    config = preset("tiny", vocab_size=512, qk_norm=True)
    assert (config.vocab_size, config.layout, config.hidden_size) == (512, "qwen3", 192)
    assert preset("tiny", hidden_size=96).head_dim == 16


def test_unknown_names_say_the_nearest():
    with pytest.raises(WrongCall, match=r"unknown preset 'tinny'; did you mean 'tiny'"):
        preset("tinny")
    with pytest.raises(
        WrongCall, match=r"unknown model field 'hidden'; did you mean 'hidden_size'"
    ):
        preset("tiny", hidden=64)
