"""The data folder as it lies: each file of its manifest verified, and read or named as unfit."""

import gzip
import hashlib
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from minimind_wiki.data.manifest import READERS, USES, read_manifest, use_of
from minimind_wiki.data.readers import read
from minimind_wiki.data.schemas import check_row
from minimind_wiki.errors import MinimindError

FOLDER = Path(os.environ.get("MINIMIND_DATA", ""))
HERE = os.environ.get("MINIMIND_DATA") and (FOLDER / "MANIFEST.json").is_file()
needs_data = pytest.mark.skipif(not HERE, reason="MINIMIND_DATA names no folder with MANIFEST.json")
FILES = read_manifest(FOLDER) if HERE else []


def make(tmp_path, content=b'{"text": "a"}\n', **more):
    path = tmp_path / "lm" / "a.train.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(content, mtime=0))
    raw = path.read_bytes()
    row = {"file": "lm/a.train.jsonl.gz", "name": "A", "rows": 1, "bytes": len(content),
           "stored_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest(),
           "licence": "MIT", "split": "half of B", **more}  # fmt: skip
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"files": [row]}))
    return path


def test_a_manifest_is_read_and_verified(tmp_path):
    path = make(tmp_path)
    (stored,) = read_manifest(tmp_path)
    assert (stored.path, stored.name, stored.schema) == (path, "lm/a.train", "pretrain")
    assert (stored.reader, stored.unfit, stored.split) == ("text", "", "half of B")
    stored.verify()
    for wrong, message in (
        ({"sha256": "0" * 64}, "another sha256"),
        ({"bytes": 1}, "bytes, MANIFEST.json says 1"),
        ({"file": "lm/b.jsonl"}, "not in the folder"),
        ({"licence": " "}, "states no licence"),
    ):
        with pytest.raises(MinimindError, match=message):
            replace(stored, **wrong).verify()


def test_no_manifest_and_a_damaged_one(tmp_path):
    assert read_manifest(tmp_path) == []
    for text in ("{", "[]", '{"files": [{"file": "x"}]}', '{"files": 3}'):
        (tmp_path / "MANIFEST.json").write_text(text)
        with pytest.raises(MinimindError, match=r"MANIFEST.json is damaged"):
            read_manifest(tmp_path)


def test_uses_name_known_readers_and_the_first_pattern_counts():
    assert {reader for _, reader, _ in USES} <= {"", "plain", *READERS}
    assert all(reader or unfit for _, reader, unfit in USES)
    assert use_of("sft/oasst_en_100_trees.jsonl.gz") == ("oasst", "")
    assert use_of("sft/anything.jsonl") == ("alpaca", "")
    assert "not known" in use_of("new/thing.jsonl")[1]


@needs_data
@pytest.mark.parametrize("stored", FILES, ids=lambda s: s.file)
def test_every_file_is_what_the_manifest_says(stored):
    stored.verify()
    assert "not known" not in stored.unfit
    assert stored.reader or stored.unfit


@needs_data
@pytest.mark.parametrize("stored", [s for s in FILES if s.schema], ids=lambda s: s.name)
def test_every_row_is_read_and_hardly_any_is_faulty(stored):
    if stored.reader == "plain":
        assert stored.path.read_text(encoding="utf-8").count("\n") == stored.rows
        return
    opened = gzip.open if stored.file.endswith(".gz") else open
    rows, made, faults = 0, 0, Counter()
    with opened(stored.path, "rt", encoding="utf-8") as file:
        for line in file:
            rows += 1
            for ours in read(stored.reader, json.loads(line)):
                made += 1
                faults.update(fault.reason for fault in check_row(ours, stored.schema))
    assert rows == stored.rows
    assert made
    assert sum(faults.values()) <= 0.01 * made, faults


@needs_data
def test_what_must_not_be_trained_on_says_so():
    """The folder's README: not on bench/, retrieval/squad*, math/gsm8k_test."""
    for stored in FILES:
        if stored.file.startswith(("bench/", "retrieval/squad", "math/gsm8k_test")):
            assert stored.unfit, stored.file
        if stored.file.startswith(("lm/", "sft/", "preference/")):
            assert not stored.unfit, stored.file
