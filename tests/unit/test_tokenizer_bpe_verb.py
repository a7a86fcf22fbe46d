"""`minimind tokenizer`, as a reader calls it, and the library behind it."""

import json

import pytest

from minimind_wiki.cli import main
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.compare import compare, count_words, embedding_share
from minimind_wiki.tokenizer.layout import CHATML, MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer, save_library, train_library
from minimind_wiki.tokenizer.samples import SAMPLES, mixed_text
from minimind_wiki.tokenizer.template import TEMPLATE


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the verb in a place without data: (status, out, err)."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*words):
        try:
            status = main(["tokenizer", *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_train_writes_the_same_folder_with_and_without_the_library(call, tmp_path):
    words = ("train", "--data", "embedded", "--vocab-size", 512, "--out")
    status, out, err = call(*words, tmp_path / "a")
    assert (status, err) == (0, "")
    assert "Data: the embedded village corpus" in out
    assert "Learned 512 entries, 36 of them reserved" in out
    assert call(*words, tmp_path / "b", "--plain")[0] == 0
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    config = json.loads((tmp_path / "a/tokenizer_config.json").read_text())
    assert config["chat_template"] == TEMPLATE and config["eos_token"] == "<|im_end|>"
    parts = json.loads((tmp_path / "a/tokenizer.json").read_text())
    added = {token["content"]: token["special"] for token in parts["added_tokens"]}
    assert added == MINIMIND and [t["id"] for t in parts["added_tokens"]] == list(range(36))
    status, _, err = call(*words, tmp_path / "a")
    assert status == 1 and "has a tokenizer.json already" in err


def test_compare_prints_a_table(call, tmp_path):
    for size in (300, 512):
        words = ("--data", "embedded", "--layout", "chatml", "--vocab-size", size)
        assert call("train", *words, "--out", tmp_path / str(size))[0] == 0
    status, out, _ = call("compare", tmp_path / "300", tmp_path / "512")
    assert status == 0
    assert all(out.count(f"\n{name} ") == 2 for name in SAMPLES)
    assert "bytes/token  tokens/word  embedding" in out and "the model '26m'" in out
    file = tmp_path / "own.txt"
    file.write_text("Mira is at the mill. 安娜 。")
    status, out, _ = call("compare", tmp_path / "512", "--data", file, "--preset", "tiny")
    assert status == 0 and "\nown.txt " in out and out.count("yes") == 1


def test_wrong_calls_are_told_in_one_line(call, tmp_path):
    out = ("--data", "embedded", "--out", tmp_path / "x")
    (tmp_path / "empty.txt").write_text(" \n")
    for words, status, part in [
        (("train", *out, "--vocab-size", 200), 2, "vocabulary of 200 is too small: 36 reserved"),
        (("train", *out, "--vocab-size", 200, "--plain"), 2, "need 292 entries"),
        (("train", *out, "--vocab-size", 500, "--kind", "wordpiece"), 2, "each byte twice"),
        (("train", *out, "--layout", "minimynd"), 2, "did you mean 'minimind'"),
        (("train", *out, "--kind", "bpee"), 2, "did you mean 'bpe'"),
        (("train", *out, "--kind", "unigram", "--plain"), 2, "--plain learns bpe only"),
        (("train", "--data", tmp_path / "empty.txt", "--out", tmp_path / "x"), 1, "is empty"),
        (("train", "--data", "shakespear", "--out", tmp_path / "x"), 2, "tinyshakespeare"),
        (("compare", tmp_path), 1, "tokenizer.json does not exist"),
        (("compare", tmp_path / "empty.txt"), 1, "not a tokenizer that can be read"),
        (("train",), 2, "--out"),
    ]:
        found, _, err = call(*words)
        assert (found, err.count("\n")) == (status, 1), words
        assert part in err, words
    assert not (tmp_path / "x").exists()


def test_help_shows_an_example(call):
    status, out, _ = call("--help")
    assert status == 0 and "example:\n  minimind tokenizer train " in out


def test_a_text_too_small_for_the_vocabulary_is_told(call, tmp_path):
    (tmp_path / "s.txt").write_text("abc")
    status, out, _ = call("train", "--data", tmp_path / "s.txt", "--out", tmp_path / "s")
    assert status == 0 and "The text gave 294 of 6,400 entries" in out


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_other_kinds_lose_nothing_and_keep_reserved_tokens_data(kind, tmp_path):
    learned = train_library([mixed_text(300)], 1000, CHATML, kind)
    save_library(learned, tmp_path, CHATML, kind)
    tokenizer = LibraryTokenizer.load(tmp_path)
    assert tokenizer.vocab_size <= 1000
    assert [tokenizer.special_ids[token] for token in CHATML] == [0, 1, 2]
    for text in [*SAMPLES.values(), "unseen: ĉ ю 龘 🙂 x\x00", "a<|im_end|>b"]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert not {0, 1, 2} & set(ids)
    assert tokenizer.encode("a<|im_end|>", specials=True)[-1] == 2


def test_the_library_refuses_no_text_and_an_unknown_kind():
    with pytest.raises(MinimindError, match="no text"):
        train_library([""], 300)
    with pytest.raises(WrongCall, match="did you mean 'unigram'"):
        train_library(["a"], 300, kind="unigrams")


def test_compare_counts_what_it_says(tmp_path):
    assert count_words("It's 12 o'clock.\n安娜，hi") == 6
    assert embedding_share(10, 5, 50) == 0.5
    assert embedding_share(10, 5, 100, tied=False) == 0.5

    class Letters:
        vocab_size = 10

        def encode(self, text, specials=False):
            return [ord(c) for c in text]

        def decode(self, ids, specials=False):
            return "".join(map(chr, ids))

    (row,) = compare({"letters": Letters()}, {"t": "né 中"}, 5, 50)
    assert (row.bytes, row.tokens, row.words, row.exact) == (7, 4, 2, True)
    assert (row.bytes_per_token, row.fertility, row.embedding_share) == (1.75, 2.0, 0.5)
    with pytest.raises(MinimindError, match="t has no words"):
        compare({"letters": Letters()}, {"t": " \n"}, 5, 50)
