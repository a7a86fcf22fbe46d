"""The pipeline: nothing is lost, everything has file, line and reason, and all can be undone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from minimind_wiki.data.clean.normalize import unicode_text
from minimind_wiki.data.clean.pii import mask_pii
from minimind_wiki.data.clean.pipeline import Pipeline, side_file, undo
from minimind_wiki.data.clean.step import Edit, Filter, Step
from minimind_wiki.data.clean.steps import Chunk, ExactDuplicates, Sample
from minimind_wiki.errors import MinimindError, WrongCall

LINES = [
    b'{"text": "one"}',
    b'{"text" : "mail a@b.org"}',
    b'{"text": "one"}\r',
    b'{"text": ""}',
    b"not json",
    b'{"text": "\xff"}',
    b'{"text": "bad word"}',
    '{"text": "a long text of two sentences. Here it ends, é."}'.encode(),
    b'{"text":   "kept exactly as it was", "n": 1.50}',
]


def steps() -> list[Step]:
    return [
        Edit("unicode", unicode_text),
        Filter("words", lambda text: "bad word" if "bad" in text else None),
        ExactDuplicates(),
        Edit("pii", mask_pii),
        Chunk(30),
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    return path


def test_each_row_is_kept_changed_or_set_aside_with_its_reason(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "clean.jsonl"
    report = Pipeline(steps()).run([source], out)
    assert out.read_text(encoding="utf-8").split("\n") == [
        '{"text": "one"}',
        '{"text": "mail [EMAIL]"}',
        '{"text": "a long text of two sentences. "}',
        '{"text": "Here it ends, é."}',
        '{"text":   "kept exactly as it was", "n": 1.50}',
        "",
    ]
    side = [json.loads(line) for line in side_file(out).read_text().splitlines()]
    assert [(e["file"], e["line"], e["step"], e["outputs"]) for e in side] == [
        ("in.jsonl", 2, "pii", 1),
        ("in.jsonl", 3, "exact", 0),
        ("in.jsonl", 4, "schema", 0),
        ("in.jsonl", 5, "schema", 0),
        ("in.jsonl", 6, "schema", 0),
        ("in.jsonl", 7, "words", 0),
        ("in.jsonl", 8, "split", 2),
    ]
    assert side[1]["reason"] == "duplicate of in.jsonl:1"
    assert side[2]["reason"] == "text: the string is empty"
    assert side[4]["reason"] == "not UTF-8 (byte 0xff at 10)"
    assert (report.read, report.written, sum(report.rejected.values())) == (9, 5, 3)
    assert report.dropped == {"words": {"bad word": 1}, "exact": {"duplicate": 1}}
    assert report.edited == {"pii": {"e-mail": 1}}
    assert report.examples["exact: duplicate"] == ["in.jsonl:3"]
    assert "9 rows read, 5 written" in report.lines()[0]
    saved = json.loads((out.parent / "clean.jsonl.report.json").read_text())
    assert saved["dropped"] == report.dropped
    assert len(list(out.parent.iterdir())) == 3


def test_undo_gives_every_line_back(source: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "clean.jsonl", tmp_path / "back.jsonl"
    Pipeline([*steps(), Sample({"*": 1.5})]).run([source], out)
    assert undo(out, back) >= 7
    assert back.read_bytes() == source.read_bytes()


def test_undo_of_one_step_brings_back_only_what_it_dropped(source: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "clean.jsonl", tmp_path / "back.jsonl"
    Pipeline(steps()).run([source], out)
    assert undo(out, back, ["words"]) == 1
    rows = back.read_text(encoding="utf-8").splitlines()
    assert rows[1:3] == ['{"text": "mail [EMAIL]"}', '{"text": "bad word"}'] and len(rows) == 6
    out.write_text('{"text": "one"}\n')
    with pytest.raises(MinimindError, match="fewer rows"):
        undo(out, back)


def test_strict_stops_with_file_and_line_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "clean.jsonl"
    with pytest.raises(MinimindError, match=r"in\.jsonl:4: text: the string is empty"):
        Pipeline([], strict=True).run([source], out)
    assert list(out.parent.iterdir()) == []


def test_no_step_is_a_schema_check_of_every_kind_and_reads_gzip(tmp_path: Path) -> None:
    chat = {
        "conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    }
    bad = {"conversations": [{"role": "robot", "content": "q"}]}
    path = tmp_path / "chat.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(chat)}\n{json.dumps(bad)}\n".encode()))
    report = Pipeline([]).run([path], tmp_path / "o.jsonl")
    assert report.written == 1
    assert "conversations[…].role" in next(iter(report.rejected))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(MinimindError, match="cannot be read"):
        Pipeline([]).run([cut], tmp_path / "o2.jsonl")
    assert not (tmp_path / "o2.jsonl").exists()


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(WrongCall, match="same name"):
        Pipeline([Chunk(3), Chunk(4)])
    with pytest.raises(WrongCall, match="unknown schema"):
        Pipeline([], schema="sftt")
    with pytest.raises(WrongCall, match="two sources"):
        Pipeline([]).run([tmp_path / "a", tmp_path / "b" / "a"], tmp_path / "o")
    with pytest.raises(MinimindError, match="cannot be read"):
        Pipeline([]).run([tmp_path / "missing.jsonl"], tmp_path / "o")
