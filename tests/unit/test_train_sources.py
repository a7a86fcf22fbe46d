"""Rows for methods from data folders that describe themselves: by name, bad rows set aside."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train.sources import open_source


def folder(tmp_path, monkeypatch, outputs, name="sft/alpaca_tiny.jsonl"):
    """A data folder with one file of Alpaca's rows."""
    rows = [{"instruction": f"Say {i}.", "input": "", "output": said}
            for i, said in enumerate(outputs)]  # fmt: skip
    file = tmp_path / "data" / name
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = file.read_bytes()
    about = {"file": name, "name": "Tiny", "rows": len(rows), "stored_bytes": len(raw),
             "sha256": hashlib.sha256(raw).hexdigest(), "licence": "CC0"}  # fmt: skip
    (tmp_path / "data" / "MANIFEST.json").write_text(json.dumps({"files": [about]}))
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return file


def test_a_file_of_a_data_folder_is_opened_by_its_name(tmp_path, monkeypatch):
    folder(tmp_path, monkeypatch, [f"{i}" for i in range(40)])
    source = open_source("sft/alpaca_tiny", "sft", 0, 0.1, 64)
    said = {row["conversations"][-1]["content"] for row in source.rows(0, 36)}
    held = {row["conversations"][-1]["content"] for row in source.held_out}
    assert held == {"36", "37", "38", "39"} and said == {str(i) for i in range(36)}
    assert "Left out" not in source.line


def test_bad_rows_of_a_publisher_are_set_aside_and_told(tmp_path, monkeypatch):
    folder(tmp_path, monkeypatch, ["" if i == 6 else f"{i}" for i in range(40)])
    source = open_source("sft/alpaca_tiny", "sft", 0, 0.1, 64)
    assert source.about["left_out"] == 1
    told = re.search(
        r"Left out: 1 bad rows, the first at line 7: .* all are in (\S+)\.$", source.line
    )
    reject = json.loads(Path(told[1]).read_text())
    assert reject["line"] == 7 and json.loads(reject["raw"])["instruction"] == "Say 6."
    said = {row["conversations"][-1]["content"] for row in source.rows(0, 35)}
    assert "" not in said and len(said) == 35


def test_a_file_that_is_mostly_bad_is_refused(tmp_path, monkeypatch):
    folder(tmp_path, monkeypatch, ["" if i % 10 == 0 else f"{i}" for i in range(40)])
    with pytest.raises(MinimindError, match="4 of 40 rows are bad, the first: 1: "):
        open_source("sft/alpaca_tiny", "sft", 0, 0.1, 64)


def test_a_benchmark_and_a_changed_file_are_refused(tmp_path, monkeypatch):
    file = folder(tmp_path, monkeypatch, ["1"] * 40, "math/gsm8k_test.jsonl")
    with pytest.raises(MinimindError, match="not for training"):
        open_source("math/gsm8k_test", "agent", 0, 0.1, 64)
    file.unlink()
    file = folder(tmp_path / "other", monkeypatch, ["1"] * 40)
    file.write_text(file.read_text().replace("Say 3.", "Say 4."))
    with pytest.raises(MinimindError, match="another sha256"):
        open_source("sft/alpaca_tiny", "sft", 0, 0.1, 64)


def test_a_mixture_keeps_its_shares_and_skips_no_row():
    spec = "world/arithmetic=3, world/instructions"
    mixed = open_source(spec, "sft", 7, 0.1, 8)
    alone = [
        open_source(name, "sft", 7, 0.1, 8) for name in ("world/arithmetic", "world/instructions")
    ]
    rows = list(mixed.rows(0, 40))
    for start in range(0, 40, 4):
        assert sum(row in rows[start : start + 4] for row in alone[1].rows(start // 4, 1)) == 1
    for source, many in zip(alone, (30, 10), strict=True):
        assert sorted(map(str, source.rows(0, many))) == sorted(
            str(row) for row in rows if row in list(source.rows(0, many))
        )
    orders = {tuple(row in list(alone[0].rows(0, 30)) for row in rows[i : i + 4])
              for i in range(0, 40, 4)}  # fmt: skip
    assert len(orders) > 1  # not always the same one last
    assert len(mixed.held_out) == 8 and mixed.row(5) == mixed.row(5)
    other = open_source(spec.replace("3", "2"), "sft", 7, 0.1, 8)
    assert other.about["sha256"] != mixed.about["sha256"]
    for wrong in ("world/arithmetic=0,world/sft", "world/arithmetic=x,world/sft"):
        with pytest.raises(WrongCall, match="whole numbers from 1"):
            open_source(wrong, "sft", 0, 0.1, 8)


def test_texts_mix_with_chats_and_with_nothing_else(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(f'{{"text": "Story {n}."}}\n' for n in range(20)))
    source = open_source(f"world/arithmetic=2,world/pretrain,{file}", "sft", 7, 0.1, 8)
    kinds = ["text" in row for row in source.rows(0, 40)]
    assert sum(kinds) == 20 and sum("text" in row for row in source.held_out) == 4
    assert any(row.get("text", "").startswith("Story") for row in source.rows(0, 4))
    for schema in ("preference", "agent"):
        with pytest.raises(WrongCall, match="not of schema"):
            open_source("world/pretrain", schema, 0, 0.1, 8)
    with pytest.raises(MinimindError, match=r"texts\.jsonl:1"):
        open_source(str(file), "preference", 0, 0.1, 8)


def test_prompts_of_one_sort():
    source = open_source("world/rl/sum", "agent", 3, 0.1, 6)
    assert {row["sort"] for row in source.rows(0, 12)} == {"sum"} and len(source.held_out) == 6
    assert len({str(row) for row in source.rows(0, 12)}) == 12
    for wrong in ("world/rl/sums", "world/tools/sum"):
        with pytest.raises(WrongCall, match="sort of rows"):
            open_source(wrong, "agent", 0, 0.1, 8)
