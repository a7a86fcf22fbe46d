"""Files to shards: the same bytes for any number of workers and any interruption; faults named."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimind_wiki.data.loader import Loader
from minimind_wiki.data.shards import INDEX, Shard
from minimind_wiki.data.tokenize import REJECTED, State, tokenize_files
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.verbs import _data_shard as verb

TOKENIZER = ByteTokenizer()


def chat(user: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {"conversations": turns}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Texts with faults in lines 3 and 8, chats (gzipped) with a fault in line 2."""
    texts = [json.dumps({"text": f"text {i} " * (i % 11 + 1)}) for i in range(700)]
    texts[2], texts[7] = '{"text": 5}', "not json"
    chats = [json.dumps(chat(f"q{i}", f"a{i}" * (i % 40 + 1))) for i in range(300)]
    chats[1] = json.dumps({"conversations": [{"role": "user", "content": "alone"}]})
    one, two = tmp_path / "texts.jsonl", tmp_path / "chats.jsonl.gz"
    one.write_text("\n".join(texts) + "\n", encoding="utf-8")
    with gzip.open(two, "wt", encoding="utf-8") as file:
        file.write("\n".join(chats) + "\n")
    return [one, two]


def run(files: list[Path], out: Path, **more: Any) -> State:
    return tokenize_files(files, out, TOKENIZER, shard_tokens=12_000, max_tokens=120, **more)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_bytes_do_not_depend_on_the_workers(files: list[Path], tmp_path: Path) -> None:
    one = run(files, tmp_path / "1")
    run(files, tmp_path / "2", workers=2)
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert len(one.shards) > 5 and one.documents == 700 + 300 - 3


def test_documents_and_flags_are_those_of_the_rows(files: list[Path], tmp_path: Path) -> None:
    run(files, tmp_path / "o")
    shards = [Shard(p, TOKENIZER.fingerprint) for p in sorted((tmp_path / "o").glob("*.tokens"))]
    read = [(s, i) for s in shards for i in range(s.documents)]
    shard, number = read[2]  # the third good text, line 4
    assert TOKENIZER.decode(shard.document(number).tolist()) == "text 3 " * 4
    assert shard.document(number)[-1] == TOKENIZER.eos_id
    shard, number = read[698]  # the first chat
    low, high = int(shard.offsets[number]), int(shard.offsets[number + 1])
    assert shard.flags is not None and shard.flags[: shard.offsets[1]].all()
    learned = shard.ids[low:high][shard.flags[low:high] > 0]
    assert TOKENIZER.decode(learned.tolist()) == "<think>\n\n</think>\n\na0"
    for shard in shards:
        shard.verify()


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 120, 500, 720, 998])
def test_an_interrupted_run_ends_with_the_same_bytes(
    files: list[Path], tmp_path: Path, at: int
) -> None:
    run(files, tmp_path / "whole")
    seen = 0

    def stop(done: int, total: int | None, tokens: int) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            raise Killed

    out = tmp_path / "o"
    with pytest.raises(Killed):
        run(files, out, progress=stop)
    if at > 200:
        with pytest.raises(MinimindError, match="was interrupted"):
            Loader(out, 64, 4)
    (out / "00000.tokens.part77").write_bytes(b"left by a process that was killed")
    lines: list[int] = []
    run(files, out, progress=lambda *_: lines.append(1))
    assert content(out) == content(tmp_path / "whole")
    assert len(lines) < 1000 if at > 200 else len(lines) == 1000
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run(files, out).complete
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir()}


def test_bad_rows_are_set_aside_with_file_and_line(files: list[Path], tmp_path: Path) -> None:
    state = run(files, tmp_path / "o")
    rows = [json.loads(line) for line in (tmp_path / "o" / REJECTED).read_text().splitlines()]
    assert [(r["file"], r["line"]) for r in rows] == [
        ("texts.jsonl", 3), ("texts.jsonl", 8), ("chats.jsonl.gz", 2),
    ]  # fmt: skip
    assert rows[0]["row"] == '{"text": 5}' and "a number where a string" in rows[0]["reason"]
    assert state.rejected == 3
    with pytest.raises(MinimindError, match=r"texts\.jsonl:3: text: a number"):
        run(files, tmp_path / "s", strict=True)


def test_long_chats_are_counted(files: list[Path], tmp_path: Path) -> None:
    state = run(files[1:], tmp_path / "o")
    assert state.chats["cut"] > 50 and state.chats["rows"] + state.rejected == 300
    rejected = run(files[1:], tmp_path / "r", policy="reject")
    assert rejected.rejected == 1 + state.chats["cut"] and rejected.chats["cut"] == 0


def test_other_data_or_settings_are_refused(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "o"
    run(files, out)
    with pytest.raises(MinimindError, match=r"another run \(policy differ\)"):
        run(files, out, policy="cut")
    files[0].write_text('{"text": "new"}\n')
    with pytest.raises(MinimindError, match=r"another run \(files differ\)"):
        run(files, out)
    (out / INDEX).unlink()
    with pytest.raises(MinimindError, match="has shards but no"):
        run(files, out)


def test_what_cannot_be_tokenized_is_said(tmp_path: Path) -> None:
    good, bad, pairs = tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "c.jsonl"
    good.write_text("one text", encoding="utf-8")
    bad.write_text("no row\n")
    ask = {"role": "user", "content": "?"}
    turn = [ask, {"role": "assistant", "content": "x"}]
    other = [ask, {"role": "assistant", "content": "y"}]
    pairs.write_text(json.dumps({"chosen": turn, "rejected": other}) + "\n")
    assert run([good], tmp_path / "o").tokens == 10  # bos, eight bytes, eos
    for path, error in ((bad, "has no good row"), (pairs, "preference rows"), (Path("x"), "file")):
        with pytest.raises(MinimindError, match=error):
            run([path], tmp_path / "n")
    alone = tmp_path / "d.jsonl"
    alone.write_text(json.dumps(chat("q" * 400, "a")) + "\n")
    with pytest.raises(MinimindError, match="no row could be tokenized"):
        run([alone], tmp_path / "e")
    with pytest.raises(WrongCall, match="at least 1 worker"):
        run([good], tmp_path / "o", workers=0)


def test_the_verb_writes_shards_that_the_loader_reads(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    verb.configure(parser)
    out = tmp_path / "o"
    call = [*map(str, files), "--tokenizer", "bytes", "--out", str(out), "--workers", "1"]
    assert verb.run(parser.parse_args([*call, "--max-tokens", "120"])) == 1
    said = capsys.readouterr().out
    assert "997 documents in 1 shards" in said and "their end" in said
    assert "3 rows were set aside" in said and REJECTED in said
    assert Loader(out, 256, 8).useful > 0.97
    TOKENIZER.save(tmp_path / "tokenizer")
    call[call.index("bytes")] = str(tmp_path / "tokenizer")
    call[call.index("--out") + 1] = str(tmp_path / "p")
    assert verb.run(parser.parse_args([*call, "--max-tokens", "120"])) == 1
    first, second = (np.fromfile(f / "00000.tokens", np.uint8) for f in (out, tmp_path / "p"))
    assert (first == second).all()
