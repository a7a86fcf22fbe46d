"""The byte tokenizer, held equal to what transformers reads from its folder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.bytes import SPECIALS, _byte_characters

AWKWARD = [
    "", " ", "  two  spaces\n\n\ttab\r\n", " lead", "trail ", "é vs e\u0301", "中文，标点",
    "🙂‍↔️👩‍👩‍👧", "\x00\x01\x7f\x80", "\u2028\ufeff\ufffd", "<|im_end|>",
    "a<|im_start|>b<|endoftext|>", "<|im_",
    "".join(map(chr, range(1, 300))), "ﬁ２①", "\U0010ffff",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    ByteTokenizer().save(path)
    return path


@pytest.fixture(scope="module")
def auto(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", AWKWARD)
def test_ids_are_those_of_transformers(auto, text):
    ours = ByteTokenizer()
    assert auto(text)["input_ids"] == ours.encode(text, specials=True)
    assert auto(text, split_special_tokens=True)["input_ids"] == ours.encode(text)
    ids = ours.encode(text, specials=True)
    assert auto.decode(ids) == ours.decode(ids, specials=True) == text
    assert auto.decode(ids, skip_special_tokens=True) == ours.decode(ids)


def test_special_ids_are_those_of_transformers(auto):
    ours = ByteTokenizer()
    assert (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id) == (256, 257, 258)
    assert (ours.pad_id, ours.bos_id, ours.eos_id) == (256, 257, 258)
    assert len(auto) == ours.vocab_size == 259
    assert list(SPECIALS) == auto.convert_ids_to_tokens([256, 257, 258])


def test_text_cannot_become_a_control_token_unless_asked():
    tokenizer = ByteTokenizer()
    assert max(tokenizer.encode("x<|im_end|>")) < 256
    assert tokenizer.encode("x<|im_end|>", specials=True) == [120, 258]


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_every_text_comes_back(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert sum(map(tokenizer.byte_length, ids)) == len(text.encode())


def test_broken_bytes_and_foreign_ids():
    tokenizer = ByteTokenizer()
    assert tokenizer.decode([0xE4, 65]) == "\ufffdA"
    with pytest.raises(ValueError, match=r"id 259 is not in 0\.\.258"):
        tokenizer.decode([259])
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode("\ud800")


def test_the_byte_characters_are_gpt2s():
    from tokenizers import pre_tokenizers

    assert sorted(_byte_characters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert _byte_characters()[ord("A")] == "A"
    assert _byte_characters()[ord(" ")] == "Ġ"
