"""The verbs data, pretrain and generate, called as a reader calls them."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

SMALL = ["--preset", "nano", "--data", "embedded", "--batch-size", "2", "--context-length", "32",
         "--eval-windows", "4", "--sample-tokens", "8", "--threads", "1",
         "--device", "cpu"]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home without data, and no way to a network."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MINIMIND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def minimind(*words, cwd=None):
    command = [sys.executable, "-m", "minimind_wiki", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip


def in_process(capsys, *words):
    """As `minimind`, without the seconds that importing torch takes: (status, out, err)."""
    from minimind_wiki.cli import main

    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


def test_train_then_generate(place, capsys):
    done = minimind("pretrain", *SMALL, "--steps", 6, "--out", place / "run")
    assert done.returncode == 0, done.stderr
    for part in ("Data: the embedded village corpus", "because --data asks for it", "Device: cpu",
                 "a bigram model has ", "held-out loss", "bits per byte", "sample:", "tokens/s",
                 "step 6/6", " left", "Try: minimind generate"):  # fmt: skip
        assert part in done.stdout
    words = ("generate", place / "run", "--prompt", "Mira is", "--max-tokens", 12)
    one = in_process(capsys, *words, "--temperature", 0)
    assert one[0] == 0 and one[1].startswith("Mira is")
    assert one == in_process(capsys, *words, "--temperature", 0, "--seed", 5)
    warm = in_process(capsys, *words, "--temperature", 1, "--seed", 5)
    assert warm == in_process(capsys, *words, "--temperature", 1, "--seed", 5)
    assert warm != in_process(capsys, *words, "--temperature", 1, "--seed", 6)


def test_ctrl_c_leaves_a_checkpoint_that_resumes(place, capsys):
    out = place / "run"
    command = [sys.executable, "-m", "minimind_wiki", "pretrain", *SMALL, "--out", str(out),
               "--steps", "100000", "--eval-every", "100000"]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=env) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("step 0:"):
                break
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    step = int(re.search(r"Stopped at step ([\d,]+) of 100,000", rest)[1].replace(",", ""))
    assert f"minimind pretrain --out {out} --resume" in rest
    assert [p.name for p in (out / "checkpoints").iterdir()] == [f"step-{step:06d}"]
    status, _, told = in_process(capsys, "generate", out, "--prompt", "a", "--max-tokens", 3)
    assert status == 0 and f"not finished; using step {step:,}" in told
    status, _, told = in_process(capsys, "pretrain", "--out", out, "--resume", "--steps", 7)
    assert status == 2 and "steps is 100000 in the run in" in told


def test_resume_from_the_command_line(place, capsys, monkeypatch):
    out = place / "run"
    words = ("pretrain", *SMALL, "--steps", 4, "--eval-every", 2, "--out", out)
    from minimind_wiki.train import loop

    real = loop.Loop.record

    def stops(self, *args):
        real(self, *args)
        if self.state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop.Loop, "record", stops)
    assert in_process(capsys, *words)[0] == 1
    monkeypatch.setattr(loop.Loop, "record", real)
    status, told, _ = in_process(capsys, "pretrain", "--out", out, "--resume")
    assert status == 0
    assert "Resuming from" in told and "step 3 of 4" in told
    status, _, err = in_process(capsys, "pretrain", "--out", out, "--resume")
    assert status == 1 and "is finished (4 steps), so there is nothing to resume" in err


def test_world_merges_shards_muon_and_the_exam_from_the_command_line(place, capsys):
    """What a reader does: a vocabulary, shards, a run on each, a resume, the exam."""
    rows, tokens, shards = place / "rows.jsonl", place / "tokens", place / "shards"
    small = [*SMALL[:2], *SMALL[4:], "--tokenizer", str(tokens), "--steps", 2, "--eval-windows", 2,
             "--optimizer", "muon", "--context-length", 480]  # fmt: skip
    for words in (
        ["data", "world", "--rows", 60, "--out", rows],
        ["tokenizer", "train", "--data", rows, "--vocab-size", 900, "--out", tokens],
        ["data", "shard", rows, "--tokenizer", tokens, "--out", shards, "--shard-tokens", 5000,
         "--workers", 1],
    ):  # fmt: skip
        status, out, err = in_process(capsys, *words)
        assert status == 0, err
    run = place / "world"
    status, out, err = in_process(
        capsys, "pretrain", *small, "--data", "world", "--exam-items", 1, "--out", run
    )
    assert status == 0, err
    assert "The floor is 0.3" in out and "world exam: mean" in out
    about = json.loads((run / "run.json").read_text())
    assert about["data"]["source"] == "world" and about["document_begin"] == [1]
    assert [exam["step"] for exam in about["exams"]] == [0, 1, 2]
    status, out, err = in_process(
        capsys, "pretrain", *small, "--data", "world/parallel", "--out", place / "parallel"
    )
    assert status == 0 and "(parallel)" in out, err
    status, out, err = in_process(
        capsys, "pretrain", *small, "--data", shards, "--out", place / "packed"
    )
    assert status == 0 and "shards" in out, err
    status, out, err = in_process(capsys, "pretrain", "--out", place / "packed", "--resume")
    assert status == 0 or "finished" in err, err
    status, out, err = in_process(capsys, "evaluate", run, "--limit", 1, "--device", "cpu")
    assert status == 0 and "best trick" in out, err
    status, out, err = in_process(capsys, "pretrain", *small, "--data", "world/storys")
    assert status == 2 and "kind of row" in err


def test_a_blow_up_stops_with_the_message(place, capsys):
    status, _, err = in_process(
        capsys, "pretrain", *SMALL, "--steps", 8, "--learning-rate", 1e30, "--out", place / "run"
    )
    assert status == 1
    assert re.search(r"at step \d+ of 8, so training stopped; .*Likely causes: the learning", err)


def test_without_data_the_embedded_corpus_is_used_and_said(place, capsys):
    words = [w for w in SMALL if w not in ("--data", "embedded")]
    status, out, _ = in_process(capsys, "pretrain", *words, "--steps", 1, "--out", place / "run")
    assert status == 0
    assert "the embedded village corpus" in out and "because --data was not given" in out


def test_asked_for_shakespeare_without_file_or_network(place, capsys):
    status, _, err = in_process(capsys, "pretrain", "--data", "tinyshakespeare")
    assert status == 1
    assert "could not be fetched" in err and "MINIMIND_DATA" in err and "without --data" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "tinny"], "unknown preset 'tinny'; did you mean 'tiny'?"),
        (["--lerning-rate", "1"], "unknown flag '--lerning-rate'; did you mean '--learning-rate'"),
        (["--learn", "1"], "unknown flag '--learn'"),
        (["--steps", "many"], "steps is 'many', but it must be a whole number"),
        (["--data", "tinyshakspear"], "unknown data set 'tinyshakspear'; did you mean 'tinysh"),
        (["--hidden-size", "31"], "hidden_size 31 is not a multiple"),
        (["--vocab-size", "99"], "unknown flag '--vocab-size'"),
        (["--context-length", "5000", "--data", "embedded"], "context_length is 5000, but tiny"),
    ],
)
def test_wrong_calls_exit_with_2_and_one_sentence(place, capsys, monkeypatch, words, message):
    monkeypatch.chdir(place)
    status, _, err = in_process(capsys, "pretrain", *words)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (place / "runs").exists()


def test_yaml_and_flags(place, capsys):
    (place / "run.yaml").write_text("preset: nano\nsteps: 9\nlearning_rate: 2e-3\nqk_norm: true\n")
    status, out, err = in_process(
        capsys, "pretrain", "--config", place / "run.yaml", "--steps", 2, *SMALL[2:],
        "--out", place / "run",
    )  # fmt: skip
    assert status == 0, err
    run = json.loads((place / "run/run.json").read_text())
    assert (run["settings"]["steps"], run["settings"]["learning_rate"]) == (2, 2e-3)
    assert run["model"] == {"qk_norm": True}
    assert "nano (qwen3)" in out
    (place / "run.yaml").write_text("stepz: 9\n")
    status, _, err = in_process(capsys, "pretrain", "--config", place / "run.yaml")
    assert status == 2 and "'stepz'; did you mean 'steps'" in err


@pytest.mark.parametrize("verb", ["data", "pretrain", "generate"])
def test_help_shows_an_example(capsys, verb):
    status, out, _ = in_process(capsys, verb, "--help")
    assert status == 0
    assert f"example:\n  minimind {verb} " in out


def test_help_has_every_field_of_the_run_and_of_the_model(capsys):
    out = in_process(capsys, "pretrain", "--help")[1]
    for flag in ("--learning-rate", "--no-compile", "--num-key-value-heads", "--no-qk-norm"):
        assert flag in out


def test_generate_refuses_what_cannot_work(place, capsys):
    status, _, err = in_process(capsys, "generate", place / "no", "--prompt", "a")
    assert status == 1 and "there is no model folder" in err
    status, _, err = in_process(capsys, "generate", place, "--prompt", "")
    assert status == 2 and "--prompt is empty" in err
    assert in_process(capsys, "generate", place)[0] == 2


def test_data_verbs(place, capsys):
    status, out, _ = in_process(capsys, "data", "list")
    assert status == 0
    assert "1,115,394 bytes" in out and "not here; 'minimind data fetch tinyshakespeare'" in out
    status, _, err = in_process(capsys, "data", "fetch", "tinyshakspeare")
    assert status == 2 and "did you mean 'tinyshakespeare'" in err
    rows = place / "rows.jsonl"
    rows.write_text('{"conversations": [{"role": "user", "content": "x"}]}\n{"text": 1}\n')
    status, out, _ = in_process(capsys, "data", "check", rows)
    assert status == 1
    assert f"{rows}:1: conversations: no assistant message" in out
    assert f"{rows}:2: conversations: the key" in out
    assert "2 rows as sft, 0 good, 2 bad." in out
    rows.write_text('{"text": "a"}\n')
    assert in_process(capsys, "data", "check", rows)[0] == 0
    status, _, err = in_process(capsys, "data", "check", rows, "--schema", "stf")
    assert status == 2 and "did you mean 'sft'" in err
    rows.write_bytes(b"")
    status, _, err = in_process(capsys, "data", "check", rows)
    assert status == 1 and "rows.jsonl is empty" in err
