"""What a method may ask of the loop: a head of its own, cycles, steps without a batch."""

import dataclasses
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer import load_model_folder, save_model_folder
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.checkpoint import list_checkpoints
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.method import Method, Tuning
from minimind_wiki.train.optim import make_optimizer
from minimind_wiki.train.pretrain import pretrain

TOKENIZER = ByteTokenizer()


@pytest.fixture
def config(tmp_path):
    base = save_model_folder(tmp_path / "base", Transformer(preset("nano"), seed=0), TOKENIZER)
    return TrainConfig(init=str(base), steps=8, batch_size=2, context_length=16, eval_every=4,
                       sample_tokens=0, device="cpu", threads=1, learning_rate=1e-3,
                       prefetch=0)  # fmt: skip


class Sign(nn.Module):
    """Squared distance of a number read from the last state to 1, summed over rows."""

    def __init__(self, model, head):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, ids_BT, labels_BT, documents_BT):
        state_BD = self.model.model(ids_BT)[:, -1]
        return F.mse_loss(self.head(state_BD), torch.ones(len(ids_BT), 1), reduction="sum")


def run(config, out=None, resume=False, passed=(), cycle=1, at_step=lambda step: None):
    seen, finished = {}, []

    def make(work, settings):
        torch.manual_seed(5)
        head = nn.Linear(work.model.config.hidden_size, 1)
        head.register_buffer("counted", torch.zeros(()))
        loss = Sign(work.model, head)

        def at(step):
            at_step(step)
            head.counted += 1
            ids_BT = torch.arange(32).view(2, 16).roll(step % 2, 0)
            return None if step in passed else Tokens(ids_BT, ids_BT, units=2)

        def assess():
            ids_BT = torch.arange(32).view(2, 16)
            with torch.no_grad():
                value = float(loss(ids_BT, ids_BT, None))
            seen.update(head=head)
            return {"loss": value}

        def finish(folder, tokenizer):
            finished.append((tokenizer.name, head.weight.detach().clone()))

        return Method(loss, at, assess, head=head, cycle=cycle, finish=finish)

    feed = Feed(None, (), np.empty(0, np.int64), (),
                {"name": "toy", "source": "toy", "bytes": 0, "sha256": "0"}, "", "")  # fmt: skip
    tuning = Tuning("toy", dataclasses.make_dataclass("None_", [])(), make)
    outcome = pretrain(config, {}, out, resume, feed=feed, tuning=tuning)
    return outcome, seen["head"], finished


def test_a_head_learns_and_is_saved_beside_a_plain_model(config, tmp_path):
    out = tmp_path / "run"
    outcome, head, finished = run(config, out)
    torch.manual_seed(5)
    start = nn.Linear(head.in_features, 1)
    assert not torch.equal(start.weight, head.weight)
    assert outcome.state.held_out["loss"][-1] < outcome.state.held_out["loss"][0]
    stored = load_file(list_checkpoints(out)[-1][1] / "method.safetensors")
    assert torch.equal(stored["extra.weight"], head.weight) and stored["extra.counted"] == 8
    plain = load_model_folder(out, "cpu")[0]
    assert set(plain.state_dict()) == set(Transformer(preset("nano")).state_dict())
    assert [name for name, _ in finished] == ["bytes"]


def test_a_head_resumes_to_the_bit_and_finishes_with_the_best_step(config, tmp_path):
    whole, head, finished = run(config, tmp_path / "whole")
    half = tmp_path / "half"
    run(config, half)
    (half / "run.json").unlink()
    last = list_checkpoints(half)[-1][1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again, other, finished_again = run(config, half, resume=True)
    assert again.state.held_out == whole.state.held_out
    assert torch.equal(head.weight, other.weight) and other.counted == 8
    best = tmp_path / "whole" / "checkpoints" / f"step-{whole.state.best_step:06d}"
    stored = load_file(best / "method.safetensors")["extra.weight"]
    assert torch.equal(finished[0][1], stored) and torch.equal(finished_again[0][1], stored)


def test_a_step_without_a_batch_moves_nothing_and_is_counted(config):
    none, head, _ = run(config, passed=range(8))
    torch.manual_seed(5)
    assert torch.equal(head.weight, nn.Linear(head.in_features, 1).weight)
    assert none.state.skipped == 8 and none.state.tokens == 0
    assert none.state.train["step"] == []  # no loss, so no point
    some, _, _ = run(config, passed=(2, 7))
    assert some.state.skipped == 2 and some.state.train["step"] == [1, 2, 4, 5, 6, 7]
    assert len(some.state.train["loss"]) == 6


def test_a_signal_waits_for_the_end_of_a_cycle(config, tmp_path):
    def stop(step):
        if step == 1:
            signal.raise_signal(signal.SIGTERM)

    outcome, _, _ = run(config, tmp_path / "run", cycle=4, at_step=stop)
    assert not outcome.finished and outcome.state.step == 4
    outcome, _, _ = run(config, tmp_path / "other", cycle=1, at_step=stop)
    assert outcome.state.step == 2


@pytest.mark.parametrize("wrong", [{"steps": 6}, {"eval_every": 2}, {"save_every": 3}])
def test_a_cycle_must_fit_into_every_interval(config, wrong):
    with pytest.raises(WrongCall, match=f"{next(iter(wrong))} is .* a multiple of 4"):
        run(dataclasses.replace(config, **wrong), cycle=4)


def test_a_head_stays_with_adamw_under_muon():
    model = Transformer(preset("nano"), seed=0)
    model.add_module("extra", nn.Linear(model.config.hidden_size, 1))
    optimizer = make_optimizer("muon", model, 0.1, (0.9, 0.95))
    by_muon = next(g for g in optimizer.param_groups if g.get("muon"))["params"]
    assert all(p is not model.extra.weight for p in by_muon)
    assert sum(p is model.extra.weight for g in optimizer.param_groups for p in g["params"]) == 1


@pytest.mark.parametrize("name", ["adamw8bit", "paged_adamw8bit"])
@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_eight_bit_states_resume_to_the_bit(config, name, tmp_path):
    config = dataclasses.replace(config, optimizer=name)
    whole, _, _ = run(config, tmp_path / "whole")
    half = tmp_path / "half"
    run(config, half)
    (half / "run.json").unlink()
    last = list_checkpoints(half)[-1][1]
    stored = load_file(last / "optimizer.safetensors")
    assert stored["model.layers.0.mlp.up_proj.weight|state1"].dtype is torch.uint8
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again, _, _ = run(config, half, resume=True)
    assert again.state.held_out == whole.state.held_out
    assert whole.state.held_out["loss"][-1] < whole.state.held_out["loss"][0]
