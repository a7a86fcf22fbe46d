"""The command line: a place that cannot be written, and a reader that went away, are no bugs."""

import json
import os
import subprocess
import sys

import pytest

from minimind_wiki import cli
from minimind_wiki.cli import SIGPIPE_STATUS, main

ENV = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "the man and the dog"}) + "\n")
    return path


def said(capsys, *words):
    """Status and the one line that the call said on standard error."""
    status = main([str(word) for word in words])
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return status, err


@pytest.mark.parametrize("place", [".", "..", "/", "here", "here/"])
def test_a_folder_is_no_file_to_write(capsys, rows, tmp_path, place):
    (tmp_path / "here").mkdir()
    for words in (
        ("data", "world", "--rows", 1),
        ("data", "clean", rows, "--steps", "none"),
        ("data", "clean", rows, "--undo"),
    ):
        status, err = said(capsys, *words, "--out", place)
        assert (status, "is a folder. Name a file" in err) == (2, True), err
    status, err = said(capsys, "data", "clean", place, "--undo", "--out", "back.jsonl")
    assert (status, "is a folder" in err) == (2, True), err
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["here", "rows.jsonl"]


def test_a_file_is_no_folder_to_write_in(capsys, rows, tmp_path):
    before = rows.read_bytes()
    for out in (rows, rows / "below"):
        status, err = said(capsys, "data", "shard", rows, "--tokenizer", "bytes", "--out", out)
        assert (status, "cannot be made a folder" in err) == (1, True), err
    words = ("tokenizer", "train", "--data", "embedded", "--vocab-size", 300)
    for plain in ((), ("--plain",)):
        assert main([*map(str, words), "--out", str(rows), *plain]) == 2
        assert "rows.jsonl is a file. Name a new folder" in capsys.readouterr().err
        assert main([*map(str, words), "--out", str(rows / "below"), *plain]) == 1
        assert "cannot be made a folder" in capsys.readouterr().err
    for words in (("data", "world", "--rows", 1), ("data", "clean", rows, "--steps", "none")):
        status, err = said(capsys, *words, "--out", rows / "below.jsonl")
        assert (status, "cannot be written" in err) == (1, True), err
    assert rows.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.skipif(os.name != "posix", reason="pipes that tell of their reader are POSIX's")
@pytest.mark.parametrize(
    "words", [("data", "world", "--out", "-", "--rows", "300"), ("data", "list")]
)
def test_a_reader_that_goes_away_ends_the_command_quietly(words):
    """`minimind … | head`: standard output is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "minimind_wiki", *words], stdout=writer,
                              stderr=subprocess.PIPE, text=True, timeout=120, env=ENV,
                              check=False)  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (SIGPIPE_STATUS, "")


def test_the_pipe_of_something_else_is_not_hidden(monkeypatch):
    def broken(words):
        raise BrokenPipeError("a worker died")

    monkeypatch.setattr(cli, "_call", broken)
    with pytest.raises(BrokenPipeError, match="a worker died"):
        main(["data", "list"])


ACTIONS = [("data", name) for name in ("list", "fetch", "check", "clean", "shard", "world")]
ACTIONS += [("tokenizer", name) for name in ("train", "compare")]
ACTIONS += [("models", name) for name in ("list", "verify", "add")]


@pytest.mark.parametrize("words", [*((verb,) for verb in cli.VERBS), *ACTIONS], ids=" ".join)
def test_help_shows_an_example_and_says_what_it_does(capsys, words):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    out = capsys.readouterr().out
    about, _, example = out.partition("\nexample:\n  ")
    assert end.value.code == 0
    assert example.startswith(f"minimind {' '.join(words)}"), out
    assert len(example.splitlines()) >= 1
    assert "\n\n" in about  # a sentence between the usage and the flags


def test_help_of_clean_says_what_the_quality_rules_are_not_for(capsys):
    with pytest.raises(SystemExit):
        main(["data", "clean", "--help"])
    out = capsys.readouterr().out
    for word in ("Gopher", "web pages", "poems", "tables", "notices", "pretraining-data/filters"):
        assert word in out


@pytest.mark.parametrize(("words", "status"), [([], 0), (["pretrian"], 2)])
def test_one_of_several_processes_says_all_and_keeps_its_status(words, status):
    """It ends without Python's shutdown, where a buffer would be lost."""
    command = [sys.executable, "-m", "minimind_wiki", *words]
    done = [
        subprocess.run(command, capture_output=True, env=os.environ | {"WORLD_SIZE": size})
        for size in ("1", "2")
    ]
    assert [d.returncode for d in done] == [status, status]
    assert done[0].stdout + done[0].stderr == done[1].stdout + done[1].stderr != b""
