"""A GGUF file is our model to llama.cpp: same ids, same probabilities, same greedy tokens."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import random
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from llama_cpp import LlamaCpp

from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import generate, load_model_folder
from minimind_wiki.infer.export.gguf_file import export_gguf
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.layout import MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer, save_library, train_library

MODELS = Path(__file__).resolve().parents[2] / "models"
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 259,
         "intermediate_size": 96, "max_position_embeddings": 64, "initializer_range": 0.2,
         "rms_norm_eps": 1e-3, "bos_token_id": 257, "eos_token_id": 258,
         "pad_token_id": 256}  # fmt: skip
LAYOUTS = {
    "llama": preset("26m", **SMALL),
    "llama untied, linear": preset(
        "26m", **SMALL, tie_word_embeddings=False, rope_type="linear", rope_factor=2.0
    ),
    "llama ntk": preset("26m", **SMALL, rope_type="ntk", rope_factor=2.0),
    "qwen3": preset("64m", **SMALL, num_key_value_heads=2),
    "qwen3 untied, wide heads": preset("64m", **SMALL, tie_word_embeddings=False, head_dim=20),
    "qwen3_moe": preset("moe-198m", **SMALL, num_experts_per_tok=2, norm_topk_prob=True),
}


KINDS = ("f32", "f16", "q8_0", "q4_0")


@pytest.fixture(scope="module")
def world():
    return load_model_folder(MODELS / "world-tiny", dtype=torch.float32)


@pytest.fixture(scope="module")
def files(world, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    return {kind: export_gguf(*world, folder / f"{kind}.gguf", kind) for kind in KINDS}


def next_token(model: Transformer, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after the last of the ids, (V)."""
    with torch.no_grad():
        return model(torch.tensor([ids]))[0, -1].log_softmax(-1)


def distance(model: Transformer, theirs: LlamaCpp, ids: list[int]) -> float:
    """The largest difference of two log-probabilities of the next token."""
    ours, found = next_token(model, ids), theirs.log_probabilities(ids, model.config.vocab_size)
    assert len(found) == model.config.vocab_size
    assert ours.std() > 0.1  # a model that says nothing would agree with anything
    return max(abs(found[token] - float(ours[token])) for token in found)


@pytest.mark.parametrize("kind", ["f32", "f16"])
def test_greedy_tokens_are_ours_on_50_prompts(kind, world, files):
    model, tokenizer = world
    theirs, stops = LlamaCpp(files[kind]), {tokenizer.eos_id, tokenizer.pad_id}
    texts = [row["text"] for row in make_rows("pretrain", 50, seed=77, split="test")]
    new = 0
    for text in texts:
        ids = [tokenizer.bos_id, *tokenizer.encode(text)[:24]]
        ours = generate(model, torch.tensor([ids]), 16, temperature=0)[0, len(ids) :].tolist()
        end = next((at for at, token in enumerate(ours) if token in stops), 15) + 1
        assert theirs.greedy(ids, 16) == ours[:end], text
        new += end
    assert new > 400  # most prompts go on for a while


@pytest.mark.parametrize("name", LAYOUTS)
def test_probabilities_are_ours_in_every_layout(name, tmp_path):
    model = Transformer(LAYOUTS[name], seed=3)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # gains away from one: a forgotten one must show
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    file = export_gguf(model, ByteTokenizer(), tmp_path / "m.gguf", "f32")
    ids = torch.randint(0, 256, (33,), generator=draw).tolist()
    while int(next_token(model, ids).argmax()) > 127:  # of half a character it tells nothing
        ids[-1] = (ids[-1] + 1) % 256
    assert distance(model, LlamaCpp(file), ids) < 1e-4


def hard_texts() -> list[str]:
    draw = random.Random(0)
    parts = [
        "it's", "I'LL", "we'd", "naïve", "Ünï", "12", "3.14", "1,000,000", "२०२४", "½", "Ⅷ", " ",
        "  ", "    ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "\u2028", "\u200b",
        "你好", "世界！", "，", "日本語の文", "한국어", "العربية", "हिन्दी", "🙂",
        "👩‍👩‍👧", "🇨🇳", "e\u0301", "…",
        "—", "(x**2)", "<b>", "https://a.b/c?d=1", "def f(x):", "_", "A1b2", "\x00", "\x7f", "ß",
    ]  # fmt: skip
    mixed = ["".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(300)]
    return [*parts, *mixed, " lead", "trail ", "a  b   c", "x" * 300, "9" * 40, "\n" * 9 + "end"]


