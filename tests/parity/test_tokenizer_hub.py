"""Our BPE, readable and fast, held equal to Hugging Face `tokenizers` and to AutoTokenizer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from minimind_wiki.data import load_corpus
from minimind_wiki.data.world import make_document
from minimind_wiki.tokenizer.bpe import CHARACTERS, BPETokenizer, spell, train
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML, MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer, chunks, train_library
from minimind_wiki.tokenizer.pretokenize import count_pieces, split
from minimind_wiki.tokenizer.samples import SAMPLES, mixed_text

AWKWARD = [
    "", " ", "  two  spaces\n\n\ttab\r\n", " lead", "trail ", "é vs e\u0301", "中文，标点 一二三",
    "🙂‍↔️👩‍👩‍👧", "\x00\x01\x1c\x1f\x7f\x80\x85", "\u2028\ufeff\ufffd\u3000x", "I'll it's 'tis''s",
    "a<|im_start|>b<|endoftext|>", "<|im_", "ﬁ２①Ⅷ½²", "\U0010ffff", " " * 50 + "x" + "-" * 70,
    "<think>\nno\n</think>", "".join(map(chr, range(1, 300))),
]  # fmt: skip


def hub(texts, vocab_size, reserved):
    """Vocabulary and merges (as ids) of the library."""
    model = json.loads(train_library(texts, vocab_size, reserved).to_str())["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return model["vocab"], [(model["vocab"][a], model["vocab"][b]) for a, b in merges]


def unique(merges):
    """A pair that was merged twice keeps its later place only, as in a saved file."""
    last = {pair: rank for rank, pair in enumerate(merges)}
    return sorted(last, key=last.__getitem__)


CORPORA = {
    "mix": lambda: mixed_text(600),
    "shakespeare": lambda: load_corpus().documents[0],  # or the embedded corpus, if it is not here
    "world": lambda: "\n\n".join(make_document(seed).text for seed in range(200)),
}


@pytest.fixture(scope="module", params=CORPORA)
def trained(request):
    text = CORPORA[request.param]()
    return text, hub([text], 512, MINIMIND), count_pieces([text])


def test_fast_training_is_hugging_faces(trained):
    _, (vocabulary, merges), pieces = trained
    ours, our_merges = train_fast(pieces, 512, tuple(MINIMIND))
    assert our_merges == merges
    assert ours == vocabulary
    assert len(ours) == 512


def test_readable_training_is_hugging_faces(trained):
    text, _, _ = trained
    text = text[:30_000]
    ours, merges = train(count_pieces([text]), 600, tuple(CHATML))
    assert (ours, merges) == hub([text], 600, CHATML)
    assert (ours, merges) == train_fast(count_pieces([text]), 600, tuple(CHATML))


def test_minimind_s_size_is_hugging_faces(tmp_path):
    """6,400 entries on plays, world and the Chinese, English and code mix together."""
    text = "\n".join(corpus()[:250_000] for corpus in CORPORA.values())
    vocabulary, merges = train_fast(count_pieces([text]), 6400, tuple(MINIMIND))
    assert (vocabulary, merges) == hub(chunks([text]), 6400, MINIMIND)
    FastBPETokenizer(vocabulary, merges, MINIMIND).save(tmp_path)
    fast, plain, opened = (
        kind.load(tmp_path) for kind in (FastBPETokenizer, BPETokenizer, LibraryTokenizer)
    )
    ids = fast.encode(text)
    assert opened.encode(text) == ids and opened.encode_batch([text, ""]) == [ids, []]
    assert plain.encode(text[-20_000:]) == fast.encode(text[-20_000:])
    assert sum(map(opened.byte_length, ids)) == len(text.encode())
    assert fast.fingerprint == opened.fingerprint


def test_ids_are_those_of_the_library_and_of_transformers(trained, tmp_path):
    from transformers import AutoTokenizer

    text, (vocabulary, merges), _ = trained
    plain = BPETokenizer(vocabulary, merges, MINIMIND)
    plain.save(tmp_path)
    fast = FastBPETokenizer.load(tmp_path)
    assert (fast.merges, fast.vocabulary, fast.reserved) == (merges, vocabulary, MINIMIND)
    auto = AutoTokenizer.from_pretrained(tmp_path)
    roles = (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id)
    assert roles == (plain.pad_id, plain.bos_id, plain.eos_id) == (0, 1, 2)
    assert len(auto) == plain.vocab_size
    assert auto.convert_ids_to_tokens(range(36)) == list(MINIMIND)
    for sample in [*AWKWARD, *SAMPLES.values(), text[:5000]]:
        ids = auto(sample)["input_ids"]
        assert plain.encode(sample, specials=True) == fast.encode(sample, specials=True) == ids
        assert plain.encode(sample) == fast.encode(sample)
        assert plain.decode(plain.encode(sample)) == sample
        assert auto.decode(ids) == fast.decode(ids, specials=True) == sample
        assert auto.decode(ids, skip_special_tokens=True) == fast.decode(ids)


# Few letters: the same token then comes about in several ways and nearly every count ties.
crowded = st.lists(st.text("ab -", min_size=1, max_size=40), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(crowded)
def test_ties_and_repeated_runs_are_hugging_faces(texts):
    vocabulary, merges = train_fast(count_pieces(texts), 290, tuple(CHATML))
    theirs, their_merges = hub(texts, 290, CHATML)
    assert (unique(merges), vocabulary) == (their_merges, theirs)
    plain, fast = (kind(vocabulary, merges, CHATML) for kind in (BPETokenizer, FastBPETokenizer))
    for text in texts:
        assert plain.encode(text) == fast.encode(text)


LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cn"))))
def test_the_cut_is_the_librarys(text):
    assert [spell(piece) for piece in split(text)] == [p for p, _ in LEVEL.pre_tokenize_str(text)]


@pytest.mark.parametrize("text", AWKWARD)
def test_the_cut_of_awkward_text_is_the_librarys(text):
    assert [spell(piece) for piece in split(text)] == [p for p, _ in LEVEL.pre_tokenize_str(text)]
    assert "".join(split(text)) == text


def test_the_alphabet_is_the_librarys():
    assert sorted(CHARACTERS) == sorted(pre_tokenizers.ByteLevel.alphabet())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("a \n\u3000x", max_size=60)), st.integers(1, 9))
def test_chunks_lose_nothing_and_cut_where_the_pattern_does(documents, size):
    parts = list(chunks(documents, size=size))
    assert "".join(parts) == "".join(documents)
    assert count_pieces(parts) == count_pieces(documents)
