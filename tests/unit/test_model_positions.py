"""Each kind of position against its formula, and what a model knows of order with it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.infer.hub_config import config_from_hub, config_to_hub
from minimind_wiki.model import ModelConfig, Transformer
from minimind_wiki.model.checks import POSITIONS
from minimind_wiki.model.positions import alibi_bias, alibi_slopes, sinusoidal
from minimind_wiki.model.rope import rope_frequencies
from minimind_wiki.model.rope_scaling import RotaryTables, scaled_frequencies

SIZES = {
    "vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3,
    "num_key_value_heads": 1, "intermediate_size": 40, "max_position_embeddings": 64,
    "rope_theta": 100.0, "initializer_range": 0.4,
}  # fmt: skip


def config(**fields) -> ModelConfig:
    return ModelConfig(**SIZES | fields)


def test_sinusoidal_is_the_papers_formula():
    table = sinusoidal(torch.arange(50), 6)
    for place in (0, 1, 49):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert table[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    rows = torch.tensor([[3, 0], [0, 7]])
    assert torch.equal(sinusoidal(rows, 6), table[rows])  # any shape of places


def test_alibi_falls_with_the_distance_at_each_heads_own_slope():
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]  # the paper's example
    slopes = alibi_slopes(6)
    assert slopes.tolist() == [2.0**-n for n in (2, 4, 6, 8, 1, 3)]
    bias_HTS = alibi_bias(6, 2, 5)  # queries at places 3 and 4
    for head, row, key in ((0, 0, 0), (5, 1, 2), (3, 1, 4)):
        assert bias_HTS[head, row, key] == -slopes[head] * (3 + row - key)


@torch.no_grad()
@pytest.mark.parametrize("positions", POSITIONS)
def test_the_order_of_the_past_matters_unless_there_are_no_positions(positions):
    """One layer, the last token's view of a past in another order: only "none" cannot tell."""
    model = Transformer(config(positions=positions), seed=1)
    ids = torch.arange(10, 22)[None]
    shuffled = torch.cat((ids[:, [4, 2, 0, 9, 8, 1, 3, 5, 10, 6, 7]], ids[:, -1:]), dim=1)
    moved = (model(ids)[0, -1] - model(shuffled)[0, -1]).abs().max()
    assert moved < 1e-4 if positions == "none" else moved > 1e-2


def test_only_learned_positions_have_weights():
    names = {p: set(Transformer(config(positions=p)).state_dict()) for p in POSITIONS}
    more = names["learned"] - names["none"]
    assert more == {"model.embed_positions.weight"}
    assert all(names[p] == names["none"] for p in POSITIONS if p != "learned")


STRETCHED = {
    "linear": {"rope_factor": 4.0},
    "ntk": {"rope_factor": 4.0},
    "dynamic": {"rope_factor": 4.0},
    "yarn": {"rope_factor": 4.0, "rope_beta_fast": 3.0},
    "llama3": {"rope_factor": 4.0, "rope_beta_fast": 2.0},
}


@pytest.mark.parametrize("kind", STRETCHED)
def test_scaling_slows_the_longest_wave_by_the_factor(kind):
    """And leaves the shortest as it is, all but "linear"; at length 16 · 4 dynamic is like ntk."""
    ours = config(rope_type=kind, **STRETCHED[kind])
    frequency_D, factor = scaled_frequencies(ours, length=64)
    slower_D = rope_frequencies(16, 100.0) / frequency_D
    longest = 4.0 * 64 / 16 - 3 if kind == "dynamic" else 4.0
    assert slower_D[-1].item() == pytest.approx(longest, rel=1e-5)
    assert slower_D[0].item() == pytest.approx(4.0 if kind == "linear" else 1.0, rel=1e-5)
    assert (slower_D.diff() > -1e-5).all()  # the longer a wave, the more it slows
    assert factor == (pytest.approx(0.1 * math.log(4) + 1) if kind == "yarn" else 1.0)


def test_dynamic_scaling_leaves_texts_of_the_trained_length_alone():
    tables = RotaryTables(config(rope_type="dynamic", rope_factor=4.0))
    plain = RotaryTables(config())
    for length in (1, 16):
        assert torch.equal(tables(0, length)[0], plain(0, length)[0])
    cos, _ = tables(3, 17)  # a cache of 3: all positions come back, turned anew
    assert cos.shape == (17, 8) and not torch.allclose(cos, plain(0, 17)[0])


