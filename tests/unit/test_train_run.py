"""Whole runs of a very small model: it learns, it stops well, and resumes to the bit."""

import dataclasses
import json
import math
import signal

import numpy as np
import pytest
import torch
from stops_at import StopAt
from torch.nn import functional

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.tokenizer import load_tokenizer
from minimind_wiki.tokenizer.layout import LAYOUTS
from minimind_wiki.tokenizer.library import save_library, train_library
from minimind_wiki.train import checkpoint, loop
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.report import Quiet

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=12, batch_size=4, context_length=32, eval_every=5,
    eval_windows=8, sample_tokens=4, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip


def go(out=None, resume=False, report=None, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return pretrain(config, {}, out, resume, report, CORPUS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, go(out)


def curves(state):
    return {k: v for k, v in dataclasses.asdict(state).items() if k != "seconds"}


def test_it_learns(whole):
    state = go(steps=60, batch_size=8).state
    assert state.held_out["loss"][0] == pytest.approx(math.log(259), abs=0.1)
    assert state.best_loss < 3.2
    assert state.held_out["bits_per_byte"][-1] == pytest.approx(
        state.held_out["loss"][-1] / math.log(2)
    )


def test_the_run_folder_is_a_model_folder_with_all_that_repeats_the_run(whole):
    out, outcome = whole
    run = json.loads((out / "run.json").read_text())
    assert run["settings"] == dataclasses.asdict(CONFIG)
    assert run["data"]["sha256"] == CORPUS.sha256
    assert run["status"] == "finished"
    assert run["command"].startswith("minimind pretrain --preset nano --data embedded --steps 12 ")
    assert run["curve"]["train"]["step"] == list(range(1, 13))
    assert run["curve"]["held_out"]["step"] == [0, 5, 10, 12]
    assert run["bigram_loss"] == outcome.bigram
    again = pretrain(TrainConfig(**run["settings"]), run["model"], corpus=CORPUS)
    assert curves(again.state) == curves(outcome.state)
    model, tokenizer = load_model_folder(out)
    assert tokenizer.vocab_size == model.config.vocab_size == 259
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, outcome.model.state_dict()[name])


def test_another_seed_is_another_run(whole):
    assert go(seed=1).state.train != whole[1].state.train


def test_packed_documents_and_merges_train_stop_and_resume_to_the_bit(tmp_path):
    """A vocabulary of merges, rows of several documents, Muon, a stop in the middle."""
    corpus = Corpus("x", tuple(embedded_text(60).split("\n\n")[:150]), "a test", "x.jsonl")
    folder = tmp_path / "tokenizer"
    learned = train_library(corpus.documents, 400, LAYOUTS["minimind"])
    save_library(learned, folder, LAYOUTS["minimind"])

    def run(out, resume=False, report=None, tokenizer=str(folder)):
        config = dataclasses.replace(CONFIG, tokenizer=tokenizer, context_length=48, eval_every=6,
                                     optimizer="muon")  # fmt: skip
        return pretrain(config, {}, out, resume, report, corpus)

    whole = run(tmp_path / "whole")
    assert whole.run["tokenizer"]["fingerprint"] == load_tokenizer(folder).fingerprint
    assert whole.model.config.vocab_size == 400
    bits, loss = whole.run["held_out"]["bits_per_byte"], whole.run["held_out"]["loss"]
    assert bits < 0.75 * loss / math.log(2)  # a token is more than a byte
    out = tmp_path / "run"
    run(out, report=StopAt(7))
    resumed = run(out, resume=True)
    assert curves(resumed.state) == curves(whole.state)
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name]), name
    reopened = load_model_folder(out)[1]
    assert reopened.encode("Once upon") == load_tokenizer(folder).encode("Once upon")
    out = tmp_path / "other"
    run(out, report=StopAt(3))
    with pytest.raises(MinimindError, match=r"used another .* tokenizer .* Give the run's own"):
        run(out, resume=True, tokenizer="bytes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [7, 10])
def test_stopped_and_resumed_is_the_uninterrupted_run_to_the_bit(
    whole, tmp_path, capfd, step, number
):
    out = tmp_path / "run"
    before = signal.getsignal(number)
    stopped = go(out, report=StopAt(step, number))
    assert signal.getsignal(number) == before
    assert not stopped.finished and stopped.state.step == step
    assert "Stopping after this step" in capfd.readouterr().err
    folder = out / "checkpoints" / f"step-{step:06d}"
    assert load_model_folder(folder)[0].state_dict().keys()  # a usable model
    torch.manual_seed(99)  # resuming must not lean on what this process did before
    np.random.seed(99)
    resumed = go(out, resume=True)
    assert resumed.finished
    assert curves(resumed.state) == curves(whole[1].state)  # exactly, not nearly
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole[1].model.state_dict()[name]), name


def test_a_stop_between_two_points_of_the_curve_loses_none(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainConfig, "log_interval", property(lambda self: 5))
    whole, out = go(), tmp_path / "run"
    assert go(out, report=StopAt(8)).state.pending_count == 3
    assert curves(go(out, resume=True).state) == curves(whole.state)


