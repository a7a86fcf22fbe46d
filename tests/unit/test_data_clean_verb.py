"""`data clean` from its flags to its files, and back."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from minimind_wiki.data.clean.filters import language
from minimind_wiki.errors import WrongCall
from minimind_wiki.verbs import _data_clean as verb


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    return verb.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    texts = ["The man and the dog.", "the man, and the dog", "Mail a@b.org to the man.", "zik bol"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def test_clean_prints_reasons_and_undo_restores(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "out.jsonl", tmp_path / "back.jsonl"
    assert call(rows, "--out", out, "--steps", "language,pii,exact") == 0
    said = capsys.readouterr().out
    assert "4 rows read, 2 written" in said
    assert "language: language is und  (rows.jsonl:4)" in said
    assert "exact: duplicate  (rows.jsonl:2)" in said and "pii: e-mail" in said
    assert call(out, "--out", back, "--undo") == 0
    assert back.read_bytes() == rows.read_bytes()
    assert call(out, "--out", back, "--undo", "--steps", "exact") == 0
    assert len(back.read_text().splitlines()) == 3


def test_every_step_can_be_built_and_a_bad_row_gives_status_1(rows: Path, tmp_path: Path) -> None:
    bench = tmp_path / "bench.jsonl"
    bench.write_text('{"q": "x"}\n')
    names = [name for name in verb.BUILD if name != "mojibake"]
    flags = ["--against", bench, "--mix", "rows*=1", "--min-words", 1, "--chunk", 9]
    out = tmp_path / "o.jsonl"
    assert call(rows, "--out", out, "--steps", ",".join(names), *flags) == 0
    assert call(rows, "--out", out) == 0
    rows.write_text("{}\n")
    assert call(rows, "--out", out, "--steps", "none") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "unicod"], "did you mean 'unicode'"),
        (["--steps", "decontaminate"], "needs --against"),
        (["--steps", "mix"], "needs --mix"),
        (["--steps", "mix", "--mix", "rows.jsonl=x"], "FILE=RATE"),
        (["--steps", "mix", "--mix", "rowz.jsonl=2"], "did you mean 'rows.jsonl'"),
        (["--mix", "rows.jsonl=2"], "is for the step mix; name it in --steps"),
        (["--steps", "pii", "--against", "b.jsonl"], "is for the step decontaminate"),
        (["--language", "xx"], "unknown language 'xx'.* Known: ar, de, el, en,"),
        (["--language", "en,,de"], "unknown language ''"),
    ],
)
def test_wrong_calls(rows: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    with pytest.raises(WrongCall, match=message):
        call(rows, "--out", tmp_path / "o.jsonl", *flags)
    with pytest.raises(WrongCall, match="names a file that is read"):
        call(rows, "--out", rows)


def test_an_empty_result_is_told_loudly(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.jsonl"
    assert call(rows, "--out", out, "--steps", "language", "--language", "zh,ja") == 0
    assert out.read_bytes() == b""
    assert capsys.readouterr().err.startswith("WARNING: no row is left")
    assert call(rows, "--out", out, "--steps", "language", "--language", "en,und") == 0
    assert len(out.read_text().splitlines()) == 4
    assert not capsys.readouterr().err


def test_every_language_that_the_guess_answers_can_be_kept() -> None:
    texts = {"zh": "床前明月光", "ru": "Привет", "de": "der und die", "und": "zik bol"}
    assert {code: language(text)[0] for code, text in texts.items()} == {c: c for c in texts}
    assert set(texts) <= set(verb.LANGUAGES)
