"""Weights that 16 bits hold are read as such, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stirred import GQA, stirred

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import generate, lean, load_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.lay import StepCache
from minimind_wiki.infer.lean import Joined, JoinedHalves, fits_half, flat_decoder, joined
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import Transformer, preset
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.pages import Step

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    "llama": preset("26m", **GQA),
    "qwen3": preset("64m", **GQA, head_dim=12),
    "experts": preset("moe-198m", **GQA),
    "window": preset("26m", **GQA, sliding_window=7),
}
needs_kernel = pytest.mark.skipif(lean.HALVES is None, reason="this torch has no FBGEMM (not x86)")


def stored(name: str, dtype: torch.dtype) -> Transformer:
    """As from a folder in this format."""
    return stirred(CONFIGS[name]).to(dtype).float().eval()


def test_sixteen_bits_hold_what_was_stored_in_sixteen():
    weight_OI = torch.randn(96, 64, generator=torch.Generator().manual_seed(0)) * 0.02
    assert fits_half(weight_OI.half().float())
    assert fits_half(weight_OI.bfloat16().float())
    assert fits_half(torch.zeros(4, 4))
    assert not fits_half(weight_OI)
    assert not fits_half(weight_OI.bfloat16().float() * (1 + 2**-12))


@pytest.mark.parametrize("odd", [7e4, -1e30, float("inf"), float("nan")])
def test_sixteen_bits_do_not_hold_what_is_too_large_or_no_number(odd):
    weight_OI = torch.ones(4, 4)
    weight_OI[1, 2] = odd
    assert not fits_half(weight_OI)


def test_sixteen_bits_do_not_hold_a_matrix_of_tiny_numbers():
    """float16 ends at 6e-8 where bfloat16 goes on: such weights keep their 32 bits."""
    assert not fits_half((torch.randn(64, 64) * 1e-7).bfloat16().float())


@needs_kernel
@pytest.mark.parametrize("call", [lean.HALVES, lean.by_halves], ids=["scripted", "plain"])
@pytest.mark.parametrize("rows", [1, 2, 7, 33, 256])
def test_products_are_those_of_float32(rows, call, monkeypatch):
    """Beside float64 they are as near as float32's own, whose sums have another order; inputs
    rounded to float16 would be far away."""
    monkeypatch.setattr(lean, "HALVES", call)
    draw = torch.Generator().manual_seed(rows)
    layers = [Linear(160, outputs, bias=False) for outputs in (96, 24, 1)]
    for layer in layers:
        layer.weight.data = torch.randn(layer.weight.shape, generator=draw).bfloat16().float()
    x_TI = torch.randn(rows, 160, generator=draw)
    both = joined(*layers)
    assert isinstance(both, JoinedHalves)
    weight_OI = torch.cat([layer.weight.data for layer in layers])
    exact = x_TI.double() @ weight_OI.double().T
    got = both(x_TI)
    assert got.dtype == torch.float32 and got.shape == exact.shape
    wide = (x_TI @ weight_OI.T - exact).abs().max()
    assert (got - exact).abs().max() <= 4 * wide
    assert (x_TI.half().double() @ weight_OI.double().T - exact).abs().max() > 20 * wide


def test_one_matrix_that_needs_its_digits_keeps_those_beside_it():
    short, long = Linear(32, 8, bias=False), Linear(32, 8, bias=False)
    short.weight.data = short.weight.data.bfloat16().float()
    assert isinstance(joined(short, long), Joined)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_stored_model_has_its_hidden_states_and_scores(name, dtype):
    """One token and many; the decoder's own pass is what they are held against."""
    model = stored(name, dtype)
    decode, score = flat_decoder(model)
    assert isinstance(score, JoinedHalves)
    ids, cache = list(range(20, 33)), StepCache(CONFIGS[name], blocks=4, size=4)
    with torch.inference_mode():
        rows = [decode(cache.lay([Step(ids[:9], 0, [3, 0, 1, 2])]), cache)]
        rows += [decode(cache.lay([Step([ids[at]], at, [3, 0, 1, 2])]), cache)
                 for at in range(9, len(ids))]  # fmt: skip
        got = score(torch.cat(rows, dim=1)[0])
        want = model.lm_head(model.model(torch.tensor([ids])))[0]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


@needs_kernel
@pytest.mark.parametrize("model", ["world-nano", "world-tiny-chat"])
def test_a_model_that_ships_says_the_same_either_way(model, monkeypatch):
    """And it does take the 16 bits, or this would compare a thing with itself."""
    own, tokenizer = load_model_folder(ROOT / "models" / model, "cpu", torch.float32)
    prompts = [tokenizer.encode(text) for text in ("The mill", "Once", "How many apples")]
    answers = []
    for halves in (lean.HALVES, None):
        monkeypatch.setattr(lean, "HALVES", halves)
        engine = Engine(own)
        kinds = {type(block.gate_up) for block in engine.decode.blocks} | {type(engine.score)}
        assert kinds == {JoinedHalves if halves else Joined}
        for prompt in prompts:
            engine.add(Request(prompt, 40, Sampling(temperature=0)))
        out: dict[int, list[int]] = {}
        while engine.busy:
            for number, token in engine.step():
                out.setdefault(number, []).append(token.id)
        answers.append(out)
    assert answers[0] == answers[1]
    first = generate(own, torch.tensor([prompts[0]]), 40, temperature=0)[0, len(prompts[0]) :]
    assert first.tolist() == answers[0][1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_engine_refuses_weights_that_were_changed_under_it(dtype):
    """It would answer with what it keeps of the old ones."""
    model = stored("llama", dtype)
    engine = Engine(model)
    engine.add(Request([1, 2, 3], 2))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(1.0)
    with pytest.raises(WrongCall, match="make a new one"):
        engine.add(Request([1, 2, 3], 2))
    Engine(model).add(Request([1, 2, 3], 2))
