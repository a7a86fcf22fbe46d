"""What a checkpoint promises: every bit comes back, damage is seen and told, one before is kept."""

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer import load_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import checkpoint, generators
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.folder import saved_run
from minimind_wiki.train.loop import Loop
from minimind_wiki.train.manifest import MANIFEST, check, seal
from minimind_wiki.train.optim import make_optimizer, optimizer_tensors
from minimind_wiki.train.pretrain import pretrain
from minimind_wiki.train.report import Quiet
from minimind_wiki.train.resume import find_whole
from minimind_wiki.train.state import State

CORPUS = Corpus("village", (embedded_text(40),), "a test", "embedded")
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=9, batch_size=4, context_length=32, eval_every=3,
    eval_windows=8, sample_tokens=4, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip
FILES = ("config.json", "model.safetensors", "optimizer.safetensors", "rng.safetensors",
         "state.json", "run.json", "tokenizer.json", MANIFEST)  # fmt: skip


class Told(Quiet):
    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)


def go(out, resume=False, report=None, **changes):
    return pretrain(dataclasses.replace(CONFIG, **changes), {}, out, resume, report, CORPUS)


def steps_of(out):
    return [step for step, _ in checkpoint.list_checkpoints(out)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, go(out)


@pytest.fixture(scope="module")
def halted(tmp_path_factory):
    """The same run after its checkpoints of steps 3 and 6, as a kill would leave it."""
    out = tmp_path_factory.mktemp("halted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        real = Loop.record

        def dies(self, *args):
            if self.state.step == 7:
                raise KeyboardInterrupt
            return real(self, *args)

        patch.setattr(Loop, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            go(out)
    assert steps_of(out) == [3, 6]
    return out


@pytest.fixture
def run(halted, tmp_path):
    return shutil.copytree(halted, tmp_path / "run")


# --- damage ---------------------------------------------------------------------------------------
def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    os.truncate(path, path.stat().st_size - 2)  # a manifest may lose its last newline


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_any_damage_to_any_file_is_seen_and_the_one_before_is_used(run, name, harm):
    harm(run / "checkpoints" / "step-000006" / name)
    found = find_whole(run)
    assert found.folder.name == "step-000003" and found.state.step == 3
    (warning,) = found.warnings
    assert warning.startswith("DAMAGED CHECKPOINT: ") and "step-000006: " in warning
    assert "goes back to step 3 and repeats" in warning
    if harm is not flip or name != MANIFEST:  # a flipped manifest names whatever it now contradicts
        assert name in warning
    assert found.why.startswith("the newest that is whole of 2")
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "damaged-000006", "step-000003",
    ]  # fmt: skip


def test_every_file_of_a_checkpoint_is_in_its_manifest(halted):
    folder = halted / "checkpoints" / "step-000006"
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["step"] == 6
    assert {*manifest["files"], MANIFEST} == {path.name for path in folder.iterdir()} >= {*FILES}


def test_after_damage_the_run_ends_as_if_there_had_been_none(run, whole):
    flip(run / "checkpoints" / "step-000006" / "optimizer.safetensors")
    report = Told()
    resumed = go(run, resume=True, report=report)
    first, second = (i for i, line in enumerate(report.lines)
                     if line.startswith(("DAMAGED CHECKPOINT", "Resuming from")))  # fmt: skip
    assert report.lines[first].startswith("DAMAGED CHECKPOINT: ") and second == first + 1
    assert "step-000003, step 3 of 9: the newest that is whole of 2" in report.lines[second]
    assert resumed.state.train == whole[1].state.train
    assert resumed.state.held_out == whole[1].state.held_out
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, whole[1].model.state_dict()[name]), name
    assert steps_of(run) == steps_of(whole[0]) == [6, 9]


def test_without_damage_it_says_which_checkpoint_it_took_and_why(run):
    found = find_whole(run)
    assert found.folder.name == "step-000006" and not found.warnings
    assert found.why == "the newest of 2, each file with the length and sha256 it was given"


def test_when_none_is_whole_all_are_named_and_none_is_touched(run):
    for name in ("step-000003", "step-000006"):
        flip(run / "checkpoints" / name / "model.safetensors")
    with pytest.raises(MinimindError, match=r"no checkpoint .*step-000006.*step-000003.*start"):
        find_whole(run)
    assert steps_of(run) == [3, 6]
    with pytest.raises(MinimindError, match="has no checkpoint to resume"):
        find_whole(run / "checkpoints")


def test_a_file_that_belongs_to_nobody_is_told_and_not_read(run):
    (run / "checkpoints" / "step-000006" / "notes.txt").write_text("my notes")
    found = find_whole(run)
    assert found.folder.name == "step-000006"
    assert "Not read" in found.warnings[0] and "notes.txt" in found.warnings[0]


def test_a_newer_format_is_not_damage(run):
    """Going back would throw steps away that a newer version can still use."""
    manifest = run / "checkpoints" / "step-000006" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(MinimindError, match=r"has format 2, but .* reads 1\. Resume with the ver"):
        find_whole(run)
    assert steps_of(run) == [3, 6]


def test_a_copied_checkpoint_does_not_pass_for_another_step(run):
    shutil.copytree(run / "checkpoints" / "step-000003", run / "checkpoints" / "step-000099")
    found = find_whole(run)
    assert found.state.step == 6 and "manifest.json is of step 3" in found.warnings[0]


def test_a_state_of_another_version_is_named(run):
    """Its hashes are right: the file was written so."""
    folder = run / "checkpoints" / "step-000006"
    content = json.loads((folder / "state.json").read_text())
    content["state"]["moons"] = 2
    (folder / "state.json").write_text(json.dumps(content))
    (folder / MANIFEST).unlink()
    seal(folder, 6)
    with pytest.raises(MinimindError, match=r"state.json is .* of another version \(.*'moons'"):
        find_whole(run)


def test_the_settings_are_read_from_a_whole_file(run):
    flip(run / "checkpoints" / "step-000006" / "state.json")
    assert saved_run(run)[0].steps == 9
    flip(run / "checkpoints" / "step-000003" / "state.json")
    with pytest.raises(MinimindError, match=r"no checkpoint of the run in .* is whole"):
        saved_run(run)


def test_a_spoilt_best_checkpoint_is_not_published(tmp_path, monkeypatch):
    """The last step's weights are, and the run says so in its lines and in run.json."""
    told, real = iter([5.5, 3.0, 4.0, 4.5]), Loop.keep

    def spoils(self):
        real(self)
        if self.state.step == 9:
            flip(out / "checkpoints" / "step-000003" / "model.safetensors")

    from minimind_wiki.train import loop

    monkeypatch.setattr(loop, "held_out_loss", lambda *_: (next(told), 1.0))
    monkeypatch.setattr(Loop, "keep", spoils)
    out, report = tmp_path / "run", Told()
    go(out, report=report)
    assert steps_of(out) == [3, 6, 9]
    assert any("DAMAGED" in line and "last step, 9, are published" in line for line in report.lines)
    described = json.loads((out / "run.json").read_text())["held_out"]
    assert (described["step"], described["loss"]) == (9, 4.5)
    last = load_model_folder(out / "checkpoints" / "step-000009")[0].state_dict()
    assert all(torch.equal(t, last[n]) for n, t in load_model_folder(out)[0].state_dict().items())


# --- what stays -----------------------------------------------------------------------------------
def test_as_many_stay_as_asked_for_besides_the_best(tmp_path):
    model = Transformer(preset("nano"), seed=0)
    optimizer = make_optimizer("adamw", model, 0.1, (0.9, 0.99))
    losses = [9.0, 2.0, 1.0, 4.0, 5.0, 6.0]  # the second checkpoint is the best
    left = []
    for step in range(1, 6):
        state = State(step, held_out={"step": [*range(step + 1)], "loss": losses[: step + 1],
                                      "bits_per_byte": losses[: step + 1]})  # fmt: skip
        checkpoint.save_checkpoint(tmp_path, model, optimizer, ByteTokenizer(), state, {}, keep=1)
        left.append(steps_of(tmp_path))
    assert left == [[1], [2], [2, 3], [2, 4], [2, 5]]
    with pytest.raises(WrongCall, match="keep_checkpoints is 0, but it must be at least 1"):
        TrainConfig(keep_checkpoints=0).validate()


def test_a_name_is_given_only_when_all_bytes_are_on_the_disk(tmp_path, monkeypatch):
    """fsync of each file at its full size, the manifest after all others, the folder, the rename,
    and the folder above: without this order a power cut may leave a name without its bytes."""
    events = []
    real_sync, real_rename = os.fsync, Path.rename

    def fsync(handle):
        events.append((os.fstat(handle).st_ino, os.fstat(handle).st_size))
        real_sync(handle)

    def rename(self, target):
        events.append((self.name, Path(target).name))
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    model = Transformer(preset("nano"), seed=0)
    optimizer = make_optimizer("adamw", model, 0.1, (0.9, 0.99))
    folder = checkpoint.save_checkpoint(tmp_path, model, optimizer, ByteTokenizer(), State(4), {})
    named = events.index((".new-000004", "step-000004"))
    files = {p.name: (p.stat().st_ino, p.stat().st_size) for p in folder.iterdir()}
    synced = {name: events.index(event) for name, event in files.items()}  # ValueError: not synced
    own = [i for i, event in enumerate(events) if event[0] == folder.stat().st_ino]
    above = [i for i, event in enumerate(events) if event[0] == folder.parent.stat().st_ino]
    assert synced.pop(MANIFEST) > max(synced.values())
    assert own and named > own[-1] > max(synced.values()) and above[-1] > named
    assert check(folder, 4) == []


# --- every bit comes back -------------------------------------------------------------------------
def draw():
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), np.random.standard_normal(),
            random.random(), random.gauss(0, 1)]  # fmt: skip


