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


def plainly(model: Transformer, prompt: str, continuation: str) -> float:
    """The same without a cache: one pass over both."""
    before, after = (ByteTokenizer().encode(text) for text in (prompt, continuation))
    with torch.no_grad():
        log_p = model(torch.tensor([[*before, *after]]))[0, len(before) - 1 : -1].log_softmax(-1)
    return float(log_p.gather(1, torch.tensor(after)[:, None]).sum())


def test_options_share_the_prompt_that_was_read_once() -> None:
    model = nano()
    score = log_likelihood(model, ByteTokenizer())
    asked = [("The cat", " sat."), ("The cat", " s"), ("The cat", " sat down."), ("The dog", "s")]
    read: list[int] = []
    hook = model.model.register_forward_hook(lambda m, args, out: read.append(args[0].shape[1]))
    scores = [score(*pair) for pair in asked]
    hook.remove()
    assert read == [7, 4, 1, 9, 7]  # each prompt once, then all but the last of each continuation
    for pair, value in zip(asked, scores, strict=True):
        assert math.isclose(value, plainly(model, *pair), rel_tol=1e-5)


def test_a_prompt_is_read_again_when_the_weights_have_changed() -> None:
    model = nano()
    score = log_likelihood(model, ByteTokenizer())
    before = score("The cat", " sat.")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    after = score("The cat", " sat.")
    assert after != before
    assert math.isclose(after, plainly(model, "The cat", " sat."), rel_tol=1e-5)


def test_the_verb_prints_every_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model_folder(tmp_path / "m", nano(), ByteTokenizer())
    assert main(["evaluate", str(tmp_path / "m"), "--limit", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in SECTIONS)
    assert "chance" in printed
    assert main(["evaluate", str(tmp_path / "m"), "--tasks", "wrld"]) == 2
    assert "did you mean 'world'" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "m"), "--limit", "0"]) == 2
