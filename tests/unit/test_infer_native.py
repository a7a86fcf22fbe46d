"""The kernels in C against torch: the same numbers, the same answers, and clear words without."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import version

import pytest
import torch
import torch.nn.functional as F
from stirred import GQA, needs_kernels, stirred

from minimind_wiki.errors import MinimindError
from minimind_wiki.infer.engine import BROKEN, Engine
from minimind_wiki.infer.lay import StepCache
from minimind_wiki.infer.lean import LeanDecoder
from minimind_wiki.infer.native import build, hasten
from minimind_wiki.infer.native.decoder import DIMS, NativeDecoder, Product, gated
from minimind_wiki.infer.quantize import quantize_model, quicken
from minimind_wiki.infer.request import Request, Sampling
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model.linear import Linear
from minimind_wiki.model.pages import Step

pytestmark = needs_kernels
CONFIGS: dict[str, ModelConfig] = {
    **{f"llama, heads of {dim}": preset("26m", **GQA, head_dim=dim) for dim in DIMS},
    "a head for which there is no kernel": preset("26m", **GQA, head_dim=12),
    "qwen3": preset("64m", **GQA, head_dim=32),
    "moe top-1": preset("moe-198m", **GQA, head_dim=16),
    "alibi, window and sinks": preset("26m", **GQA, head_dim=16, sliding_window=7,
                                      attention_sinks=2, positions="alibi"),
    "window that opens": preset("26m", **GQA, head_dim=16, sliding_window=7),
    "learned positions": preset("26m", **GQA, head_dim=16, positions="learned"),
}  # fmt: skip


@cache
def model(name: str) -> Transformer:
    return stirred(CONFIGS[name])


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def answers(engine: Engine, requests: list[Request]) -> list[list[int]]:
    """What each request gets, their steps side by side."""
    numbers = [engine.add(request) for request in requests]
    out: dict[int, list[int]] = {number: [] for number in numbers}
    while engine.busy:
        for number, token in engine.step():
            out[number].append(token.id)
    return [out[number] for number in numbers]


@pytest.mark.parametrize("stored", [torch.float16, torch.float32], ids=["halves", "whole"])
@pytest.mark.parametrize("outputs", [1, 32, 33, 70])
def test_a_product_is_torchs(threads, stored, outputs):
    """Any number of rows and outputs: rows are taken by eight, outputs by 32."""
    draw = torch.Generator().manual_seed(1)
    parts = [Linear(37, outputs, bias=False), Linear(37, 5, bias=False)]
    for part in parts:
        part.weight.data = torch.randn(part.weight.shape, generator=draw).to(stored).float()
    product = Product(*parts)
    assert product.halves == (stored == torch.float16)
    for rows in (1, 2, 3, 7, 8, 9, 15, 24, 33):
        x_TI = torch.randn(rows, 37, generator=draw)
        exact = torch.cat([F.linear(x_TI.double(), part.weight.double()) for part in parts], 1)
        torch.testing.assert_close(product(x_TI).double(), exact, atol=1e-5, rtol=1e-5)


def test_the_gate_is_silu_wherever_it_is_open_or_shut(threads):
    """From where exp overflows to where it is nothing; what is no number stays none."""
    gate = torch.cat((torch.linspace(-200, 200, 4001), torch.tensor([0.0, 1e-30, -1e-30])))
    up = torch.linspace(-3, 3, len(gate))
    both = torch.stack((torch.cat((gate, up)), torch.cat((-gate, up))))
    exact = F.silu(torch.stack((gate, -gate)).double()) * up.double()
    torch.testing.assert_close(gated(both, threads).double(), exact, atol=1e-12, rtol=2e-6)
    assert gated(torch.tensor([[float("nan"), 1.0]]), threads).isnan().all()


@pytest.mark.parametrize("name", CONFIGS)
def test_hidden_states_are_those_of_the_texts_alone(threads, name):
    """Single tokens, guesses of a few and a long prompt in one step; blocks in any order, whose
    other rows hold anything."""
    decoder, native = model(name).model, NativeDecoder(LeanDecoder(model(name)))
    cache = StepCache(CONFIGS[name], blocks=40, size=4)
    for numbers in (*cache.keys, *cache.values):
        numbers.normal_()
    draw = torch.Generator().manual_seed(2)
    texts = [torch.randint(0, 99, (n,), generator=draw).tolist() for n in (9, 14, 20, 21, 25)]
    new, places = (1, 1, 3, 3, 22), torch.randperm(40, generator=draw).tolist()
    steps, before = [], []
    for number, (text, count) in enumerate(zip(texts, new, strict=True)):
        blocks = places[8 * number : 8 * number + 7]
        start = len(text) - count
        steps.append(Step(text[start:], start, blocks))
        if start:
            before.append(Step(text[:start], 0, blocks))
    with torch.no_grad():
        for step in before:
            native(cache.lay([step]), cache)
        flat = native(cache.lay(steps), cache)[0]
        alone = [
            decoder(torch.tensor([text]))[0, -count:]
            for text, count in zip(texts, new, strict=True)
        ]
    torch.testing.assert_close(flat, torch.cat(alone), atol=2e-5, rtol=1e-4)


def test_scores_of_any_size_give_finite_weights():
    """A softmax over scores of thousands: the largest takes all, and nothing overflows."""
    config = CONFIGS["llama, heads of 16"]
    steep = stirred(config)
    with torch.no_grad():
        for layer in steep.model.layers:
            layer.self_attn.q_proj.weight *= 300
    native, ids = NativeDecoder(LeanDecoder(steep)), list(range(20, 31))
    cache = StepCache(config, blocks=3)
    with torch.no_grad():
        native(cache.lay([Step(ids[:10], 0, [1])]), cache)
        row = native(cache.lay([Step(ids[10:], 10, [1])]), cache)
        alone = steep.model(torch.tensor([ids]))[0, -1:]
    torch.testing.assert_close(row[0], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["llama, heads of 16", "qwen3", "moe top-1", "window that opens"])
@pytest.mark.parametrize("draft", [None, "ngram"])
def test_an_engine_answers_as_without(name, draft):
    """Greedily, with prompts that begin alike, in a cache that is too small for all at once."""
    asked = [Request([7, 8, 9] * 6 + [n], 20, Sampling(temperature=0)) for n in range(6)]
    asked += [Request([n, 5], 9, Sampling(temperature=0)) for n in range(4)]
    settings = {"room": 160, "step_tokens": 24, "max_running": 8, "block_size": 4, "draft": draft}
    plain = answers(Engine(model(name), **settings), asked)
    assert answers(hasten(Engine(model(name), **settings)), asked) == plain


def test_codes_of_eight_bits_stay_with_their_own_product():
    name = "qwen3"
    coded = quantize_model(model(name), 8)
    assert quicken(coded)
    asked = [Request([7, 8, n], 12, Sampling(temperature=0)) for n in range(5)]
    engine = hasten(Engine(coded))
    assert isinstance(engine.decode, NativeDecoder)
    assert not isinstance(engine.decode.blocks[0].qkv, Product)
    assert answers(engine, asked) == answers(Engine(coded), asked)


def test_a_broken_text_ends_and_its_neighbours_go_on():
    """No NaN is lost on its way through a kernel."""
    broken = stirred(CONFIGS["llama, heads of 16"])
    with torch.no_grad():
        broken.model.embed_tokens.weight[13] = float("nan")
        broken.lm_head.weight = torch.nn.Parameter(model("llama, heads of 16").lm_head.weight)
    engine = hasten(Engine(broken))
    bad = engine.add(Request([5, 13, 6], 4, Sampling(temperature=0)))
    good = engine.add(Request([5, 12, 6], 4, Sampling(temperature=0)))
    told = {bad: [], good: []}
    while engine.busy:
        for number, token in engine.step():
            told[number].append(token)
    assert [token.error for token in told[bad]] == [BROKEN]
    assert len(told[good]) == 4 and not any(token.error for token in told[good])


def test_what_has_no_kernels_says_so(monkeypatch, tmp_path):
    gpt2 = preset("gpt2-124m", **GQA | {"num_key_value_heads": 4}, bos_token_id=1, eos_token_id=2,
                  pad_token_id=0)  # fmt: skip
    with pytest.raises(MinimindError, match=r"Llama's family .*no --native"):
        hasten(Engine(stirred(gpt2)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(build, "FLAGS", [*build.FLAGS, "--no-such-flag"])
        with pytest.raises(MinimindError, match=r"(?s)not be compiled.*no-such-flag"):
            build.library()
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(MinimindError, match="for Linux"):
            build.library()
    with monkeypatch.context() as patch:
        patch.setattr(build, "version", lambda name: version(f"{name}-that-nobody-has"))
        with pytest.raises(MinimindError, match=r"minimind-wiki\[native\]"):
            build.library()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MinimindError, match="XDG_CACHE_HOME"):
        build.library()
    build.library.cache_clear()


def test_the_source_gives_no_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-Wall", "-Wextra", "-Werror"])
    build.compile_to(tmp_path / "kernels.so")
    assert (tmp_path / "kernels.so").stat().st_size > 0


def test_a_library_that_is_none_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "minimind-wiki").mkdir()
    monkeypatch.setattr(build, "compile_to", lambda target: target.write_bytes(b"no library"))
    build.library.cache_clear()
    with pytest.raises(MinimindError, match="could not be loaded"):
        build.library()
    build.library.cache_clear()


def test_a_library_is_compiled_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    build.library()
    (kept,) = (tmp_path / "minimind-wiki").iterdir()
    monkeypatch.setattr(build, "compile_to", lambda target: pytest.fail("compiled again"))
    build.library.cache_clear()
    build.library()
    assert kept.suffix == ".so"
    build.library.cache_clear()
