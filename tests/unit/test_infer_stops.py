"""Text as it arrives: the pieces joined are the whole, cut at the first stop string."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.stops import TextStream
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.tokenizer.bpe import BPETokenizer, train
from minimind_wiki.tokenizer.layout import MINIMIND
from minimind_wiki.tokenizer.library import LibraryTokenizer
from minimind_wiki.tokenizer.pretokenize import count_pieces

SAMPLE = "naïve café — 你好，世界！ 🙂🙂 the cat, the hat"
LEARNED = BPETokenizer(*train(count_pieces([SAMPLE] * 3), 330, list(MINIMIND)), MINIMIND)


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> LibraryTokenizer:
    folder = tmp_path_factory.mktemp("bpe")
    LEARNED.save(folder)
    return LibraryTokenizer.load(folder)


class Pieces:
    """Every id is a piece of bytes. Decoding more than one token at a time is refused."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def token_bytes(self, token: int) -> bytes:
        return self.pieces[token]

    def decode(self, ids: list[int]) -> str:
        assert len(ids) == 1
        return self.pieces[ids[0]].decode()


def shown(stream: TextStream, ids) -> list[str]:
    return [stream.push(token) for token in ids] + [stream.finish()]


def cut(text: str, stop: list[str]) -> str:
    """The definition: read character by character; end where a stop string is complete."""
    for end in range(1, len(text) + 1):
        ending = [s for s in stop if text[:end].endswith(s)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


def may_be_shown(text: str, stop: list[str]) -> str:
    """All but the longest end that some stop string begins with."""
    for at in range(len(text)):
        if any(len(s) > len(text) - at and s.startswith(text[at:]) for s in stop):
            return text[:at]
    return text


LETTERS = st.text(st.sampled_from("ab é🙂"), max_size=30)
STOPS = st.lists(st.text(st.sampled_from("ab é🙂"), min_size=1, max_size=5), max_size=4)


@st.composite
def split_text(draw) -> tuple[str, list[bytes]]:
    """A text, and its bytes cut anywhere, also inside characters, also into nothing."""
    text = draw(LETTERS)
    raw = text.encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    return text, [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@settings(deadline=None, max_examples=300)
@given(split_text(), STOPS)
@example(("abab", [b"abab"]), ["abab", "ba"])  # the one that ends first, not that begins first
def test_the_pieces_joined_are_the_text_cut_at_the_first_stop_string(split, stop):
    text, pieces = split
    stream = TextStream(Pieces(pieces), stop)
    assert "".join(shown(stream, range(len(pieces)))) == cut(text, stop)
    assert stream.stopped == any(s in text for s in stop)


@settings(deadline=None, max_examples=200)
@given(LETTERS, STOPS)
def test_nothing_is_kept_back_that_is_known(text, stop):
    """After each byte: all whole characters, but for what a stop string could begin with."""
    raw = text.encode()
    stream, so_far = TextStream(ByteTokenizer(), stop), ""
    for place, byte in enumerate(raw, 1):
        so_far += stream.push(byte)
        seen = raw[:place].decode(errors="ignore")
        if any(s in seen for s in stop):
            assert so_far == cut(seen, stop)
            break
        assert so_far == may_be_shown(seen, stop)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.integers(0, 258), st.integers(0x80, 0xFF)), max_size=40))
def test_any_bytes_decode_as_all_at_once(ids):
    assert "".join(shown(TextStream(ByteTokenizer()), ids)) == ByteTokenizer().decode(ids)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, LEARNED.vocab_size - 1), max_size=20))
def test_learned_tokens_decode_as_all_at_once(opened, ids):
    wanted = LEARNED.decode(ids)
    assert opened.decode(ids) == wanted
    for tokenizer in (LEARNED, opened):
        assert "".join(shown(TextStream(tokenizer), ids)) == wanted


def test_the_library_spells_tokens_as_the_readable_form_does(opened):
    for token in range(LEARNED.vocab_size):
        assert opened.token_bytes(token) == LEARNED.token_bytes(token)
        assert len(opened.token_bytes(token)) == opened.byte_length(token)
    for tokenizer in (opened, LEARNED, ByteTokenizer()):
        with pytest.raises(ValueError, match="is not in 0"):
            tokenizer.token_bytes(tokenizer.vocab_size)


def test_a_sentencepiece_tokenizer_keeps_the_space_between_prompt_and_answer():
    vocabulary = {"<unk>": 0, "▁the": 1, "▁cat": 2, "s": 3}
    vocabulary |= {f"<0x{byte:02X}>": 4 + byte for byte in range(256)}
    steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
             {"type": "ByteFallback"}, {"type": "Fuse"},
             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]  # fmt: skip
    parts = {
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "<unk>", "special": True, "single_word": False,
                          "lstrip": False, "rstrip": False, "normalized": False}],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>",
                  "byte_fallback": True, "fuse_unk": True},
        "decoder": {"type": "Sequence", "decoders": steps},
    }  # fmt: skip
    tokenizer = LibraryTokenizer(json.dumps(parts))
    half = [4 + byte for byte in "é".encode()]
    assert shown(TextStream(tokenizer), [2, 3, *half, 0, 1]) == [
        " cat",
        "s",
        "",
        "é",
        "",
        " the",
        "",
    ]
    assert tokenizer.decode([2, 3, *half, 0, 1]) == "cats" + "é the"
    with pytest.raises(MinimindError, match="not byte-level"):
        tokenizer.byte_length(1)
    del parts["decoder"]
    with pytest.raises(MinimindError, match="neither byte-level nor"):
        TextStream(LibraryTokenizer(json.dumps(parts))).push(1)


def test_reserved_tokens_show_their_names_and_special_ones_nothing():
    think, end = LEARNED.special_ids["<think>"], LEARNED.eos_id
    ids = [think, *LEARNED.encode("a"), end]
    assert shown(TextStream(LEARNED), ids) == ["<think>", "a", "", ""]
    stream = TextStream(LEARNED, ["<think>"])  # such a name can also stop
    assert shown(stream, ids) == ["", "", "", ""] and stream.stopped


def test_half_a_character_at_the_end_is_told():
    assert shown(TextStream(ByteTokenizer()), "aé".encode()[:-1]) == [
        "a",
        "",
        "\N{REPLACEMENT CHARACTER}",
    ]


def test_an_empty_stop_string_is_refused():
    with pytest.raises(WrongCall, match="a stop string is empty"):
        TextStream(ByteTokenizer(), ["a", ""])
