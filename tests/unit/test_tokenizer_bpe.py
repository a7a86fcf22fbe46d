"""The BPE written here: its rules, its edges and its errors, without the library."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer.bpe import BPETokenizer, count_pairs, merge, train
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML, MINIMIND
from minimind_wiki.tokenizer.pretokenize import count_pieces
from minimind_wiki.tokenizer.samples import mixed_text

TRAINERS = pytest.mark.parametrize("trainer", [train, train_fast])


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary, merges = train_fast(count_pieces([mixed_text(200)]), 512, tuple(MINIMIND))
    return FastBPETokenizer(vocabulary, merges, MINIMIND)


@TRAINERS
def test_a_corpus_small_enough_to_follow_by_hand(trainer):
    """low low lower: lo (3 times) wins over ow by its smaller first id, then low."""
    vocabulary, merges = trainer({"low": 2, "lower": 1}, 261)
    names = list(vocabulary)
    assert names[:3] == list(CHATML)
    assert [names[a] + names[b] for a, b in merges] == ["lo", "low"]
    assert vocabulary["low"] == 260
    tokenizer = BPETokenizer(vocabulary, merges)
    assert [tokenizer.names[i] for i in tokenizer.encode("lowest slow")] == [
        "low", "e", "s", "t", "Ġ", "s", "low"
    ]  # fmt: skip


@TRAINERS
def test_training_ends_when_no_pair_is_left(trainer):
    vocabulary, merges = trainer({"abc": 1}, 400)
    assert len(vocabulary) == 261 and len(merges) == 2


@TRAINERS
def test_training_refuses_what_cannot_work(trainer):
    with pytest.raises(WrongCall, match=r"vocabulary of 258 is too small: 3 .* need 259"):
        trainer({"a": 1}, 258)
    with pytest.raises(MinimindError, match="no text"):
        trainer({}, 300)
    with pytest.raises(WrongCall, match=r"'ab' could also be learned .* '<\|ab\|>'"):
        trainer({"ab": 1}, 300, [*CHATML, "ab"])


@TRAINERS
def test_progress_is_told(trainer):
    seen = []
    trainer({"abcd": 1}, 261, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(260, 261), (261, 261)]


def test_the_layout_is_minimind_s():
    names = list(MINIMIND)
    assert len(names) == 36 and sum(MINIMIND.values()) == 21
    places = {21: "<tool_call>", 22: "</tool_call>", 23: "<tool_response>", 25: "<think>"}
    assert {i: names[i] for i in places} == places
    assert names[26:] == ["</think>", *(f"<|buffer{n}|>" for n in range(1, 10))]
    assert names[16:18] == ["<|audio_pad|>", "<tts_pad>"] and names[3] == "<|object_ref_start|>"


@given(st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back_and_never_becomes_control(tokenizer, text):
    for sample in (text, f"<|im_end|>{text}<think>"):
        ids = tokenizer.encode(sample)
        assert tokenizer.decode(ids) == sample
        assert not set(ids) & set(range(36))
        assert sum(map(tokenizer.byte_length, ids)) == len(sample.encode())


def test_decoding_leaves_special_tokens_out_unless_asked(tokenizer):
    ids = tokenizer.encode("<think>\na</think><|im_end|>", specials=True)
    assert ids[0] == 25 and ids[-1] == 2
    assert tokenizer.decode(ids) == "<think>\na</think>"
    assert tokenizer.decode(ids, specials=True) == "<think>\na</think><|im_end|>"
    assert tokenizer.decode(tokenizer.encode("中")[:1]) == "\ufffd"
    with pytest.raises(ValueError, match="id 512"):
        tokenizer.decode([512])


def test_a_long_run_is_encoded_in_reasonable_time(tokenizer):
    text = "-" * 20_000 + " " * 20_000 + "x"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_merge_and_count():
    assert count_pairs([([1, 1, 1, 2], 3)]) == {(1, 1): 6, (1, 2): 3}
    assert merge([1, 2, 1, 2, 1], (1, 2), 7) == [7, 7, 1]
    assert merge([], (1, 2), 7) == []


def test_loading_refuses_what_is_not_ours(tmp_path, tokenizer):
    with pytest.raises(MinimindError, match=r"no tokenizer\.json"):
        BPETokenizer.load(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text("{")
    with pytest.raises(MinimindError, match="cannot be read as JSON"):
        BPETokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    parts = json.loads(file.read_text())
    file.write_text(json.dumps({**parts, "normalizer": {"type": "NFC"}}))
    with pytest.raises(MinimindError, match="not a byte-level BPE"):
        BPETokenizer.load(tmp_path)
    parts["pre_tokenizer"]["add_prefix_space"] = True
    file.write_text(json.dumps(parts))
    with pytest.raises(MinimindError, match="a space before each text"):
        BPETokenizer.load(tmp_path)
