"""What the module on tokenization rests on: its labs, its exercise, its passages and measures."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
import torch

from minimind_wiki.book.experiment import load_experiment
from minimind_wiki.errors import MinimindError
from minimind_wiki.lite import worker
from minimind_wiki.tokenizer import ByteTokenizer, bpe
from minimind_wiki.tokenizer.samples import ENGLISH

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = ROOT / "snippets" / "tokenization"


def helper(experiment: str, name: str):
    """A helper of the module's experiments, imported as the experiment imports it."""
    load_experiment(f"tokenization/{experiment}", ROOT)
    return importlib.import_module(f"experiments.tokenization.{name}")


def program(name: str):
    return worker.namespace((SNIPPETS / f"{name}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["merges", "units"])
def test_the_labs_merge_as_the_package_does(name):
    merged = program(name)["merged"]
    for ids in ([1, 1, 1], [1, 1, 1, 1], [2, 1, 1, 2, 1], [1], []):
        want = bpe.merge(ids, (1, 1), 9)
        got = merged([bytes([i]) for i in ids], (b"\1", b"\1"))
        assert [9 if len(token) == 2 else token[0] for token in got] == want


@pytest.mark.parametrize("name", ["merges", "units", "bpe/solution", "bpe/check", "bpe/starter"])
def test_the_cut_loses_no_character(name):
    """The underscore counts as a letter to `re` and is none."""
    pieces = program(name)["PIECES"]
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x20000)]))
    assert "".join(pieces.findall(every)) == every
    assert pieces.findall("my_var __x") == ["my", "_", "var", " __", "x"]


@pytest.mark.parametrize("text", ["", "a", "aaaa"])
def test_the_labs_take_texts_with_little_to_merge(text):
    merges, units = program("merges"), program("units")
    merges["TEXTS"]["rhyme"] = units["TEXTS"]["English"] = text
    found = merges["run"](merges=60)
    assert "No pair is left" in found["text"] and len(found["figure"].panels) == 1
    bars = units["run"]()["figure"].panels[0].bars
    assert all(math.isfinite(size) for bar in bars for size in bar.y)


def test_the_first_lab_picks_the_packages_pairs():
    """Each pair that it merges is, by the package's count, one of the most frequent."""
    lab = program("merges")
    for text in lab["TEXTS"].values():
        history, done = lab["learn"](text, 20, True)
        assert len(history) == len(done) + 1
        for words, (pair, times) in zip(history, done, strict=False):
            numbers = {token: n for n, token in enumerate({t for word in words for t in word})}
            counts = bpe.count_pairs([([numbers[t] for t in word], 1) for word in words])
            assert times == max(counts.values()) == counts[numbers[pair[0]], numbers[pair[1]]]
        assert b"".join(token for word in history[-1] for token in word).decode() == text


def test_the_first_lab_shows_what_its_caption_says():
    shown = (
        program("merges")["run"](text="numbers", merges=12)["text"].splitlines()[-1].split(" | ")
    )
    assert "␣2020" in shown and "␣2021" not in shown and "␣202" in shown
    assert program("merges")["shown"]("石".encode()[:2]) == "E79F"


def test_the_second_lab_says_who_pays():
    run = program("units")["run"]
    line = {source: run(merges=200, source=source)["text"].splitlines()[2] for source in
            ("all", "English")}  # fmt: skip
    characters = len(program("units")["TEXTS"]["Chinese"])
    assert f"{3 * characters} bytes, {characters} characters" in line["all"]
    assert f"{3 * characters} tokens" in line["English"] and line["English"] != line["all"]


def test_the_exercise_is_the_packages_algorithm():
    solved = program("bpe/solution")
    ids = [7, 7, 7, 3, 7, 7]
    assert solved["merge"](ids, (7, 7), 9) == bpe.merge(ids, (7, 7), 9)
    words = [(list(piece.encode()), 1) for piece in solved["PIECES"].findall(ENGLISH)]
    for rank, pair in enumerate(solved["train"](ENGLISH, 60)):
        counts = bpe.count_pairs(words)
        assert pair == min(counts, key=lambda p: (-counts[p], p))
        words = [(bpe.merge(word, pair, 256 + rank), 1) for word, _ in words]
    merges = solved["train"](ENGLISH, 60)
    assert solved["encode"](ENGLISH, merges) == [token for word, _ in words for token in word]


