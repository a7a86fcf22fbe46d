"""Exports that are folders: transformers', the page's bundle, Ollama's; and the verb for all."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
import torch
import transformers

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import generate, load_model_folder
from minimind_wiki.infer.export import export
from minimind_wiki.infer.export.browser import FILE, export_browser, read_bundle
from minimind_wiki.infer.export.hf import TYPES, export_hf
from minimind_wiki.infer.export.ollama import TEMPLATE
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer.bytes import ByteTokenizer
from minimind_wiki.tokenizer.chat import parts

MODELS = Path(__file__).resolve().parents[2] / "models"
CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Who is  Ana?\n1 + 2"},
    {"role": "assistant", "content": "A baker.", "reasoning_content": "Ana bakes."},
    {"role": "user", "content": "你好 🙂"},
]


@pytest.fixture(scope="module")
def world():
    return load_model_folder(MODELS / "world-tiny")


@pytest.mark.parametrize("kind", ["f16", ""])
def test_transformers_computes_our_model(kind, world, tmp_path):
    model, tokenizer = world
    folder = export_hf(model, tokenizer, tmp_path / "hf", kind)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.dtype == (TYPES[kind] if kind else model.lm_head.weight.dtype)
    ours, theirs = load_model_folder(folder)[0].float(), theirs.float()
    text = "Ana walked to the garden. Where is"
    assert words(text).input_ids == tokenizer.encode(text)
    rendered = words.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert rendered == "".join(part.text for part in parts(CHAT, add_generation_prompt=True))
    ids = torch.tensor([tokenizer.encode(text)])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), atol=1e-4, rtol=0)
    new = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=16,
                          do_sample=False, eos_token_id=None)  # fmt: skip
    assert torch.equal(new, generate(ours, ids, 16, temperature=0))


@pytest.mark.parametrize(
    "more", [{"attention_sinks": 2, "sliding_window": 8}, {"positions": "alibi"}]
)
def test_what_transformers_has_not_is_refused(more, tmp_path):
    with pytest.raises(MinimindError, match=next(iter(more))):
        export_hf(Transformer(preset("nano", **more)), ByteTokenizer(), tmp_path / "hf")
    with pytest.raises(MinimindError, match="mixture of experts"):
        export_hf(Transformer(preset("moe-145m", vocab_size=259, hidden_size=16,
                  intermediate_size=16, num_hidden_layers=1)), None, tmp_path / "hf")  # fmt: skip
    large = Transformer(preset("nano"))
    large.lm_head.weight.data[0, 0] = 1e5
    with pytest.raises(MinimindError, match="does not fit f16"):
        export_hf(large, None, tmp_path / "hf", "f16")
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_the_model_within_half_a_step(world, tmp_path):
    model, tokenizer = world
    folder = export_browser(model, tokenizer, tmp_path / "page")
    header, weights = read_bundle(folder)
    state = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}  # tied
    assert list(weights) == list(state) and next(iter(weights)) == "model.embed_tokens.weight"
    for entry in header["tensors"]:
        full = state[entry["name"]].float().numpy()
        step = np.abs(full).max(-1, keepdims=True) / 127 if full.ndim == 2 else 0
        error = np.abs(weights[entry["name"]] - full)
        assert (error <= step / 2 * (1 + 1e-5)).all(), entry["name"]
        assert entry["offset"] % 64 == entry.get("scales", 0) % 64 == 0
    assert header["config"]["hidden_size"] == 192
    assert set(header["files"]) == {"tokenizer.json", "tokenizer_config.json"}
    raw = (folder / FILE).read_bytes()
    assert (8 + int.from_bytes(raw[4:8], "little")) % 64 == 0
    assert len(raw) < 1.1 * model.num_parameters()
    (folder / FILE).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(MinimindError, match="damaged"):
        read_bundle(folder)
    (folder / FILE).write_bytes(raw)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(MinimindError, match=r"tokenizer\.json is damaged"):
        read_bundle(folder)


GO_TO_JINJA = {
    "range .Messages": "for m in messages",
    'if eq .Role "assistant"': 'if m.role == "assistant"',
    "if not (and .IsThinkSet .Think)": "if not think",
}


def as_jinja(template: str) -> str:
    """Ollama's language for the few words that our template uses; both trim alike at a dash."""
    opened: list[str] = []

    def word(found: re.Match[str]) -> str:
        dash, action = found[1], found[2].strip()
        if action.startswith("."):
            return "{{ m." + action[1:].lower() + " }}"
        if action == "end":
            return "{%" + dash + " end" + opened.pop() + " %}"
        if action != "else":
            action = GO_TO_JINJA[action]
            opened.append(action.split()[0])
        return "{%" + dash + " " + action + " %}"

    return re.sub(r"{{(-?)(.*?)}}", word, template)


@pytest.mark.parametrize("think", [False, True])
def test_ollamas_template_writes_our_chat(think):
    theirs = jinja2.Environment(keep_trailing_newline=True).from_string(as_jinja(TEMPLATE))
    chat = [{**m, "thinking": m.get("reasoning_content", "")} for m in CHAT]
    ours = parts(CHAT, add_generation_prompt=True, open_thinking=think)
    assert theirs.render(messages=chat, think=think) == "".join(part.text for part in ours)


def test_ollamas_folder_has_what_its_modelfile_names(world, tmp_path):
    folder = export(*world, "ollama", tmp_path / "village")
    text = (folder / "Modelfile").read_text(encoding="utf-8")
    assert (folder / "model.gguf").read_bytes()[:4] == b"GGUF" and "FROM ./model.gguf" in text
    assert 'stop "<|im_end|>"' in text and 'stop "<|endoftext|>"' in text
    assert "ollama create village" in (folder / "README.md").read_text(encoding="utf-8")


def test_a_folder_of_others_is_not_replaced(world, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    for to in ("hf", "browser", "ollama"):
        with pytest.raises(WrongCall, match="is not replaced"):
            export(*world, to, tmp_path / "notes")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"
    for _ in range(2):  # one's own is
        export(*world, "browser", tmp_path / "page")
    assert {p.name for p in tmp_path.iterdir()} == {"notes", "page"}


def test_the_verb_writes_and_says_how_to_run_it(tmp_path, capsys):
    model = str(MODELS / "world-nano")
    assert main(["export", model, "--to", "gguf", "--out", str(tmp_path / "m.gguf")]) == 0
    assert "llama-server --model" in capsys.readouterr().out
    assert (tmp_path / "m.gguf").stat().st_size > 2 * 237_952
    assert main(["export", model, "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "bfloat16"
    for words, sentence in (
        (["--to", "guff"], "did you mean 'gguf'"),
        (["--to", "gguf", "--type", "int8"], "unknown type of gguf 'int8'"),
    ):
        assert main(["export", model, "--out", str(tmp_path / "x"), *words]) == 2
        assert sentence in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--to", "hf", "--out", str(tmp_path / "x")]) == 1
