"""`minimind tokenizer`, as a reader calls it, and the library behind it."""

import importlib.util
import json

import pytest

from minimind_wiki.cli import main
from minimind_wiki.data.world.rows import KINDS, make_rows
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.compare import (
    compare,
    count_words,
    digits,
    digits_table,
    embedding_share,
)
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML, MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer, save_library, train_library
from minimind_wiki.tokenizer.pretokenize import count_pieces
from minimind_wiki.tokenizer.published import CUTS, QWEN, from_ranks, open_published
from minimind_wiki.tokenizer.samples import SAMPLES, mixed_text
from minimind_wiki.tokenizer.template import TEMPLATE
from minimind_wiki.verbs.tokenizer import world_corpus


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
        (("compare",), 2, "nothing to compare"),
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
    for text in [*SAMPLES.values(), "unseen: ĉ ю 龘 🙂 x\x00", "a<|im_end|>b",
                 "# 1\n## 2\n### 3\n##### 5", "中" * 3000, "-" * 1001]:  # fmt: skip
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


def ranks_of(tokenizer):
    """Our merges in tiktoken's form: the token's bytes, and its place."""
    from base64 import b64encode

    names = [bytes([byte]) for byte in range(256)]
    names += [tokenizer.token_bytes(token) for token in range(259, tokenizer.vocab_size)]
    return b"\n".join(b64encode(name) + b" %d" % rank for rank, name in enumerate(names))


def test_published_files_are_opened_by_their_content(tmp_path):
    """Ranks of our own merges: the same pieces as ours; anything else is told."""
    ours = FastBPETokenizer(*train_fast(count_pieces([mixed_text(300)]), 700, tuple(CHATML)))
    for name in ("own.tiktoken", "tokenizer.model"):
        (tmp_path / name).write_bytes(ranks_of(ours))
        opened = open_published(tmp_path / name)
        assert opened.vocab_size == ours.vocab_size - 3
        for text in [*SAMPLES.values(), mixed_text(50, seed=9)]:
            theirs = [opened.byte_length(token) for token in opened.encode(text)]
            assert theirs == [ours.byte_length(token) for token in ours.encode(text)]
            assert opened.decode(opened.encode(text)) == text
    ours.save(tmp_path)
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        assert open_published(place).encode(SAMPLES["code"]) == ours.encode(SAMPLES["code"])
    (tmp_path / "bad.tiktoken").write_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(MinimindError, match="not a tokenizer that can be read"):
        open_published(tmp_path / "bad.tiktoken")
    with pytest.raises(MinimindError, match="a SentencePiece"):
        open_published(tmp_path / "none.model")


@pytest.mark.parametrize("size", CUTS)
def test_the_published_cuts_lose_nothing(size):
    ranks = {bytes([byte]): byte for byte in range(256)}
    opened = from_ranks(ranks | {b"12": 256, b"123": 257}, "cut", CUTS[size])
    for text in SAMPLES.values():
        assert opened.decode(opened.encode(text)) == text
    parts = [opened.decode([token]) for token in opened.encode("1234")]
    assert parts == (["1", "2", "3", "4"] if CUTS[size] == QWEN else ["123", "4"])


def test_sentencepiece_models_are_opened(tmp_path):
    from minimind_wiki.tokenizer.published import SentencePiece

    file = tmp_path / "m.model"
    file.write_bytes(b"not a model")
    if importlib.util.find_spec("sentencepiece") is None:
        with pytest.raises(MinimindError, match="pip install sentencepiece"):
            open_published(file)
        return
    with pytest.raises(MinimindError, match="not a SentencePiece model"):
        open_published(file)
    import sentencepiece

    text = tmp_path / "t.txt"
    text.write_text(mixed_text(500), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(tmp_path / "m"), vocab_size=500, byte_fallback=True,
        minloglevel=2,
    )  # fmt: skip
    opened = open_published(file)
    assert isinstance(opened, SentencePiece) and opened.vocab_size == 500
    assert opened.decode(opened.encode("The mill.")) == "The mill."


def test_digits_are_counted_as_they_are_cut():
    class Pairs:
        """Two digits a token, but a number that begins with 9 as a whole."""

        vocab_size = 100_000

        def encode(self, text, specials=False):
            number = text.strip()
            parts = [number] if number[0] == "9" else [number[:2], number[2:]]
            return [int(part) + 10 ** len(part) for part in parts]

        def decode(self, ids, specials=False):
            return "".join(str(token)[1:] for token in ids)

    found = digits(Pairs())
    assert found.ways == {(2, 2): 8000, (4,): 1000}
    assert found.per_token == 4 * 9000 / (2 * 8000 + 1000)
    assert "2.12 digits a token, cut in 2 ways, 89% of them as 2+2" in digits_table({"p": Pairs()})


def test_compare_learns_and_opens_published_ones(call, tmp_path):
    ours = FastBPETokenizer(*train_fast(count_pieces([mixed_text(50)]), 300, tuple(CHATML)))
    (tmp_path / "r.tiktoken").write_bytes(ranks_of(ours))
    status, out, _ = call("compare", "--with", f"{tmp_path / 'r.tiktoken'}=ranks",
                          "--learn", "embedded", "--vocab-size", 600)  # fmt: skip
    assert status == 0
    for name in ("ranks", "learned bpe", "learned unigram", "learned wordpiece"):
        assert len([line for line in out.splitlines() if f" {name} " in f" {line} "]) == 5
    assert " no" not in out  # each gives its text back


def test_train_reads_the_little_world(call, tmp_path):
    words = ("train", "--data", "world", "--vocab-size", 400, "--rows", 30)
    status, out, err = call(*words, "--out", tmp_path / "a")
    assert (status, err) == (0, "")
    assert "Data: the little world (pretrain, lessons)" in out and "30 documents" in out
    assert call(*words, "--out", tmp_path / "b")[0] == 0
    assert call(*words, "--seed", 1, "--out", tmp_path / "c")[0] == 0
    a, b, c = ((tmp_path / x / "tokenizer.json").read_bytes() for x in "abc")
    assert a == b != c
    for words, part in [
        (("--data", "world/storys"), "unknown kind of row 'storys'"),
        (("--data", "world", "--rows", 0), "give at least 1"),
        (("--data", "embedded", "--rows", 5), "are for --data world"),
    ]:
        status, _, err = call("train", *words, "--out", tmp_path / "x")
        assert (status, part in err) == (2, True), err
    assert not (tmp_path / "x").exists()


def test_the_world_is_mixed_as_in_training_and_every_kind_has_text():
    mixed = world_corpus(30, seed=3).documents
    assert mixed[:20] == tuple(row["text"] for row in make_rows("pretrain", 20, 3))
    assert mixed[20:] == tuple(row["text"] for row in make_rows("lessons", 10, 3))
    assert len(world_corpus(1).documents) == 1
    for kind in KINDS:
        documents = world_corpus(4, kind=kind).documents
        assert len(documents) == 4 and all(text.strip() for text in documents), kind
