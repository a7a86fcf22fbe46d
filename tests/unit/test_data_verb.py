"""`minimind data`: what is printed, written and returned."""

import gzip
import hashlib
import json

import pytest

from minimind_wiki.cli import main
from minimind_wiki.data import hub, registry

GOOD = {
    "conversations": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
}
BAD = {"conversations": [{"role": "robot", "content": ""}]}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MINIMIND_DATA", raising=False)
    return tmp_path


def call(capsys, *words):
    status = main(["data", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def write(tmp_path, *rows, name="rows.jsonl"):
    path = tmp_path / name
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    raw = text.encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def tree(folder):
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_list_is_a_table_of_every_set(capsys):
    status, out, _ = call(capsys, "list")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["NAME", "SIZE", "SCHEMA", "LICENCE", "PLACE"]
    assert [line.split()[0] for line in lines[1:]] == ["embedded", *registry.REGISTRY]
    assert "Karpathy" not in out
    status, out, _ = call(capsys, "list", "--long")
    for item in registry.REGISTRY.values():
        assert item.citation in out
        assert item.licence in out
    assert "not known yet" in out


def test_list_shows_what_lies_in_the_data_folder(capsys, tmp_path, monkeypatch):
    row = {"file": "lm/a.jsonl", "name": "A", "rows": 3, "stored_bytes": 1, "sha256": "x",
           "licence": "CC0-1.0"}  # fmt: skip
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"files": [row]}))
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path))
    assert f"Files that lie in {tmp_path}:\nlm/a  3 rows  pretrain    CC0-1.0\n" in call(
        capsys, "list"
    )[1]  # fmt: skip


def test_check_names_every_fault_and_writes_nothing(capsys, tmp_path):
    path = write(tmp_path, GOOD, BAD, "{", '{"text": "\udcff"}', {**GOOD, "id": 1})
    status, out, _ = call(capsys, "check", path)
    assert status == 1
    assert f"{path}:2: conversations[0].role: 'robot' is none of" in out
    assert f"{path}:2: conversations[0].content: the string is empty" in out
    assert f"{path}:3: not JSON" in out
    assert f"{path}:4: not UTF-8 (byte 0xff" in out or f"{path}:4: not UTF-8: byte 0xff" in out
    assert f"{path}: note: unknown keys, ignored: id (1 rows)" in out
    assert f"{path}: 5 rows as sft, 2 good, 3 bad." in out
    assert "with --out DIR" in out
    assert tree(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_check_with_out_parts_good_from_bad(capsys, tmp_path, name):
    raw = json.dumps(GOOD).replace(": ", ":") + "\r"  # a good row stays as it was, but for the CR
    path = write(tmp_path, "\ufeff" + raw, BAD, "{", GOOD, name=name)
    status, _, _ = call(capsys, "check", path, "--out", tmp_path / "out")
    assert status == 1
    assert tree(tmp_path / "out") == ["rows.jsonl", "rows.rejected.jsonl"]
    good = (tmp_path / "out" / "rows.jsonl").read_bytes().decode()
    assert good == raw[:-1] + "\n" + json.dumps(GOOD) + "\n"
    rejected = (tmp_path / "out" / "rows.rejected.jsonl").read_text().splitlines()
    assert [(r["line"], r["raw"]) for r in map(json.loads, rejected)] == [
        (2, json.dumps(BAD)), (3, "{")
    ]  # fmt: skip
    status, out, _ = call(capsys, "check", tmp_path / "out" / "rows.jsonl")
    assert (status, "2 good, 0 bad" in out) == (0, True)


def test_check_strict_stops_at_the_first_bad_row(capsys, tmp_path):
    path = write(tmp_path, GOOD, BAD, "{", GOOD)
    status, out, _ = call(capsys, "check", path, "--strict", "--out", tmp_path / "out")
    assert status == 1
    assert "stopped at the first bad row, line 2" in out
    assert ":3:" not in out
    assert tree(tmp_path) == ["rows.jsonl"]  # no half file
    assert call(capsys, "check", write(tmp_path, GOOD), "--strict")[0] == 0


def test_check_never_writes_over_its_source(capsys, tmp_path):
    path = write(tmp_path, GOOD, BAD)
    before = path.read_bytes()
    status, _, err = call(capsys, "check", path, "--out", tmp_path)
    assert (status, "would write over" in err) == (2, True)
    assert path.read_bytes() == before


def test_check_reads_a_public_set_as_ours(capsys, tmp_path):
    rows = [{"instruction": "Do", "input": "", "output": "ok"}, {"instruction": "Do"}]
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(rows))
    status, out, _ = call(capsys, "check", path, "--reader", "alpaca", "--out", tmp_path / "out")
    assert status == 1
    assert f"{path}:2: not a row of alpaca: the key 'response' is missing" in out
    (row,) = (tmp_path / "out" / "alpaca.jsonl").read_text().splitlines()
    assert json.loads(row)["conversations"][1] == {"role": "assistant", "content": "ok"}


