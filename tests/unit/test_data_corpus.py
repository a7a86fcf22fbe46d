"""Files given by path: read whole, or refused with file, place and remedy."""

import gzip
import json

import pytest

from minimind_wiki.data.corpus import load_corpus
from minimind_wiki.errors import MinimindError


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def rows(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress], ids=["plain", "gz"])
def test_text_and_rows_plain_and_gzipped(tmp_path, pack):
    end = ".gz" if pack is gzip.compress else ""
    text = load_corpus(write(tmp_path, f"a.txt{end}", pack("Grüße\r\n".encode())))
    assert text.documents == ("Grüße\r\n",)
    assert text.bytes == 9
    found = load_corpus(write(tmp_path, f"a.jsonl{end}", pack(rows("one", "zwei\u2028drei"))))
    assert found.documents == ("one", "zwei\u2028drei")
    assert "2 documents" in found.describe()


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert load_corpus(write(tmp_path, "a.txt", b"\xef\xbb\xbfhello")).documents == ("hello",)
    found = load_corpus(write(tmp_path, "a.jsonl", b"\xef\xbb\xbf" + rows("x")))
    assert found.documents == ("x",)


def test_the_hash_knows_where_documents_end(tmp_path):
    one = load_corpus(write(tmp_path, "1.jsonl", rows("ab", "c")))
    two = load_corpus(write(tmp_path, "2.jsonl", rows("a", "bc")))
    assert one.sha256 != two.sha256


FAULTS = {
    "empty.txt": (b"", r"empty.txt is empty. Give a file with text"),
    "blank.txt": (b" \n\n", r"blank.txt is empty"),
    "latin.txt": ("eins\nGrüße".encode("latin1"), r"not UTF-8: byte 0xfc at offset 7 \(line 2\)"),
    "bom.txt": (b"\xef\xbb\xbf\nab\xff", r"byte 0xff at offset 6 \(line 2\)"),
    "word.docx": (b"PK", r"word.docx: data is read from .txt, .jsonl.* not from .docx"),
    "plain.txt.gz": (b"hello", r"ends in .gz but is not gzip"),
    "cut.txt.gz": (gzip.compress(b"hello" * 999)[:-12], r"cut.txt.gz is cut or damaged"),
    "empty.jsonl": (b"", r"empty.jsonl is empty"),
    "list.jsonl": (rows("a") + b"[1]\n", r"list.jsonl:2: a list where a JSON object must stand"),
    "half.jsonl": (rows("a") + b'{"text": "b\n', r"half.jsonl:2: not JSON \(.*1 of 2 rows are bad"),
    "key.jsonl": (rows("a") + b'{"txt": "b"}\n', r'key.jsonl:2: the key "text" is missing'),
    "kind.jsonl": (b'{"text": 3}\n', r"kind.jsonl:1: a number where a string must stand"),
    "null.jsonl": (b'{"text": null}\n', r"null.jsonl:1: null where a string must stand"),
    "none.jsonl": (rows("a", "", "b"), r"none.jsonl:2: the string is empty"),
    "gap.jsonl": (rows("a") + b"\n" + rows("b"), r"gap.jsonl:2: the line is empty"),
    "half-char.jsonl": (b'{"text": "a\\ud800"}\n', r"lone surrogate at character 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_sentence_with_the_file_and_what_to_do(tmp_path, name):
    content, message = FAULTS[name]
    with pytest.raises(MinimindError, match=message) as caught:
        load_corpus(write(tmp_path, name, content))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_bad_rows_are_counted_and_the_checker_is_named(tmp_path):
    path = write(tmp_path, "bad.jsonl", rows("a") + b"x\n" + rows("b") + b"y\n")
    with pytest.raises(MinimindError, match=r":2: not JSON .*2 of 4 rows .*minimind data check"):
        load_corpus(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(MinimindError, match=r"no.txt does not exist. Check the path\.$"):
        load_corpus(str(tmp_path / "no.txt"))
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(MinimindError, match=r"d.txt is a folder. Give one file"):
        load_corpus(str(tmp_path / "d.txt"))


def test_bad_rows_are_set_aside_counted_and_warned_of(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bad = [b"x", b'{"text": "\xff"}', b'{"text": 3}']
    path = write(tmp_path, "bad.jsonl", rows("a") + b"\n".join(bad) + b"\n" + rows("b"))
    with pytest.raises(MinimindError, match=r"bad.jsonl:2: .*3 of 5 rows .*with --out DIR"):
        load_corpus(path)
    assert not (tmp_path / "cache").exists()
    with pytest.warns(UserWarning, match=r"3 of 5 rows of .*bad.jsonl are bad and not used"):
        found = load_corpus(path, strict=False)
    assert found.documents == ("a", "b")
    assert found.rejected == 3
    assert found.rejects.is_relative_to(tmp_path / "cache")
    assert f"3 bad rows are in {found.rejects}." in found.describe()
    kept = [json.loads(line) for line in found.rejects.read_text().splitlines()]
    assert [row["line"] for row in kept] == [2, 3, 4]
    assert [row["raw"].encode("utf-8", "surrogateescape") for row in kept] == bad
    assert kept[1]["reason"] == "not UTF-8: byte 0xff at character 10"
    assert kept[2]["field"] == "text"


def test_without_a_good_row_there_is_no_corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(MinimindError, match="No row is left"):
        load_corpus(write(tmp_path, "bad.jsonl", b"x\ny\n"), strict=False)
    assert not (tmp_path / "cache").exists()


def test_rows_with_crlf_are_read_as_if_without(tmp_path):
    path = write(tmp_path, "crlf.jsonl", rows("a", "b").replace(b"\n", b"\r\n"))
    assert load_corpus(path).documents == ("a", "b")
