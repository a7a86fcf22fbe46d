"""The GPU jobs: their scripts parse, what decides them is right, and the cheapest one runs."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from minimind_wiki.data import load_corpus
from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import make_feed

ROOT = Path(__file__).parents[2]
GPU = ROOT / "bench" / "gpu"
SCRIPTS = sorted(GPU.glob("*.sh"))
BASH = shutil.which("bash")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


jobs = load(GPU / "jobs.py")


@pytest.mark.skipif(not BASH, reason="the jobs are bash scripts")
def test_the_scripts_parse_and_the_readme_names_each() -> None:
    jobs_there = [script for script in SCRIPTS if script.name != "common.sh"]
    assert len(jobs_there) >= 3
    readme = (GPU / "README.md").read_text(encoding="utf-8")
    for script in SCRIPTS:
        assert subprocess.run([str(BASH), "-n", str(script)], check=False).returncode == 0
        assert script.name == "common.sh" or f"`{script.name}`" in readme
    for script in jobs_there:
        assert "set -eu" in script.read_text(encoding="utf-8").splitlines()


def test_the_helper_tells_how_it_is_called() -> None:
    for words in ([], ["corpus"], ["steps"], ["record"], ["optimizers"]):
        call = [sys.executable, str(GPU / "jobs.py"), *words, "--help"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        assert b"usage:" in subprocess.run(call, capture_output=True, env=environment).stdout


def write_rows(folder: Path, name: str, texts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)


@pytest.mark.parametrize("held", [1, 3])
def test_a_run_on_the_corpus_holds_out_the_held_out_texts_and_no_other(
    tmp_path: Path, held: int
) -> None:
    data = tmp_path / "data"
    for name in jobs.ENGLISH:
        write_rows(data / "lm", f"{name}.train", [f"{name} has {n} hens." * 3 for n in range(7)])
        write_rows(data / "lm", f"{name}.val", [f"Q{n} of {name}." for n in range(held)])
    words = argparse.Namespace(
        data=data, out=tmp_path / "corpus", limit=0, world_rows=3, vocab_size=320
    )
    jobs.corpus(words)
    told = json.loads((tmp_path / "corpus" / "corpus.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(tmp_path / "corpus" / "tokenizer")
    text = str(tmp_path / "corpus" / "english.jsonl")
    config = TrainConfig(data=text, context_length=256, held_out=told["held_out"])
    feed = make_feed(config, tokenizer, load_corpus(text))
    read = tokenizer.decode(list(feed.sample_ids))
    assert "hens" in read and "Q0" not in read
    measured = " ".join(tokenizer.decode(row.tolist()) for p in feed.held_out for row in p.ids_BT)
    assert "hens" not in measured
    assert all(f"Q{n} of {name}." in measured for n in range(held) for name in jobs.ENGLISH)
    assert len(feed.sample_ids) == told["train_tokens"]
    labels = sum(int((p.labels_BT != IGNORE).sum()) for p in feed.held_out)
    assert labels == told["held_out_tokens"] - 2 * held  # the first of a document is not predicted


def test_steps_fill_the_time_but_not_more_than_the_epochs() -> None:
    assert jobs.step_count(in_time=1e6, english=1e9, share=0.25, batch=1000) == 1000
    assert jobs.step_count(in_time=1e9, english=3e6, share=0.25, batch=1000) == 4000
    assert jobs.step_count(in_time=1, english=1, share=0.25, batch=1000) == 1


def run_of(optimizer: str, rate: float, losses: list[float | None], speed: float) -> dict:
    curve = {"step": [10 * n for n in range(len(losses))], "loss": losses}
    return {"optimizer": optimizer, "learning_rate": rate, "loss": losses[-1],
            "throughput": {"tokens_per_second": speed}, "curve": {"held_out": curve},
            "device": "cpu"}  # fmt: skip


def test_optimizers_are_compared_at_the_loss_that_both_reach_each_at_its_best() -> None:
    runs = [
        run_of("adamw", 1.0, [5.0, 4.0, 3.0], 100.0),
        run_of("adamw", 2.0, [5.0, 4.5, 3.5], 100.0),
        run_of("muon", 1.0, [5.0, 2.0, 1.0], 50.0),
        {"optimizer": "muon", "learning_rate": 2.0, "loss": None},
    ]
    found = jobs.compare(runs, batch=200)
    assert found["target_loss"] == 3.0
    adamw, muon = found["optimizers"]["adamw"], found["optimizers"]["muon"]
    assert (adamw["learning_rate"], adamw["steps_to_target"]) == (1.0, 20.0)
    assert muon["steps_to_target"] == pytest.approx(20 / 3)  # 5.0 to 2.0 in ten steps
    assert (adamw["seconds_to_target"], muon["seconds_per_step"]) == (40.0, 4.0)
    assert found["adamw_over_muon_steps"] == pytest.approx(3.0)
    assert found["adamw_over_muon_seconds"] == pytest.approx(1.5)
    with pytest.raises(MinimindError, match="fewer than two"):
        jobs.compare(runs[:2], batch=200)


def test_a_record_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    run = {"command": "minimind pretrain --data /a/data/x --tokenizer /a/runs/t", "steps": 3}
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    words = argparse.Namespace(
        run=tmp_path / "run.json", out=tmp_path / "r" / "j.json", job="j",
        hide=["/a/data/", "/a/runs"],
    )  # fmt: skip
    jobs.record(words)
    found = json.loads(words.out.read_text(encoding="utf-8"))
    command = "minimind pretrain --data $MINIMIND_DATA/x --tokenizer $WORK/t"
    assert found == {"job": "j", "command": command, "steps": 3}


FAKE = """
from types import SimpleNamespace
from torch import nn