@pytest.fixture(scope="module")
def passages():
    return helper("vocabulary", "_passages")


def test_every_vocabulary_reads_the_same_bytes(passages):
    texts = passages.passages("val", 96, 20)
    assert all(96 <= len(text.encode()) < 200 for text in texts) and len(texts) == 20
    for entries in (259, 600):
        tokenizer = passages.vocabulary(entries)
        for row, text in zip(passages.rows(entries, "val", 96, 20), texts, strict=True):
            assert row[0] == passages.BOS and tokenizer.decode(row[1:]) == text
    lengths = [sum(map(len, passages.rows(n, "val", 96, 20))) for n in (259, 600)]
    assert lengths[0] == sum(len(text.encode()) + 1 for text in texts) > 1.5 * lengths[1]


def test_a_loss_per_byte_does_not_depend_on_the_batch_or_the_chunks(passages):
    settings = load_experiment("tokenization/vocabulary", ROOT).quick
    texts, rows = passages.passages("val", 96, 10), passages.rows(600, "val", 96, 10)
    model = passages.build(600, 32, settings, seed=0)
    bits, nats = passages.bits_per_byte(model, rows, texts)
    one_by_one = sum(passages.bits_per_byte(model, [r], [t])[0] * len(t.encode())
                     for r, t in zip(rows, texts, strict=True))  # fmt: skip
    assert bits == pytest.approx(one_by_one / sum(len(t.encode()) for t in texts), rel=1e-5)
    tokens = sum(len(row) - 1 for row in rows)
    assert bits * sum(len(t.encode()) for t in texts) * math.log(2) == pytest.approx(nats * tokens)
    whole, chunked = (passages.summed(model, rows, most)[0].item() for most in (1 << 21, 5000))
    assert whole == pytest.approx(chunked, rel=1e-5)


def test_what_a_smaller_table_saves_goes_into_the_body(passages):
    experiment = load_experiment("tokenization/vocabulary", ROOT)
    with torch.device("meta"):
        sizes = {}
        for name, arm in experiment.arms.items():
            like = 6400 if arm["same"] == "parameters" else 0
            model = passages.build(arm["entries"], arm["width"], experiment.settings, None, like)
            sizes[name] = model.num_parameters()
    bodies = {sizes[f"v{n}"] - 64 * n for n in (259, 1024, 2048, 6400, 32768)}
    assert len(bodies) == 1
    for name in ("v259_wide", "v1024_wide"):
        assert sizes[name] == pytest.approx(sizes["v6400"], rel=2e-3)


def test_the_groups_of_entries_are_apart():
    load_experiment("tokenization/glitch", ROOT)
    glitch = importlib.import_module("experiments.tokenization.glitch")
    found = glitch.groups(load_experiment("tokenization/glitch", ROOT).quick)
    assert len(found["unused"]) == 13, "bytes that UTF-8 never has"
    assert not set(found["never"]) & set(found["often"]) and len(found["never"]) > 50
    low, high = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0])
    assert glitch.separated(low, high) == 0.875, "three pairs of four, and one tie"


def test_cuts_keep_every_character_and_say_what_they_promise():
    published = helper("side_by_side", "_published")
    text = "In 2024 she sold 12345 shells.\n    return x\n" * 30
    for cut in published.CUTS:
        tokenizer = published.learned([text], 400, cut)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    singles = published.learned([text], 400, "qwen")
    assert len(singles.encode("12345")) == 5 == len(ByteTokenizer().encode("12345"))
    with pytest.raises(MinimindError, match="scripts/published_tokenizers"):
        published.file_of("nobody.json")