def test_every_global_generator_goes_on_where_it_was(tmp_path):
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    np.random.standard_normal(), random.gauss(0, 1)  # each keeps a second number for later
    save_file(generators.random_state(), tmp_path / "rng.safetensors")
    expected = [draw() for _ in range(3)]
    generators.restore_random_state(load_file(tmp_path / "rng.safetensors"))
    assert [draw() for _ in range(3)] == expected


def test_generators_of_gpus_are_kept_one_by_one(monkeypatch):
    """With stand-ins: CUDA has two devices, then one; MPS has one."""
    cuda = {0: torch.tensor([1], dtype=torch.uint8), 1: torch.tensor([2], dtype=torch.uint8)}
    mps = {0: torch.tensor([3], dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [*cuda.values()])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, i: cuda.update({i: state}))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: mps[0])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: mps.update({0: state}))
    kept = generators.random_state()
    for states in (cuda, mps):
        states.update({i: torch.tensor([9], dtype=torch.uint8) for i in states})
    generators.restore_random_state(kept)
    assert [cuda[0].item(), cuda[1].item(), mps[0].item()] == [1, 9, 3]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_scaler_and_state_come_back_to_the_bit(tmp_path, name):
    def step(model, optimizer, scaler):
        loss = model(torch.arange(24).reshape(2, 12)).square().mean()
        scaler.scale(loss).backward()
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = 0.01
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    def make(seed):
        model = Transformer(preset("nano"), seed=seed)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**7, growth_interval=5)
        return model, make_optimizer(name, model, 0.1, (0.9, 0.99)), scaler

    one, two = make(0), make(1)
    for _ in range(3):
        step(*one)
    thirds = [1 / 3, 0.1 + 0.2, 1e-310]  # floats that a careless text would round
    state = State(3, train={"step": [1, 2, 3], "loss": thirds}, seconds=2 / 3)
    model, optimizer, scaler = one
    folder = checkpoint.save_checkpoint(
        tmp_path, model, optimizer, ByteTokenizer(), state, {"x": 1}, scaler=scaler
    )
    two[0].load_state_dict(load_model_folder(folder)[0].state_dict())
    checkpoint.load_training_state(folder, *two)
    assert checkpoint.read_state(folder)[0] == state
    assert (
        two[2].state_dict() == scaler.state_dict() and scaler.state_dict()["_growth_tracker"] == 3
    )
    for _ in range(3):  # the scale grows in the second
        step(*one)
        step(*two)
    assert two[2].get_scale() == 2.0**8
    others = optimizer_tensors(*two[:2])
    assert others.keys() == optimizer_tensors(*one[:2]).keys()
    for key, mine in optimizer_tensors(*one[:2]).items():
        assert mine.dtype == others[key].dtype and torch.equal(mine, others[key]), key
    for key, mine in one[0].state_dict().items():
        assert torch.equal(mine, two[0].state_dict()[key]), key