@pytest.mark.parametrize("kind", ["world", "minimind", "bytes"])
def test_the_tokenizer_makes_our_ids(kind, world, files, tmp_path):
    texts = hard_texts()
    if kind == "world":
        tokenizer, file = world[1], files["f16"]
    else:
        tokenizer, size = ByteTokenizer(), 259
        if kind == "minimind":  # 6,400 entries, as MiniMind's own, of text in many scripts
            words = [row["text"] for row in make_rows("pretrain", 400, seed=1)]
            save_library(train_library(words + texts, 6400, MINIMIND), tmp_path, MINIMIND)
            tokenizer, size = LibraryTokenizer.load(tmp_path), 6400
        model = Transformer(preset("nano", vocab_size=size, pad_token_id=0, bos_token_id=1,
                                   eos_token_id=2, num_hidden_layers=1))  # fmt: skip
        file = export_gguf(model, tokenizer, tmp_path / "m.gguf")
    theirs = LlamaCpp(file)
    for text in texts:
        assert theirs.tokenize(text) == tokenizer.encode(text), repr(text)
    for text in ("<|im_start|>user\nHi<|im_end|>\n", "a<|endoftext|> b", "<think>\n2 + 2</think>"):
        assert theirs.tokenize(text, specials=True) == tokenizer.encode(text, specials=True)


def test_the_chat_template_is_in_the_file(world, files):
    from minimind_wiki.tokenizer.chat import parts

    chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "你好  Ana?"}]
    ours = "".join(part.text for part in parts(chat, add_generation_prompt=True))
    assert LlamaCpp(files["q8_0"]).chat(chat) == ours


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantized_weights_are_within_half_a_step(kind, files):
    """A block has its scale in front, in float16. q8_0 rounds to -127…127 steps; q4_0 to -8…7, so
    the largest weight of the other sign than the block's extreme may be one step off."""
    exact = {t.name: t for t in gguf.GGUFReader(files["f32"]).tensors}
    seen = set()
    for tensor in gguf.GGUFReader(files[kind]).tensors:
        full = exact[tensor.name].data.astype(np.float32)
        back = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        seen.add(tensor.tensor_type.name)
        if tensor.tensor_type.name == "F32":
            assert np.array_equal(back, full)
            continue
        steps, room = (127, 0.5) if tensor.tensor_type.name == "Q8_0" else (8, 1.0)
        largest = np.abs(full.reshape(-1, 32)).max(1, keepdims=True)
        error = np.abs(back - full).reshape(-1, 32)
        assert (error <= largest * (room / steps + 2**-10) + 1e-7).all(), tensor.name
    assert seen == {"F32", "Q8_0"} | ({"Q4_0"} if kind == "q4_0" else set())


def test_fewer_bits_are_farther_from_the_model(world, files):
    model, tokenizer = world
    ids = [tokenizer.bos_id, *tokenizer.encode("The farmer has three apples and")]
    far = [distance(model, LlamaCpp(files[kind]), ids) for kind in KINDS]
    assert far == sorted(far) and far[0] < 1e-4 and far[1] < 0.05
    sizes = [files[kind].stat().st_size for kind in KINDS]
    assert sizes == sorted(sizes, reverse=True)


REFUSED = {
    "gpt2": preset("gpt2-124m", **SMALL),
    "sum to one": preset("moe-198m", **SMALL),
    "sliding window": preset("64m", **SMALL, sliding_window=8),
    "'dynamic'": preset("26m", **SMALL, rope_type="dynamic", rope_factor=2.0),
    "every layer": preset("moe-198m", **SMALL, norm_topk_prob=True, mlp_only_layers="0"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(reason, tmp_path):
    with pytest.raises(MinimindError, match=reason):
        export_gguf(Transformer(REFUSED[reason]), ByteTokenizer(), tmp_path / "m.gguf")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_without_an_equal_is_refused(tmp_path):
    save_library(train_library(["a cat sat"], 600, MINIMIND, "wordpiece"), tmp_path / "t", MINIMIND)
    model = Transformer(preset("nano", vocab_size=600, pad_token_id=0, bos_token_id=1,
                               eos_token_id=2))  # fmt: skip
    with pytest.raises(MinimindError, match="byte-level BPE"):
        export_gguf(model, LibraryTokenizer.load(tmp_path / "t"), tmp_path / "m.gguf")


def test_a_failed_export_leaves_the_file_before_it(tmp_path, monkeypatch):
    file = tmp_path / "m.gguf"
    file.write_text("before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(MinimindError, match="No space left"):
        export_gguf(Transformer(preset("nano")), ByteTokenizer(), file)
    assert file.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(WrongCall, match="is a folder"):
        export_gguf(Transformer(preset("nano")), ByteTokenizer(), tmp_path)
