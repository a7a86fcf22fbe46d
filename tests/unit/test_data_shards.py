"""Shards give back what was written, appear whole or not at all, and name each kind of damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.data.shards import HEADER, Shard, ShardWriter, tokenizer_hash, write_shards
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import ByteTokenizer

TEXTS = [f"document {i} " * (i % 7 + 1) for i in range(50)] + ["", "你好 <|im_end|>"]


def write(path: Path, documents: list[list[int]], vocab: int = 300) -> Path:
    with ShardWriter(path, "t" * 64, vocab) as shard:
        for ids in documents:
            shard.add(ids)
    return path


@given(st.lists(st.lists(st.integers(0, 70_000), max_size=20), max_size=10), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], wide: bool
) -> None:
    vocab = 70_001 if wide else 65_536
    documents = [[i % vocab for i in ids] for ids in documents]
    path = tmp_path_factory.mktemp("s") / "a.tokens"
    with ShardWriter(path, "x", vocab, loss=True) as out:
        for ids in documents:
            out.add(ids, [i % 2 for i in ids])
    shard = Shard(path, "x")
    shard.verify()
    assert shard.ids.dtype == (np.uint32 if wide else np.uint16)
    assert [shard.document(i).tolist() for i in range(shard.documents)] == documents
    assert shard.flags is not None and (shard.flags == shard.ids % 2).all()
    assert shard.lengths().tolist() == [len(ids) for ids in documents]


def test_shards_of_a_corpus_hold_each_document_and_its_end(tmp_path: Path) -> None:
    tokenizer = ByteTokenizer()
    paths = write_shards(TEXTS, tmp_path, tokenizer, shard_tokens=800)
    assert len(paths) > 2 and [p.name for p in paths][:2] == ["00000.tokens", "00001.tokens"]
    shards = [Shard(path, tokenizer_hash(tokenizer)) for path in paths]
    read = [s.document(i) for s in shards for i in range(s.documents)]
    assert all(ids[0] == tokenizer.bos_id and ids[-1] == tokenizer.eos_id for ids in read)
    assert all((ids[1:-1] < 256).all() for ids in read)
    assert [tokenizer.decode(ids.tolist()) for ids in read] == TEXTS
    assert all(800 <= s.tokens < 1000 for s in shards[:-1])


def test_several_workers_write_the_same_bytes(tmp_path: Path) -> None:
    texts = [f"{i} " * (i % 30) for i in range(700)]
    one = write_shards(texts, tmp_path / "1", ByteTokenizer())
    two = write_shards(texts, tmp_path / "2", ByteTokenizer(), workers=2)
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_the_header_can_be_read_without_this_program(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tokens", [[1, 2, 3], [4]])
    header = json.loads(path.read_bytes()[:HEADER])
    assert (header["tokens"], header["documents"], header["dtype"]) == (4, 2, "uint16")
    assert np.fromfile(path, "<u2", 4, offset=HEADER).tolist() == [1, 2, 3, 4]


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.tokens", [[7]])
    with pytest.raises(WrongCall, match="document 1 has an id outside"):
        write(tmp_path / "a.tokens", [[1], [300]])
    assert Shard(tmp_path / "a.tokens").ids.tolist() == [7]  # the old one is untouched
    assert [p.name for p in tmp_path.iterdir()] == ["a.tokens"]
    with pytest.raises(MinimindError, match="no document"):
        write_shards([], tmp_path, ByteTokenizer())


def header_with(**changes: object) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        header = json.loads(raw[:HEADER]) | changes
        return json.dumps(header).encode().ljust(HEADER) + raw[HEADER:]

    return change


def flip(raw: bytes) -> bytes:
    return raw[:HEADER] + bytes([raw[HEADER] ^ 1]) + raw[HEADER + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], "is cut: 4,127 bytes where its header says 4,128"),
        (lambda raw: raw + b"x", "extra bytes"),
        (lambda raw: raw[:100], "is cut: 100 bytes, less than its header"),
        (lambda raw: b"", "is cut: 0 bytes"),
        (lambda raw: b"\0" * len(raw), "not JSON"),
        (header_with(format="other"), "not a token shard"),
        (header_with(version=2), "version 2; this program reads 1"),
        (header_with(dtype="int8"), "dtype 'int8'"),
        (header_with(dtype="uint32"), "is cut"),
        (header_with(vocab_size=1 << 17), "dtype 'uint16' for 131072 ids"),
        (header_with(tokens=-1), "impossible counts"),
        (header_with(tokens="4"), "impossible counts"),
        (header_with(tokens=3), "offsets that do not span"),
        (header_with(sha256=None), "without tokenizer or sha256"),
    ],
)
def test_damage_is_named_when_a_shard_is_opened(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = write(tmp_path / "a.tokens", [[1, 2, 3], [0]])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MinimindError, match=message):
        Shard(path)


def test_a_flipped_bit_is_found_by_verify(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tokens", [[1, 2, 3], [0]])
    Shard(path).verify()
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(MinimindError, match="its sha256 is not"):
        Shard(path).verify()


def test_another_tokenizer_is_refused_and_the_hash_tells_tokenizers_apart(tmp_path: Path) -> None:
    class Shifted(ByteTokenizer):
        def encode(self, text: str, specials: bool = False) -> list[int]:
            return super().encode(text, specials)[::-1]

    assert tokenizer_hash(ByteTokenizer()) == tokenizer_hash(ByteTokenizer())
    assert tokenizer_hash(ByteTokenizer()) != tokenizer_hash(Shifted())
    path = write(tmp_path / "a.tokens", [[1]])
    with pytest.raises(MinimindError, match="written with another tokenizer"):
        Shard(path, "u" * 64)
    with pytest.raises(MinimindError, match="cannot be read"):
        Shard(tmp_path / "missing")


def test_loss_flags_must_fit(tmp_path: Path) -> None:
    with (
        pytest.raises(WrongCall, match="2 loss flags for 3"),
        ShardWriter(tmp_path / "a", "x", 9, loss=True) as out,
    ):
        out.add([1, 2, 3], [1, 0])
    with (
        pytest.raises(WrongCall, match="all documents"),
        ShardWriter(tmp_path / "a", "x", 9) as out,
    ):
        out.add([1], [1])