def test_a_checkpoint_without_a_loss_scale_does_not_fit_a_run_that_needs_one(halted):
    model = Transformer(preset("nano", vocab_size=259), seed=0)
    optimizer = make_optimizer("adamw", model, 0.1, (0.9, 0.99))
    with pytest.raises(MinimindError, match=r"step-000006 does not fit this run .*disabled"):
        checkpoint.load_training_state(
            halted / "checkpoints" / "step-000006", model, optimizer, torch.amp.GradScaler("cpu")
        )


def test_tensors_are_written_from_where_they_lie(tmp_path, monkeypatch):
    """No copy: a checkpoint may not need memory for the optimizer twice."""
    model = Transformer(preset("nano"), seed=0)
    optimizer = make_optimizer("adamw", model, 0.1, (0.9, 0.99))
    model(torch.arange(8).reshape(1, 8)).sum().backward()
    optimizer.step()
    written, real = {}, checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", lambda tensors, path: (
        written.update({path.name: tensors}), real(tensors, path)))  # fmt: skip
    checkpoint.save_checkpoint(tmp_path, model, optimizer, ByteTokenizer(), State(1), {})
    own = {v.data_ptr() for state in optimizer.state.values() for v in state.values()}
    found = {tensor.data_ptr() for tensor in written["optimizer.safetensors"].values()}
    assert len(found) > 20 and found == own
