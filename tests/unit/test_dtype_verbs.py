"""`--dtype` of the verbs that answer: the weights are rounded, and the engine reads 16 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from minimind_wiki.cli import main
from minimind_wiki.infer import generate, lean, load_model_folder, save_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.quantize import quantize_model, save_quantized
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer

BYTES = ByteTokenizer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as training leaves it, in float32."""
    shape = {"vocab_size": BYTES.vocab_size, "initializer_range": 0.2}
    save_model_folder(tmp_path / "own", Transformer(preset("nano", **shape), seed=1), BYTES)
    return tmp_path / "own"


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Those that were made."""
    made, init = [], Engine.__init__

    def noting(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Engine, "__init__", noting)
    return made


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([*map(str, words), "--device", "cpu"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_generate_answers_with_rounded_weights(dtype, folder, engines, capsys):
    words = ["generate", folder, "--prompt", "To be", "--temperature", 0, "--max-tokens", 30]
    out = said(capsys, *words, "--dtype", dtype)
    assert isinstance(
        engines[-1].score, lean.JoinedHalves if lean.HALVES is not None else lean.Joined
    )
    rounded = load_model_folder(folder, dtype=getattr(torch, dtype))[0].float()
    prompt = BYTES.encode("To be")
    want = generate(rounded, torch.tensor([prompt]), 30, temperature=0, stop_ids=(BYTES.eos_id,))
    answer = want[0, len(prompt) :].tolist()
    answer = answer[: answer.index(BYTES.eos_id)] if BYTES.eos_id in answer else answer
    assert out.rstrip("\n") == ("To be" + BYTES.decode(answer)).rstrip("\n")
    assert next(engines[-1].model.parameters()).dtype == torch.float32


def test_unless_asked_the_weights_stay_as_they_are(folder, engines, capsys):
    words = ["generate", folder, "--prompt", "To be", "--max-tokens", 3]
    assert said(capsys, *words) == said(capsys, *words, "--dtype", "float32")
    whole = load_model_folder(folder)[0].state_dict()
    for engine in engines:
        assert isinstance(engine.score, lean.Joined)
        assert all(torch.equal(w, whole[name]) for name, w in engine.model.state_dict().items())


def test_what_a_format_cannot_hold_is_refused(folder, capsys):
    model = load_model_folder(folder)[0]
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = 7e4
    save_model_folder(folder, model, BYTES)
    words = ["generate", folder, "--prompt", "To be", "--device", "cpu", "--max-tokens", 2]
    assert main([*map(str, words), "--dtype", "float16"]) == 2
    assert "layers.1.mlp.up_proj" in (err := capsys.readouterr().err)
    assert "--dtype bfloat16" in err
    assert main([*map(str, words), "--dtype", "bfloat16"]) == 0


def test_codes_are_not_rounded_again(folder, tmp_path, capsys):
    save_quantized(tmp_path / "small", quantize_model(load_model_folder(folder)[0], 8), BYTES)
    words = ["generate", tmp_path / "small", "--prompt", "To be", "--device", "cpu"]
    assert main([*map(str, words), "--dtype", "float16"]) == 2
    assert "codes" in capsys.readouterr().err
    assert main([*map(str, words), "--max-tokens", "2"]) == 0
