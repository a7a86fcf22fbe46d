"""Curves arrive in TensorBoard and Weights & Biases (offline), and run.json repeats the run."""

import dataclasses
import json
import math
import sys

import pytest

from minimind_wiki import __version__
from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.train import loop
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.loggers import make_loggers
from minimind_wiki.train.pretrain import pretrain

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=6, batch_size=4, context_length=32, eval_every=3,
    eval_windows=4, sample_tokens=4, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "router_bias_rate": 0.01}


def go(out=None, resume=False, fields=None, **changes):
    return pretrain(dataclasses.replace(CONFIG, **changes), fields or {}, out, resume, None, CORPUS)


class Kept:
    """A logger that remembers."""

    def __init__(self):
        self.curves, self.texts, self.closed = {}, {}, False

    def log(self, step, values):
        for name, value in values.items():
            self.curves.setdefault(name, {})[step] = value

    def text(self, step, name, text):
        self.texts[step] = text

    def close(self):
        self.closed = True


@pytest.fixture
def kept(monkeypatch):
    logger = Kept()
    monkeypatch.setattr("minimind_wiki.train.pretrain.make_loggers", lambda *_: [logger])
    return logger


def test_every_curve_is_told_and_the_logger_is_closed(kept):
    state = go(schedule="linear").state
    assert list(kept.curves["train/loss"].values()) == state.train["loss"]
    assert list(kept.curves["held_out/loss"]) == [0, 3, 6] and list(kept.texts) == [3, 6]
    rates = kept.curves["train/learning_rate"]
    assert rates[1] == 3e-3 and rates[6] == pytest.approx(3e-3 / 6)
    assert all(norm > 0 for norm in kept.curves["train/gradient_norm"].values())
    assert kept.closed


def test_the_load_of_experts_is_told_and_their_biases_move(kept):
    model = go(fields=EXPERTS).model
    busiest, idlest = (kept.curves[f"experts/{name}_expert"] for name in ("busiest", "idlest"))
    assert len(busiest) == 6 and all(busiest[s] >= 1 >= idlest[s] >= 0 for s in busiest)
    assert model.model.layers[0].mlp.e_score_correction_bias.abs().sum() > 0


def test_a_run_that_fails_closes_its_logger(kept, monkeypatch):
    monkeypatch.setattr(loop, "held_out_loss", lambda *_: (math.nan, 1.0))
    with pytest.raises(loop.NonFinite):
        go()
    assert kept.closed


def test_tensorboard_shows_a_resumed_run_once(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out, record = tmp_path / "run", loop.Loop.record

    def stops(self, *args):
        record(self, *args)
        if self.state.step == 4:
            self.save = lambda: ""  # steps 4 and 5 are told, but in no checkpoint
        if self.state.step == 5:
            self.stopping = lambda: True

    monkeypatch.setattr(loop.Loop, "record", stops)
    go(out, log_to="tensorboard")
    monkeypatch.setattr(loop.Loop, "record", record)
    state = go(out, resume=True, log_to="tensorboard").state
    events = accumulator.EventAccumulator(str(out / "logs" / "tensorboard"))
    events.Reload()
    told = events.Scalars("train/loss")
    assert [event.step for event in told] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in told] == pytest.approx(state.train["loss"], rel=1e-6)
    assert "held_out/bits_per_byte" in events.Tags()["scalars"]
    assert "sample/text_summary" in events.Tags()["tensors"]


def test_a_run_that_failed_before_its_first_checkpoint_leaves_room_for_the_next(
    tmp_path, monkeypatch
):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out, record = tmp_path / "run", loop.Loop.record

    def fails(self, *args):
        record(self, *args)
        if self.state.step == 2:
            raise MinimindError("the second step is over")

    monkeypatch.setattr(loop.Loop, "record", fails)
    with pytest.raises(MinimindError, match="second step"):
        go(out, log_to="tensorboard", learning_rate=1e-2)
    assert [entry.name for entry in out.iterdir()] == ["logs"]
    monkeypatch.setattr(loop.Loop, "record", record)
    state = go(out, log_to="tensorboard").state
    events = accumulator.EventAccumulator(str(out / "logs" / "tensorboard"))
    events.Reload()
    told = [event.value for event in events.Scalars("train/loss")]
    assert told == pytest.approx(state.train["loss"], rel=1e-6)


def test_weights_and_biases_is_offline_unless_it_is_told_otherwise(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    out = tmp_path / "run"
    state = go(out, log_to="wandb").state
    (found,) = (out / "logs" / "wandb").rglob("*.wandb")
    assert "offline-run-" in str(found)
    told = found.read_bytes()
    assert told.count(b"train/loss") >= 6
    assert all(json.dumps(loss).encode() in told for loss in state.train["loss"])


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_package_that_is_missing_is_named(name, tmp_path, monkeypatch):
    module = "torch.utils.tensorboard" if name == "tensorboard" else "wandb"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MinimindError, match=rf"needs the package {name}, .*pip install {name}"):
        make_loggers(name, tmp_path, {})


def test_wrong_names_and_a_missing_folder_are_refused_before_the_run(tmp_path):
    with pytest.raises(WrongCall, match="unknown logger 'tensorbord'; did you mean 'tensorboard'"):
        go(tmp_path / "run", log_to="tensorbord")
    with pytest.raises(WrongCall, match="log_to needs a run folder"):
        go(log_to="tensorboard")
    assert not (tmp_path / "run").exists()


def test_run_json_holds_what_repeats_the_run_and_what_it_ran_on(tmp_path):
    go(tmp_path / "run", schedule="wsd", z_loss=1e-4, label_smoothing=0.1, loss_chunk=50)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["seed"] == 0 and run["data"]["sha256"] == CORPUS.sha256
    for word in ("--schedule wsd", "--z-loss 0.0001", "--label-smoothing 0.1", "--loss-chunk 50"):
        assert word in run["command"]
    assert run["versions"]["minimind_wiki"] == __version__
    assert run["hardware"]["cores"] >= 1 and run["threads"] == 1
    assert run["tokens"] == {"read": 6 * 4 * 32, "predicted": 6 * 4 * 32}
    speed = run["throughput"]
    assert speed["useful_tokens_per_second"] == speed["tokens_per_second"] > 0
    assert 0 < speed["utilisation"] < 2 and speed["peak_memory_bytes"] > 1e7
    again = pretrain(TrainConfig(**run["settings"]), run["model"], corpus=CORPUS)
    assert again.state.train["loss"] == run["curve"]["train"]["loss"]
    assert run["curve"]["train"]["loss"] != go().state.train["loss"]
