"""The lean way through a decoder against the plain one: the same numbers from larger calls."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from stirred import GQA, stirred

from minimind_wiki.infer import generate, load_model_folder, save_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.lay import StepCache
from minimind_wiki.infer.lean import LeanDecoder, flat_decoder, join
from minimind_wiki.infer.quantize import load_quantized, quantize_model, quicken, save_quantized
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.infer.single import sees_all
from minimind_wiki.model import ModelConfig, PagedCache, Transformer, preset
from minimind_wiki.model.pages import Step

CONFIGS: dict[str, ModelConfig] = {
    "llama": preset("26m", **GQA),
    "qwen3 wide heads": preset("64m", **GQA, head_dim=12),
    "moe top-1": preset("moe-198m", **GQA),
    "gpt2": preset("gpt2-124m", **GQA | {"num_key_value_heads": 4}, bos_token_id=1,
                   eos_token_id=2, pad_token_id=0),
    "alibi, window and sinks": preset("26m", **GQA, sliding_window=7, attention_sinks=2,
                                      positions="alibi"),
    "window that opens": preset("26m", **GQA, sliding_window=7),
}  # fmt: skip


@cache
def model(name: str) -> Transformer:
    return stirred(CONFIGS[name])


def said(engine: Engine, prompt: list[int], new: int) -> list[int]:
    """A prompt and its likeliest answer."""
    engine.add(Request(prompt, new, Sampling(temperature=0)))
    out = list(prompt)
    while engine.busy:
        out += [token.id for _, token in engine.step()]
    return out


@pytest.mark.parametrize("name", ["llama", "qwen3 wide heads", "alibi, window and sinks"])
def test_hidden_states_of_a_flat_row_are_those_of_the_texts_alone(name):
    """Blocks in any order, and what lies behind a text's end does not matter."""
    decoder = model(name).model
    for flat_row in (decoder.flat, LeanDecoder(model(name))):
        cache = PagedCache(CONFIGS[name], blocks=6, size=4)
        for numbers in (*cache.keys, *cache.values):
            numbers.normal_()
        a, b = torch.arange(11), torch.arange(30, 37)
        with torch.no_grad():
            decoder(cache.lay([Step(a[:6].tolist(), 0, [5, 0, 3])]), cache)
            decoder(cache.lay([Step(b[:6].tolist(), 0, [2, 1])]), cache)
            steps = [Step([int(b[6])], 6, [2, 1]), Step(a[6:].tolist(), 6, [5, 0, 3])]
            flat = flat_row(cache.lay(steps), cache)[0]
            alone = torch.cat([decoder(b[None])[0, 6:], decoder(a[None])[0, 6:]])
        torch.testing.assert_close(flat, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("blocks", [[2, 3, 4], [5, 0, 3]], ids=["joint", "apart"])
@pytest.mark.parametrize("name", ["llama", "qwen3 wide heads", "moe top-1", "window that opens"])
def test_a_text_read_token_by_token_is_the_text_read_at_once(name, blocks):
    """A single token has its own way; where a window hides something, it goes with the others."""
    decoder, lean = model(name).model, LeanDecoder(model(name))
    cache, ids = StepCache(CONFIGS[name], blocks=6, size=4), list(range(20, 31))
    for numbers in (*cache.keys, *cache.values):
        numbers.normal_()
    single = []
    with torch.no_grad():
        lean(cache.lay([Step(ids[:3], 0, blocks)]), cache)
        for place in range(3, len(ids)):
            row = lean(cache.lay([Step([ids[place]], place, blocks)]), cache)
            single.append(sees_all(cache.alone, lean.windows, lean.biased))
            alone = decoder(torch.tensor([ids[: place + 1]]))[0, -1:]
            torch.testing.assert_close(row[0], alone, atol=1e-5, rtol=1e-4)
    assert single == [name != "window that opens" or place < 7 for place in range(3, len(ids))]


def test_joined_weights_are_the_layers_own(tmp_path):
    """One storage: an update in place is seen, a second engine joins no more, saving works."""
    own = Transformer(CONFIGS["llama"], seed=4).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    before = own(ids)
    engine = Engine(own)
    assert torch.equal(own(ids), before)
    attention = own.model.layers[0].self_attn
    parts = attention.q_proj, attention.k_proj, attention.v_proj
    assert join("weight", *parts).data_ptr() == engine.decode.blocks[0].qkv.weight_OI.data_ptr()
    before = generate(own, ids, 9, temperature=0)
    with torch.no_grad():
        attention.v_proj.weight += 0.5
        attention.q_proj.weight *= -2
    assert said(Engine(own), ids[0].tolist(), 9) == generate(own, ids, 9, temperature=0)[0].tolist()
    assert not torch.equal(generate(own, ids, 9, temperature=0), before)
    save_model_folder(tmp_path / "model", own)
    back, _ = load_model_folder(tmp_path / "model")
    assert torch.equal(back(ids), own(ids))


@pytest.mark.parametrize("name", ["llama", "qwen3 wide heads", "moe top-1"])
def test_codes_of_eight_bits_give_what_the_plain_way_makes_of_them(name):
    """Joined and unjoined, within the rounding of the kernel's bfloat16, and that is not nothing:
    the same codes without the kernel are further away than one way is from the other."""
    config = CONFIGS[name]
    slow = quantize_model(model(name), 8)
    quick = quantize_model(model(name), 8)
    assert flat_decoder(slow) == (slow.model.flat, slow.lm_head)
    assert quicken(quick) and isinstance(flat_decoder(quick)[0], LeanDecoder)
    row = [Step([5], 0, [1]), Step(list(range(20, 33)), 0, [0])]
    rows = []
    with torch.inference_mode():
        for decode in (slow.model.flat, quick.model.flat, flat_decoder(quick)[0]):
            cache = PagedCache(config, blocks=2)
            rows.append(decode(cache.lay(row), cache))
    exact, plain, lean = rows
    size = exact.abs().max()
    assert 1e-4 * size < (plain - exact).abs().max() < 0.1 * size
    assert (lean - plain).abs().max() < 0.03 * size
    assert torch.equal(quick(torch.arange(9)[None]), quick(torch.arange(9)[None]))


def test_an_engine_does_not_unpack_a_head_of_codes(monkeypatch):
    small = quantize_model(model("llama"), 8)
    unpacked = []
    monkeypatch.setattr(type(small.lm_head), "rows", lambda *_: unpacked.append(1))
    engine = Engine(small)
    engine.add(Request([1, 2, 3], 4))
    assert not unpacked
    with pytest.raises(AttributeError):  # the tripwire works: None has no .to
        print(small.lm_head.weight)


def test_joined_codes_are_the_layers_own(tmp_path):
    """One storage, which a second engine finds, and a folder takes."""
    own = quantize_model(model("llama"), 8)
    quicken(own)
    before = own(torch.tensor([[5, 6, 7]]))
    first, second = Engine(own), Engine(own)
    mine, other = (engine.decode.blocks[1].gate_up for engine in (first, second))
    assert mine.codes_OI.data_ptr() == other.codes_OI.data_ptr()
    assert mine.codes_OI.data_ptr() == own.model.layers[1].mlp.gate_proj.codes.data_ptr()
    assert torch.equal(own(torch.tensor([[5, 6, 7]])), before)
    save_quantized(tmp_path / "small", own)
    back = load_quantized(tmp_path / "small")[0]
    quicken(back)
    assert torch.equal(back(torch.tensor([[5, 6, 7]])), before)


def test_a_model_that_the_lean_way_does_not_know_takes_the_plain_one():
    mixed = quantize_model(model("llama"), 8)
    quicken(mixed)
    mixed.model.layers[0].self_attn.k_proj.quick = False
    assert flat_decoder(mixed) == (mixed.model.flat, mixed.lm_head)
    own = Transformer(CONFIGS["llama"], seed=4)
    assert isinstance(flat_decoder(own)[0], LeanDecoder)
    own.model.layers[1].self_attn.v_proj = torch.nn.Sequential(own.model.layers[1].self_attn.v_proj)
    assert flat_decoder(own)[0] == own.model.flat
    assert flat_decoder(model("gpt2"))[0] == model("gpt2").model.flat
    assert flat_decoder(Transformer(CONFIGS["llama"]).bfloat16())[0].__name__ == "flat"