def test_check_wrong_calls_and_text(capsys, tmp_path):
    path = write(tmp_path, GOOD)
    assert call(capsys, "check", path, "--schema", "stf")[0] == 2
    assert call(capsys, "check", path, "--reader", "alpacca")[0] == 2
    assert call(capsys, "check", tmp_path / "no.jsonl")[0] == 1
    assert "is empty" in call(capsys, "check", write(tmp_path, name="empty.jsonl"))[2]
    text = tmp_path / "a.txt"
    text.write_text("one\ntwo\n")
    assert "8 bytes of UTF-8 text, 2 lines" in call(capsys, "check", text)[1]


def test_fetch_prints_the_terms_before_the_first_byte(capsys, tmp_path, monkeypatch):
    source = tmp_path / "source.txt"
    source.write_bytes(b"hello")
    item = registry.Entry(
        name="dolly", about="a test", url=source.as_uri(), licence="CC-BY-NC-4.0", schema="text",
        citation="Nobody 2026", places=("d.txt",), bytes=5,
        sha256=hashlib.sha256(b"hello").hexdigest(),
    )  # fmt: skip
    monkeypatch.setattr(registry, "REGISTRY", {"dolly": item})
    status, out, _ = call(capsys, "fetch", "dolly", "embedded")
    assert status == 0
    assert out.index("CC-BY-NC-4.0") < out.index("Nobody 2026") < out.index("is now at")
    assert "non-commercial use only" in out
    assert "embedded is part of the package" in out
    assert "already at" in call(capsys, "fetch", "dolly")[1]
    assert "did you mean 'dolly'" in call(capsys, "fetch", "dolly", "doly")[2]


def test_fetch_refuses_the_pile_and_says_why(capsys, tmp_path):
    status, _, err = call(capsys, "fetch", "the_pile")
    assert (status, "Books3" in err) == (1, True)


def test_fetch_streams_what_is_no_single_file(capsys, monkeypatch):
    asked = []
    ask = {"role": "user", "content": "a"}
    yes, no = ([ask, {"role": "assistant", "content": text}] for text in ("yes", "no"))
    rows = [{"prompt": "a", "chosen": yes, "rejected": other} for other in (no, yes)]
    monkeypatch.setattr(hub, "stream", lambda *call: asked.append(call) or iter(rows))
    status, out, _ = call(capsys, "fetch", "ultrafeedback", "--rows", 2, "--seed", 3)
    assert status == 0
    assert asked == [("HuggingFaceH4/ultrafeedback_binarized:default:train_prefs", 2, 3, 10_000)]
    assert "2 rows read (the first 2 that came), 1 written, 1 bad ones beside it" in out
    path = registry.find(registry.REGISTRY["ultrafeedback"])
    assert len(path.read_text().splitlines()) == 1


def test_world_to_the_screen_and_with_options(capsys, tmp_path):
    plain = call(capsys, "world", "--kind", "preference", "--rows", 3, "--out", "-")[1]
    rows = [json.loads(line) for line in plain.splitlines()]
    assert [row["flipped"] for row in rows] == [False] * 3
    status, out, _ = call(capsys, "world", "--kind", "preference", "--rows", 3,
                          "--label-noise", 1, "--length-bias", 0.5, "--out", "-")  # fmt: skip
    assert status == 0
    assert [json.loads(line)["flipped"] for line in out.splitlines()] == [True] * 3
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--kind", "sft", "--label-noise", "0.1"), "is for the kinds preference, not for sft"),
        (("--kind", "preference", "--label-noise", "1.5"), "a share from 0 to 1, not 1.5"),
        (("--kind", "preference", "--length-bias", "nan"), "a share from 0 to 1, not nan"),
        (("--kind", "sftt"), "did you mean 'sft'"),
        (("--rows", "0"), "give at least 1"),
    ],
)
def test_world_wrong_calls_leave_no_file(capsys, tmp_path, words, reason):
    status, _, err = call(capsys, "world", *words, "--out", tmp_path / "w.jsonl")
    assert (status, reason in err) == (2, True), err
    assert tree(tmp_path) == []


def test_world_writes_a_file_that_passes_its_check(capsys, tmp_path):
    out = tmp_path / "w.jsonl"
    assert call(capsys, "world", "--kind", "tools", "--rows", 20, "--out", out)[0] == 0
    assert call(capsys, "check", out, "--schema", "agent")[0] == 0
