"""`minimind quantize`: it writes what `load_quantized` reads, and refuses what cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from minimind_wiki import cli
from minimind_wiki.infer import load_model_folder
from minimind_wiki.infer.quantize import load_quantized

NANO = Path(__file__).resolve().parents[2] / "models" / "world-nano"


@pytest.mark.parametrize("words, bound", [
    (["--bits", "8"], 0.02),
    (["--bits", "4", "--group", "32", "--method", "gptq", "--rows", "4"], 0.4),
])  # fmt: skip
@torch.no_grad()
def test_it_writes_a_model_that_says_nearly_the_same(tmp_path, capsys, words, bound):
    out = tmp_path / "small"
    assert cli.main(["quantize", str(NANO), "--out", str(out), *words]) == 0
    assert "MB have become" in capsys.readouterr().out
    model, tokenizer = load_model_folder(NANO, dtype=torch.float32)
    small, words_again = load_quantized(out)
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode("Anna is in the kitchen.")]])
    assert words_again.encode("Anna") == tokenizer.encode("Anna")
    assert (small(ids) - model(ids)).norm() < bound * model(ids).norm()
    run = json.loads((out / "run.json").read_text())
    assert run["parameters"] == model.num_parameters()
    assert run["command"] == json.loads((NANO / "run.json").read_text())["command"]


@pytest.mark.parametrize("words, hint", [
    (["--bits", "3"], "8 or 4"), (["--method", "gtpq"], "gptq"), (["--group", "48"], "divisor"),
    (["--method", "awq", "--rows", "0"], "--rows"),
    (["--method", "awq", "--calibration", "nowhere.txt"], "nowhere.txt"),
])  # fmt: skip
def test_a_wrong_call_says_what_to_do(tmp_path, capsys, words, hint):
    assert cli.main(["quantize", str(NANO), "--out", str(tmp_path / "o"), *words]) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_it_overwrites_nothing(tmp_path, capsys):
    assert cli.main(["quantize", str(NANO), "--out", str(tmp_path)]) == 2
    assert "not overwritten" in capsys.readouterr().err


def test_what_it_writes_can_be_asked(tmp_path, capsys):
    out = tmp_path / "small"
    assert cli.main(["quantize", str(NANO), "--bits", "8", "--out", str(out)]) == 0
    capsys.readouterr()
    words = ["--prompt", "Once", "--max-tokens", "8", "--temperature", "0"]
    assert cli.main(["generate", str(out), *words]) == 0
    assert capsys.readouterr().out.startswith("Once")
    assert cli.main(["evaluate", str(out), "--tasks", "arithmetic", "--limit", "2"]) == 0
    assert (
        cli.main(["sft", "--model", str(out), "--out", str(tmp_path / "run"), "--steps", "1"]) == 2
    )
