"""One face for every tokenizer: what is saved is opened again, by what the files say."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.data.shards import tokenizer_hash
from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from minimind_wiki.tokenizer.bpe import BPETokenizer
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML, MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer, save_library, train_library
from minimind_wiki.tokenizer.pretokenize import count_pieces
from minimind_wiki.tokenizer.samples import SAMPLES, mixed_text

TEXT = mixed_text(200)
LEARNED = train_fast(count_pieces([TEXT]), 600, tuple(MINIMIND))


def library(kind: str) -> LibraryTokenizer:
    learned = train_library([TEXT], 800, CHATML, kind)
    return LibraryTokenizer(learned.to_str())


# Annotated, so that the type checker holds each class against the protocol.
MAKERS: dict[str, Tokenizer] = {
    "bytes": ByteTokenizer(),
    "readable": BPETokenizer(*LEARNED, MINIMIND),
    "fast": FastBPETokenizer(*LEARNED, MINIMIND),
    "library bpe": library("bpe"),
    "unigram": library("unigram"),
    "wordpiece": library("wordpiece"),
}
AWKWARD = [*SAMPLES.values(), "", " \n", "naïve 🙂 龘\x00", "a<|im_end|>b<think>", "x" * 700]


@pytest.fixture(scope="module", params=MAKERS)
def pair(request, tmp_path_factory):
    """A tokenizer as it was made, and as its folder gives it back."""
    made = MAKERS[request.param]
    folder = tmp_path_factory.mktemp("saved")
    made.save(folder)
    return made, load_tokenizer(folder)


def test_a_saved_tokenizer_comes_back_with_its_ids_and_roles(pair, tmp_path):
    made, loaded = pair
    assert loaded.vocab_size == made.vocab_size
    roles = (made.pad_id, made.bos_id, made.eos_id)
    assert (loaded.pad_id, loaded.bos_id, loaded.eos_id) == roles and len(set(roles)) == 3
    ids = [made.encode(text) for text in AWKWARD]
    assert loaded.encode_batch(AWKWARD) == made.encode_batch(AWKWARD) == ids
    assert [loaded.encode(text) for text in AWKWARD] == ids
    assert [loaded.decode(one) for one in ids] == [made.decode(one) for one in ids] == AWKWARD
    tokens = range(made.vocab_size)
    assert [loaded.byte_length(t) for t in tokens] == [made.byte_length(t) for t in tokens]
    loaded.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == loaded.fingerprint == made.fingerprint
    assert [again.encode(text) for text in AWKWARD] == ids


def test_the_fingerprint_is_that_of_the_shards(pair):
    made, loaded = pair
    assert made.fingerprint == tokenizer_hash(made) == tokenizer_hash(loaded)


def test_fingerprints_differ_where_ids_do():
    distinct = {name: made.fingerprint for name, made in MAKERS.items()}
    assert distinct.pop("readable") == distinct["fast"]
    assert len(set(distinct.values())) == len(distinct)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_lengths_add_up_to_the_bytes_of_the_text(pair, text):
    for tokenizer in pair:
        for sample in (text, f"<|im_start|>{text}<think>"):
            ids = tokenizer.encode(sample)
            assert sum(map(tokenizer.byte_length, ids)) == len(sample.encode())
            assert not {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id} & set(ids)
    assert pair[0].byte_length(pair[0].eos_id) == 0


def test_ids_outside_the_vocabulary_are_refused(pair):
    for tokenizer in pair:
        for token in (-1, tokenizer.vocab_size):
            with pytest.raises(ValueError, match=f"id {token} is not in"):
                tokenizer.decode([token])


def test_a_tokenizer_can_be_sent_to_a_worker(pair):
    for tokenizer in pair:
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert copy.encode(AWKWARD[0]) == tokenizer.encode(AWKWARD[0])


def test_the_readable_form_opens_the_same_folder(tmp_path):
    save_library(train_library([TEXT], 600, MINIMIND), tmp_path, MINIMIND)
    readable, opened = FastBPETokenizer.load(tmp_path), load_tokenizer(tmp_path)
    assert isinstance(opened, LibraryTokenizer)
    assert readable.fingerprint == opened.fingerprint == MAKERS["fast"].fingerprint
    for text in AWKWARD:
        assert readable.encode(text) == opened.encode(text)


def foreign(tmp_path, config):
    """A folder as others publish them: their config, a template in a file of its own."""
    MAKERS["fast"].save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return load_tokenizer(tmp_path)


def test_a_folder_of_others_is_opened_by_its_roles(tmp_path):
    opened = foreign(tmp_path, {"eos_token": {"content": "<|im_end|>"}, "bos_token": None})
    assert (opened.eos_id, opened.bos_id, opened.pad_id) == (2, 2, 2)
    opened.save(tmp_path / "again")
    kept = json.loads((tmp_path / "again/tokenizer_config.json").read_text())
    assert kept["chat_template"] == "{{ messages }}"
    with pytest.raises(MinimindError, match="names no eos_token"):
        foreign(tmp_path, {"eos_token": "</s>"})


def test_tokens_that_are_no_bytes_have_no_length():
    parts = json.loads(library("unigram").text)
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    parts |= {"decoder": metaspace, "pre_tokenizer": metaspace}
    with pytest.raises(MinimindError, match="not byte-level"):
        LibraryTokenizer(json.dumps(parts)).byte_length(5)


def test_what_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(MinimindError, match=r"has no tokenizer_config\.json"):
        load_tokenizer(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    for content, message in [("{", "cannot be read as JSON"), ("[]", "holds no settings"),
                             ('{"tokenizer_class": "X"}', "does not exist")]:  # fmt: skip
        file.write_text(content)
        with pytest.raises(MinimindError, match=message):
            load_tokenizer(tmp_path)