class MiniMindConfig:
    def __init__(self, hidden_size=768, num_hidden_layers=8, use_moe=False, **kwargs):
        self.hidden_size, self.vocab_size = hidden_size, kwargs["vocab_size"]


class MiniMindForCausalLM(nn.Module):
    def __init__(self, config=None):
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        kept = labels[:, 1:] != -100
        assert (labels[:, 1:][kept] == input_ids[:, 1:][kept]).all()  # it shifts by itself
        scores = self.head(self.embed(input_ids))[:, :-1]
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), labels[:, 1:].flatten())
        return SimpleNamespace(loss=loss, aux_loss=loss.new_zeros(()))
"""


@pytest.mark.skipif(not BASH, reason="the jobs are bash scripts")
def test_the_throughput_job_runs_as_a_toy_and_not_twice(tmp_path: Path) -> None:
    (tmp_path / "minimind" / "model").mkdir(parents=True)
    (tmp_path / "minimind" / "model" / "model_minimind.py").write_text(FAKE, encoding="utf-8")
    environment = {**os.environ, "QUICK": "1", "WORK": str(tmp_path / "work"),
                   "PYTHON": sys.executable, "MINIMIND_CHECKOUT": str(tmp_path / "minimind"),
                   "OMP_NUM_THREADS": "1", "RECORDS": ""}  # fmt: skip
    call = [str(BASH), str(GPU / "throughput.sh")]
    first = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert first.returncode == 0, first.stderr
    record = tmp_path / "work" / "records" / "throughput_nano.json"
    arms = json.loads(record.read_text(encoding="utf-8"))["arms"]
    assert len(arms) == 5
    assert all(arm["useful_tokens_per_second"] > 0 for arm in arms.values())
    assert arms["ours, conversations"]["times_as_fast_as_minimind"] > 0
    padded, ours = arms["minimind, conversations"], arms["ours, conversations"]
    assert padded["useful_share"] < ours["useful_share"] <= 1
    written = record.stat().st_mtime_ns
    again = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert (again.returncode, again.stdout.strip()) == (0, f"have {record}")
    assert record.stat().st_mtime_ns == written
    away = {**environment, "MINIMIND_CHECKOUT": str(tmp_path), "WORK": str(tmp_path / "other")}
    wrong = subprocess.run(call, capture_output=True, text=True, env=away)
    assert wrong.returncode == 1 and "checkout of MiniMind" in wrong.stderr
