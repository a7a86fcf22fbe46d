"""Streams through the `datasets` library's own builders, on files of this machine."""

import json
import os
import subprocess
import sys
from itertools import islice

import pytest

from minimind_wiki.data import hub
from minimind_wiki.errors import MinimindError, WrongCall

ROWS = [{"text": f"row {i}", "n": i} for i in range(200)]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    module = pytest.importorskip("datasets", reason="the package 'datasets' is not installed")
    module.disable_progress_bars()
    return module


@pytest.fixture(scope="module")
def files(datasets, tmp_path_factory):
    """The same rows as JSONL and as parquet."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    datasets.Dataset.from_list(ROWS).to_parquet(str(folder / "a.parquet"))
    return {"jsonl": str(folder / "a.jsonl"), "parquet": str(folder / "a.parquet")}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_rows_come_in_order_and_are_capped(files, kind):
    assert list(hub.stream(files[kind])) == ROWS
    assert list(hub.stream(files[kind], rows=7)) == ROWS[:7]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_same_seed_gives_the_same_order(files, kind):
    def order(seed, buffer=50):
        return [row["n"] for row in hub.stream(files[kind], seed=seed, buffer=buffer)]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(200))
    assert all(n < place + 50 for place, n in enumerate(order(3)))  # no further than the buffer
    assert order(4, buffer=1) == list(range(200))


def test_a_stream_reads_no_more_than_is_asked_for(files, monkeypatch):
    """Rows are made as they are taken: a broken end is not seen by who stops before it."""
    path = files["jsonl"].replace("a.jsonl", "broken.jsonl")
    with open(path, "w") as file:
        file.writelines(json.dumps({"text": "x" * 1000}) + "\n" for _ in range(30_000))
        file.write("{broken\n")
    assert len(list(islice(hub.stream(path), 5))) == 5
    with pytest.raises(MinimindError, match="cannot be streamed"):
        list(hub.stream(path))


def test_wrong_calls():
    for source in ("fineweb", "owner/name", "owner/name:config", "no-such-file.jsonl"):
        with pytest.raises(WrongCall, match="neither a file nor owner/name:config:split"):
            next(hub.stream(source))
    with pytest.raises(WrongCall, match="at least 1"):
        next(hub.stream("a/b:c:d", rows=0))
    with pytest.raises(WrongCall, match="cannot shuffle"):
        next(hub.stream("a/b:c:d", buffer=0))


def test_without_the_library_the_command_to_get_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MinimindError, match=r"pip install 'minimind-wiki\[data\]'"):
        next(hub.stream("a/b:c:d"))


def test_what_the_library_is_asked_for_and_what_its_errors_become(monkeypatch):
    asked = {}

    class Fake:
        error = ConnectionError("Couldn't reach it")

        @classmethod
        def load_dataset(cls, **options):
            asked.update(options)
            raise cls.error

    monkeypatch.setattr(hub, "library", lambda: Fake)
    with pytest.raises(MinimindError, match=r"a/b:c:d cannot be streamed .*network.*HF_ENDPOINT"):
        next(hub.stream("a/b:c:d", revision="v1"))
    assert asked == {
        "path": "a/b", "name": "c", "split": "d", "revision": "v1", "streaming": True
    }  # fmt: skip
    Fake.error = ValueError("Dataset 'a/b' is a gated dataset on the Hub.")
    with pytest.raises(MinimindError, match=r"accept its terms at .*datasets/a/b and log in"):
        next(hub.stream("a/b:c:d"))


def test_a_mirror_is_respected(datasets):
    code = "import datasets; print(datasets.config.HF_ENDPOINT)"
    env = {**os.environ, "HF_ENDPOINT": "https://mirror.example"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "https://mirror.example"


def test_kept_rows_are_ours_and_bad_ones_lie_beside(tmp_path):
    rows = [{"instruction": "a", "input": "", "output": "b"}, {"instruction": "a"},
            {"instruction": "a", "input": "", "output": ""}]  # fmt: skip
    out, seen = tmp_path / "x" / "a.jsonl", []
    kept = hub.keep(iter(rows), out, "alpaca", "sft", seen.append)
    assert (kept.read, kept.written, kept.bad) == (3, 1, 2)
    assert kept.first_fault == "2: not a row of alpaca: the key 'response' is missing"
    assert seen == [1, 2, 3]
    (row,) = out.read_text().splitlines()
    assert json.loads(row)["conversations"][1]["content"] == "b"
    rejects = (tmp_path / "x" / "a.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in rejects] == [2, 3]
    assert sorted(f.name for f in out.parent.iterdir()) == ["a.jsonl", "a.rejected.jsonl"]


def test_nothing_good_or_a_stream_that_breaks_leaves_no_file(tmp_path):
    with pytest.raises(MinimindError, match=r"no row for a.jsonl came \(1: not a row"):
        hub.keep(iter([{}]), tmp_path / "a.jsonl", "text", "pretrain")

    def breaks():
        yield {"text": "a"}
        raise MinimindError("the line went dead")

    with pytest.raises(MinimindError, match="went dead"):
        hub.keep(breaks(), tmp_path / "a.jsonl", "text", "pretrain")
    assert not list(tmp_path.iterdir())
