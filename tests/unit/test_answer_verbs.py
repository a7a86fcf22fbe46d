"""The verbs that answer: a draft changes no answer, and what cannot work is told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from stirred import needs_kernels

from minimind_wiki.cli import main
from minimind_wiki.infer import generate, save_model_folder
from minimind_wiki.infer.engine import Engine
from minimind_wiki.infer.native.decoder import NativeDecoder
from minimind_wiki.infer.open import open_model
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer

MODELS = Path(__file__).resolve().parents[2] / "models"
BYTES = ByteTokenizer()


@pytest.fixture
def guesses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Guesses proposed and accepted so far by any engine."""
    counted, step = [0, 0], Engine.step

    def counting(self: Engine):
        tokens = step(self)
        counted[0] += self.proposed
        counted[1] += self.accepted
        return tokens

    monkeypatch.setattr(Engine, "step", counting)
    return counted


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([*map(str, words), "--device", "cpu"])
    out, err = capsys.readouterr()
    return status, out, err


def small(folder: Path, context: int = 96) -> Path:
    fields = {"vocab_size": BYTES.vocab_size, "initializer_range": 0.2}
    made = Transformer(preset("nano", max_position_embeddings=context, **fields), seed=1)
    save_model_folder(folder, made, BYTES)
    return folder


@pytest.mark.parametrize("draft", ["ngram", MODELS / "world-nano"])
def test_generate_says_the_same_with_a_draft(draft, guesses, capsys):
    model, tokenizer = open_model(MODELS / "world-tiny", dtype=torch.float32)
    said = "Terro was at Badger Meadow. Terro hurried from Badger"
    words = ["generate", MODELS / "world-tiny", "--prompt", said, "--max-tokens", 40]
    plain = called(capsys, *words, "--temperature", 0)
    assert guesses == [0, 0]
    assert called(capsys, *words, "--temperature", 0, "--draft", draft, "--ahead", 3) == plain
    assert guesses[0] > guesses[1] > 0
    prompt = tokenizer.encode(said)
    stop = (tokenizer.eos_id,)
    ids = generate(model, torch.tensor([prompt]), 40, 0, stop_ids=stop)[0].tolist()
    assert plain == (0, tokenizer.decode(ids) + "\n", "")
    drawn = [called(capsys, *words, "--seed", 3, "--draft", draft) for _ in range(2)]
    assert drawn[0] == drawn[1] and drawn[0][0] == 0


@needs_kernels
def test_generate_says_the_same_by_kernels(capsys, monkeypatch):
    words = ["generate", MODELS / "world-tiny", "--prompt", "Terro was at", "--temperature", 0]
    plain = called(capsys, *words)
    ran, call = [], NativeDecoder.__call__
    monkeypatch.setattr(NativeDecoder, "__call__", lambda *a: ran.append(1) or call(*a))
    assert called(capsys, *words, "--native") == plain and ran


@pytest.mark.parametrize("draft", ["ngram", MODELS / "world-nano"])
def test_chat_says_the_same_with_a_draft(draft, guesses, capsys, monkeypatch):
    def talk(*flags: object) -> str:
        typed = "Write in capital letters: box, rope, broom, purse\n/retry\nAnd: box, box, box\n"
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        words = ("chat", MODELS / "world-tiny-chat", "--temperature", 0, "--max-tokens", 40)
        status, out, err = called(capsys, *words, *flags)
        assert (status, err) == (0, "")
        return out

    plain = talk()
    assert guesses == [0, 0]
    assert talk("--draft", draft, "--ahead", 2) == plain
    assert guesses[0] > guesses[1] > 0


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--draft", MODELS / "world-nano"], "another tokenizer than the model"),
        (["--draft", "trigram"], "--draft trigram is no folder; give a model's, or ngram"),
        (["--draft", "ngram", "--ahead", 0], "--ahead is 0; give 1 guess or more"),
    ],
)
@pytest.mark.parametrize("verb", ["generate", "chat", "serve"])
def test_what_cannot_guess_is_refused(verb, flags, message, tmp_path, capsys):
    more = {"generate": ["--prompt", "a"], "serve": ["--port", 0]}.get(verb, [])
    status, out, err = called(capsys, verb, small(tmp_path / "model"), *more, *flags)
    assert (status, out) == (2, "") and message in err


def test_generate_ends_where_the_context_is_full_and_says_so(tmp_path, capsys):
    words = ["generate", small(tmp_path / "model"), "--prompt", "a" * 90, "--temperature", 0]
    status, out, err = called(capsys, *words)
    assert status == 0 and out.startswith("a" * 90)
    assert err == "(cut: the context of 96 tokens is full)\n"
    assert called(capsys, *words, "--max-tokens", 6) == (0, out, "")
    status, out, err = called(capsys, *words[:3], "b" * 96)
    assert (status, out) == (2, "") and "the prompt has 96 tokens and the context 96" in err


def test_generate_tells_of_broken_weights(tmp_path, capsys):
    model = Transformer(preset("nano", vocab_size=BYTES.vocab_size), seed=1)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    save_model_folder(tmp_path / "model", model, BYTES)
    status, _, err = called(capsys, "generate", tmp_path / "model", "--prompt", "a")
    assert status == 1 and "not finite numbers; use a model whose weights are in order" in err


@pytest.mark.parametrize(
    "words, message",
    [
        (["generate", "m", "--prompt", "a", "--max-tokens", "0"], "--max-tokens is 0"),
        (["serve", "m", "--port", "65536"], "--port is 65536; give 0 for a free one"),
        (["serve", "m", "--max-requests", "0"], "--max-requests is 0; give more than 0"),
        (["serve", str(MODELS / "world-nano"), "--port", "0", "--room", "0"], "room is 0 tokens"),
    ],
)
def test_wrong_calls_say_what_to_do(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["generate", "chat", "serve", "webui", "evaluate", "path"])
def test_a_device_that_is_none_is_refused(verb, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([verb, "m", "--device", "gpu"])
    assert "invalid choice: 'gpu'" in capsys.readouterr().err


def test_chat_says_of_a_model_that_it_has_not_learned_to_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    told = "has learned to go on with texts, not to answer; 'minimind generate'"
    assert told in called(capsys, "chat", MODELS / "world-nano")[2]
    # one that answers, and one whose making nobody knows
    assert called(capsys, "chat", MODELS / "world-tiny-chat")[2] == ""
    assert called(capsys, "chat", small(tmp_path / "model"))[2] == ""