def test_values_left_open_are_filled_in():
    yarn = config(rope_type="yarn", rope_factor=4.0)
    assert (yarn.rope_original_positions, yarn.rope_beta_fast, yarn.rope_beta_slow) == (16, 32, 1)
    assert config(rope_type="llama3", rope_factor=2.0).rope_beta_fast == 4
    assert [config(family=f, num_key_value_heads=3).positions for f in ("llama", "gpt2")] == [
        "rotary", "learned"
    ]  # fmt: skip


BAD = [
    ({"positions": "rotery"}, "unknown positions 'rotery'; did you mean 'rotary'"),
    ({"rope_type": "yarm"}, "unknown rope_type 'yarm'; did you mean 'yarn'"),
    ({"positions": "sinusoidal", "hidden_size": 45, "head_dim": 4}, "hidden_size 45 is odd"),
    ({"head_dim": 7}, "head_dim 7 is odd"),
    ({"positions": "alibi", "rope_type": "linear"}, "positions is 'alibi'; leave one of them out"),
    ({"rope_type": "linear", "rope_factor": 0.5}, "rope_factor is 0.5; give new length"),
    ({"rope_type": "yarn", "rope_factor": math.nan}, "rope_factor is nan"),
    ({"rope_type": "ntk", "rope_factor": 2.0, "head_dim": 2}, "head_dim of at least 4"),
    ({"rope_type": "yarn", "rope_beta_slow": 40.0}, "more turns for fast than for slow"),
    ({"rope_type": "yarn", "rope_theta": 1.0}, "rope_theta above 1"),
    ({"rope_type": "dynamic", "rope_factor": 3.0}, "set max_position_embeddings to 63"),
    ({"rope_type": "yarn", "rope_original_positions": -1}, "rope_original_positions is -1"),
]


@pytest.mark.parametrize("fields, message", BAD)
def test_positions_that_cannot_be(fields, message):
    with pytest.raises(WrongCall, match=message):
        config(**fields)


def test_without_rotary_positions_a_head_may_be_odd():
    model = Transformer(config(positions="alibi", head_dim=7))
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 99)


OWN = [
    *({"positions": p} for p in POSITIONS if p != "rotary"),
    {"family": "gpt2", "num_key_value_heads": 3, "positions": "rotary"},
    {"family": "gpt2", "num_key_value_heads": 3, "positions": "none", "sliding_window": 4},
    {"sliding_window": 4, "attention_sinks": 2, "qk_norm": True, "rope_type": "ntk"},
]


@pytest.mark.parametrize("fields", OWN)
def test_what_transformers_has_not_is_written_as_our_own(fields, tmp_path):
    model = Transformer(config(**fields), seed=2).eval()
    assert model.config.layout == "minimind"
    hub = config_to_hub(model.config)
    assert (hub["model_type"], hub["architectures"]) == ("minimind", ["MiniMindForCausalLM"])
    save_model_folder(tmp_path / "model", model)
    back, _ = load_model_folder(tmp_path / "model")
    assert back.config == model.config
    ids = torch.arange(12)[None]
    assert torch.equal(back(ids), model(ids))


def test_static_ntk_is_written_as_a_larger_theta():
    ours = config(rope_type="ntk", rope_factor=4.0)
    back = config_from_hub(config_to_hub(ours))
    assert (back.rope_type, back.rope_theta) == ("default", pytest.approx(100 * 4 ** (16 / 14)))
    torch.testing.assert_close(scaled_frequencies(back)[0], scaled_frequencies(ours)[0])
    assert dataclasses.replace(back, rope_type="ntk", rope_factor=4.0, rope_theta=100.0) == ours


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0]},
        {"rope_type": "yarn", "factor": 2.0, "truncate": False},
        {"rope_type": "yarn", "factor": 2.0, "mscale": 0.7},
        {"rope_type": "linear"},
        {"rope_type": "default", "partial_rotary_factor": 0.5},
    ],
)
def test_scaling_that_we_do_not_build_is_refused(rope):
    with pytest.raises(MinimindError, match="asks for rotary scaling"):
        config_from_hub(config_to_hub(config()) | {"rope_parameters": rope})
