"""A disk that is full or fails, and a worker that dies: a sentence each, and nothing lost."""

import dataclasses
import errno
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.data.tokenize import tokenize_files
from minimind_wiki.data.workers import ordered_map
from minimind_wiki.errors import MinimindError
from minimind_wiki.infer import load_model_folder
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import checkpoint, folder, manifest
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import make_feed, pretrain
from minimind_wiki.train.resume import find_whole

CORPUS = Corpus("village", (embedded_text(40),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=9, batch_size=4, context_length=32, eval_every=3,
    eval_windows=8, sample_tokens=4, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def go(out=None, resume=False, **more):
    return pretrain(CONFIG, {}, out, resume, corpus=CORPUS, **more)


@pytest.fixture(scope="module")
def whole():
    return go()


def assert_resumes_to(whole, out):
    resumed = go(out, resume=True)
    assert resumed.state.train == whole.state.train
    assert resumed.state.held_out == whole.state.held_out
    assert resumed.state.samples == whole.state.samples
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


# --- the disk -------------------------------------------------------------------------------------
def fails_at_step_6(real, error):
    """`real`, but with the error where the checkpoint of step 6 is concerned, and half a file."""

    def write(*args, **kwargs):
        path = next(Path(arg) for arg in args if isinstance(arg, str | Path) and ".new" in str(arg))
        if ".new-000006" not in str(path):
            return real(*args, **kwargs)
        if not path.is_dir():
            path.write_bytes(b"half")
        raise error

    return write


@pytest.mark.parametrize("where, name, error", [
    (checkpoint, "write_model_files", FULL),
    (checkpoint, "save_file", FULL),
    (checkpoint, "save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
    (checkpoint, "write_state", FULL),
    (manifest, "sync", FULL),
    (checkpoint, "seal", FULL),
])  # fmt: skip
def test_a_full_disk_leaves_the_checkpoints_before(
    whole, tmp_path, monkeypatch, where, name, error
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails_at_step_6(getattr(where, name), error))
        with pytest.raises(
            MinimindError, match=r"step-000006 could not be written .*No space left"
        ):
            go(out)
    found = find_whole(out)
    assert found.state.step == 3 and not found.warnings
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000003"]
    assert_resumes_to(whole, out)


@pytest.mark.parametrize("name", ["write_model_files", "sync"])
def test_a_full_disk_at_the_very_end_loses_nothing(whole, tmp_path, monkeypatch, name):
    """The model is published from the checkpoints by the next --resume."""
    out = tmp_path / "run"

    def full(*_):
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(folder, name, full)
        with pytest.raises(
            MinimindError, match=r"model could not be written .*No space .*--resume"
        ):
            go(out)
    assert not (out / "run.json").exists()
    assert_resumes_to(whole, out)
    assert json.loads((out / "run.json").read_text())["status"] == "finished"
    assert load_model_folder(out)[0]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_the_kernel_itself_refuses_to_write_more(tmp_path):
    """In a process of its own, whose files may not grow beyond 30 KB from step 5 on."""
    from killing import go as start
    from killing import result

    words = ["--preset", "nano", "--steps", "6", "--batch-size", "2", "--context-length", "16",
             "--eval-every", "2", "--eval-windows", "2", "--sample-tokens", "0", "--device", "cpu",
             "--dtype", "float32", "--threads", "1", "--data", "embedded"]  # fmt: skip
    out = tmp_path / "run"
    assert start(words, tmp_path / "alone") == 0
    assert start(words, out, ("full disk", 3)) == 1
    told = Path(f"{out}.log").read_text()
    assert "step-000004 could not be written (" in told and "Traceback" not in told
    assert os.strerror(errno.EFBIG) in told
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000002"]
    assert start(words, out) == 0
    both = result(out), result(tmp_path / "alone")
    for name in ("tensors", "state", "published", "curves", "order", "files"):
        assert (both[0][name] == both[1][name]) is True, name


# --- workers --------------------------------------------------------------------------------------
def test_a_worker_that_dies_is_one_sentence():
    with pytest.raises(MinimindError, match=r"a worker process ended without .* --workers"):
        list(ordered_map(os._exit, [3, 3], workers=2, batch=1))


def test_a_lost_tokenizing_worker_loses_no_shard(tmp_path):
    rows = [json.dumps({"text": f"text {i} " * (i % 11 + 1)}) for i in range(1500)]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")

    def shard(out, progress=None):
        tokenize_files([source], out, ByteTokenizer(), 12_000, workers=2, progress=progress)
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def kills_a_worker(done, total, tokens):
        if tokens > 20_000:  # two shards are written
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)
            time.sleep(0.01)

    with pytest.raises(MinimindError, match=r"a worker process .* same command again"):
        shard(tmp_path / "o", kills_a_worker)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").glob("*.tokens")}
    assert len(kept) >= 1
    assert shard(tmp_path / "o") == shard(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_a_feed_that_fails_loses_only_the_steps_since_the_checkpoint(whole, tmp_path):
    """Whatever makes the batches may die; the run says what the feed says, and goes on later."""
    feed = make_feed(CONFIG, ByteTokenizer(), CORPUS)

    def at(step):
        if step == 7:
            raise MinimindError("a worker process is gone")
        return feed.at(step)

    out = tmp_path / "run"
    with pytest.raises(MinimindError, match="a worker process is gone"):
        go(out, feed=dataclasses.replace(feed, at=at))
    assert [step for step, _ in checkpoint.list_checkpoints(out)] == [3, 6]
    assert_resumes_to(whole, out)