def test_without_a_folder_a_signal_is_not_swallowed():
    """An experiment must end, not record half a run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            go(report=StopAt(3))
    finally:
        signal.signal(signal.SIGINT, before)


def test_micro_batches_change_nothing_but_rounding(whole):
    small = go(micro_batch_size=1).state
    assert small.train["loss"] == pytest.approx(whole[1].state.train["loss"], rel=2e-4)
    assert small.held_out["loss"] == pytest.approx(whole[1].state.held_out["loss"], rel=2e-4)


def test_a_measurement_does_not_change_the_run(whole):
    often = go(eval_every=1, sample_tokens=9).state.train
    assert often == whole[1].state.train


class Steps(Quiet):
    def __init__(self):
        self.losses = []

    def step(self, step, loss, speed, left):
        self.losses.append(loss)


def test_the_curve_averages_every_step_once():
    report = Steps()
    state = go(steps=501, batch_size=1, context_length=8, eval_every=501, eval_windows=1,
               report=report).state  # fmt: skip
    assert state.train["step"][:2] == [2, 4] and state.train["step"][-2:] == [500, 501]
    assert state.train["loss"][0] == pytest.approx(sum(report.losses[:2]) / 2)
    assert state.train["loss"][-1] == report.losses[-1]


# --- checkpoints ----------------------------------------------------------------------------------
def test_only_the_newest_and_the_best_checkpoint_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "held_out_loss", _scripted([5.5, 3.0, 4.0, 2.5, 4.5]))
    out = tmp_path / "run"
    outcome = go(out, steps=4, eval_every=1)
    assert [step for step, _ in checkpoint.list_checkpoints(out)] == [3, 4]
    assert json.loads((out / "run.json").read_text())["held_out"]["step"] == 3
    best = load_model_folder(out / "checkpoints" / "step-000003")[0].state_dict()
    published = load_model_folder(out)[0].state_dict()
    assert all(torch.equal(best[name], published[name]) for name in best)
    assert outcome.state.best_step == 3


def _scripted(losses):
    told = iter(losses)
    return lambda *_: (next(told), 1.0)


def test_a_kill_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    out, real, calls = tmp_path / "run", checkpoint.save_file, []

    def dies(tensors, path):
        calls.append(path)
        if len(calls) == 4:  # the second file of the second checkpoint
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        go(out)
    assert [step for step, _ in checkpoint.list_checkpoints(out)] == [5]
    monkeypatch.setattr(checkpoint, "save_file", real)
    assert go(out, resume=True).finished
    assert not list((out / "checkpoints").glob(".new-*"))


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(MinimindError, match=r"could not be written \(No space left on device\)"):
        go(tmp_path / "run")


def test_nothing_in_a_run_folder_is_a_pickle(whole):
    kinds = {path.suffix for path in whole[0].rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def test_resuming_refuses_other_data(tmp_path):
    out = tmp_path / "run"
    go(out, report=StopAt(6))
    other = Corpus("other", (embedded_text(61),), "a test", "other")
    with pytest.raises(MinimindError, match=r"read village .* but other now has other text"):
        pretrain(CONFIG, {}, out, True, None, other)


# --- blow-ups -------------------------------------------------------------------------------------
def assert_finite(out):
    for _, folder in checkpoint.list_checkpoints(out):
        for tensor in load_model_folder(folder)[0].state_dict().values():
            assert torch.isfinite(tensor).all()


def test_a_loss_that_is_not_a_number_stops_with_step_checkpoint_and_causes(tmp_path, monkeypatch):
    out, real = tmp_path / "run", functional.cross_entropy
    calls = []

    def poisoned(*args, **kwargs):
        calls.append(1)
        return real(*args, **kwargs) * (math.nan if len(calls) == 14 else 1.0)

    monkeypatch.setattr(functional, "cross_entropy", poisoned)
    with pytest.raises(loop.NonFinite) as caught:
        go(out)
    text = str(caught.value)
    assert "the loss is nan at step" in text
    assert f"last good checkpoint is {out}/checkpoints/step-000005" in text
    assert "learning rate" in text and "try a tenth" in text and "warm-up" in text
    assert [step for step, _ in checkpoint.list_checkpoints(out)] == [5]
    assert_finite(out)


def test_a_gradient_that_is_not_a_number_stops_before_the_weights_have_it(tmp_path, monkeypatch):
    real = loop.clip_gradients
    monkeypatch.setattr(loop, "clip_gradients", lambda *a: real(*a) * math.inf)
    with pytest.raises(
        loop.NonFinite, match=r"gradient norm is inf at step 1 of 12.*no checkpoint"
    ):
        go(tmp_path / "run")


def test_an_absurd_learning_rate_never_leaves_a_broken_checkpoint(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(loop.NonFinite, match="so training stopped"):
        go(out, learning_rate=1e30, save_every=1)
    assert_finite(out)


def test_a_weight_that_overflowed_is_never_written(tmp_path, monkeypatch):
    real = torch.optim.AdamW.step

    def overflows(self, *args, **kwargs):
        real(self, *args, **kwargs)
        self.param_groups[0]["params"][0].data[0, 0] = math.inf

    monkeypatch.setattr(torch.optim.AdamW, "step", overflows)
    out = tmp_path / "run"
    with pytest.raises(loop.NonFinite, match=r"the weight model.* is not finite .*no checkpoint"):
        go(out, save_every=1)
    assert checkpoint.list_checkpoints(out) == []


# --- wrong calls ----------------------------------------------------------------------------------
def test_a_folder_in_use_is_not_overwritten(whole, tmp_path):
    with pytest.raises(MinimindError, match="holds a finished run, which is not overwritten"):
        go(whole[0])
    unfinished = tmp_path / "unfinished"
    go(unfinished, report=StopAt(1))
    with pytest.raises(MinimindError, match=r"holds an unfinished run. Add --resume"):
        go(unfinished)
    (tmp_path / "file").write_text("")
    with pytest.raises(MinimindError, match="is a file"):
        go(tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(MinimindError, match="is not empty"):
        go(tmp_path / "full")


def test_a_context_beyond_the_model_is_named():
    with pytest.raises(WrongCall, match=r"context_length is 2048, but nano accepts at most 1024"):
        go(context_length=2048)
