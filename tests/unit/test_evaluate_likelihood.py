"""A model as a judge: its likelihood is the chain rule over its own tokens; the verb prints it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.world_exam import SECTIONS
from minimind_wiki.infer import save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer


def nano(**changes: int) -> Transformer:
    return Transformer(preset("nano", **changes), seed=3)


def test_it_is_the_chain_rule_token_by_token() -> None:
    model, tokenizer = nano(), ByteTokenizer()
    prompt, continuation = tokenizer.encode("The cat"), tokenizer.encode(" sat.")
    expected = 0.0
    for i, token in enumerate(continuation):
        seen = torch.tensor([[*prompt, *continuation[:i]]])
        with torch.no_grad():
            expected += float(model(seen)[0, -1].log_softmax(-1)[token])
    assert math.isclose(
        log_likelihood(model, tokenizer)("The cat", " sat."), expected, rel_tol=1e-5
    )


def test_probabilities_of_all_next_bytes_sum_to_one() -> None:
    model = nano()

    class Ids:
        def encode(self, text: str) -> list[int]:
            return [int(part) for part in text.split(",")]

    score = log_likelihood(model, Ids())
    total = sum(math.exp(score("1,2,3", str(i))) for i in range(model.config.vocab_size))
    assert math.isclose(total, 1.0, rel_tol=1e-4)


def test_a_long_prompt_loses_its_beginning_and_a_long_continuation_is_refused() -> None:
    model, tokenizer = nano(max_position_embeddings=16), ByteTokenizer()
    score = log_likelihood(model, tokenizer)
    assert score("x" * 50 + "0123456789", "abcd") == score("xx0123456789", "abcd")
    assert score("x" * 50 + "0123456789", "abcd") != score("zz0123456789", "abcd")
    with pytest.raises(MinimindError, match="does not fit"):
        score("a", "b" * 16)
    with pytest.raises(MinimindError, match="at least one token"):
        score("", "b")


def test_the_verb_prints_every_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model_folder(tmp_path / "m", nano(), ByteTokenizer())
    assert main(["evaluate", str(tmp_path / "m"), "--limit", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in SECTIONS)
    assert "chance" in printed
    assert main(["evaluate", str(tmp_path / "m"), "--tasks", "wrld"]) == 2
    assert "did you mean 'world'" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "m"), "--limit", "0"]) == 2
