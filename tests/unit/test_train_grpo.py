"""Reinforcement learning on the loop: what a step samples, what it learns, and what it refuses."""

import dataclasses
import json

import pytest
import torch
from stops_at import StopAt
from sums_toy import judge_by, save_base, sums_config

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import grpo as module
from minimind_wiki.train.grpo import LOSSES, GrpoSettings, grpo
from minimind_wiki.train.logprobs import logprobs

TOKENIZER = ByteTokenizer()
SETTINGS = GrpoSettings(group=4, max_new_tokens=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def config(base, tmp_path):
    return sums_config(base, tmp_path / "sums.jsonl", steps=3, batch_size=8, eval_every=3)


@pytest.fixture
def pay(monkeypatch):
    """Judge by a function of the reply alone."""
    return lambda reward: judge_by(monkeypatch, lambda row, reply: reward(reply))


@pytest.fixture
def batches(monkeypatch):
    """The batches that runs read."""
    seen, at = [], module.Game.at

    def keep(self, step):
        seen.append(at(self, step))
        return seen[-1]

    monkeypatch.setattr(module.Game, "at", keep)
    return seen


def length(reply):
    return float(reply.tokens)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_makes_paid_answers_more_likely(loss, config, pay):
    pay(lambda reply: sum(letter.isascii() for letter in reply.answer) / 6)
    config = dataclasses.replace(config, steps=16, batch_size=64, learning_rate=1e-2, eval_every=16)
    reward = grpo(config, dataclasses.replace(SETTINGS, loss=loss)).state.train["reward"]
    assert sum(reward[-3:]) / 3 > sum(reward[:3]) / 3 + 0.1


def test_the_first_log_probabilities_are_those_that_the_loss_scores(config, batches):
    grpo(dataclasses.replace(config, steps=1), SETTINGS)
    (batch,) = batches
    start = Transformer(preset("nano"), seed=0)
    found = logprobs(start, batch.ids_BT, batch.labels_BT).logp_BT
    assert torch.allclose(found, batch.more["old_BT"], atol=1e-5)
    advantage_PG = batch.more["advantage_B1"].view(2, 4)
    assert torch.allclose(advantage_PG.sum(1), torch.zeros(2), atol=1e-5)
    assert (batch.labels_BT != IGNORE).any(1).all() and batch.divisor == 8


def test_equal_rewards_teach_nothing_and_are_counted(config, pay):
    pay(lambda reply: 1.0)
    outcome = grpo(config, SETTINGS)
    start = Transformer(preset("nano"), seed=0).state_dict()
    assert all(torch.equal(t, start[name]) for name, t in outcome.model.state_dict().items())
    assert outcome.state.train["groups_without_signal"] == [1.0] * 3


def test_a_reward_that_is_no_number_stops_the_run(config, pay):
    pay(lambda reply: float("nan"))
    with pytest.raises(MinimindError, match=r"the reward of row 0 .* is nan"):
        grpo(config, SETTINGS)


def test_a_stopped_run_resumes_to_the_bit(config, pay, tmp_path):
    pay(length)
    settings = dataclasses.replace(SETTINGS, kl_weight=0.1)
    whole = grpo(config, settings, tmp_path / "whole")
    assert not grpo(config, settings, tmp_path / "run", report=StopAt(2)).finished
    resumed = grpo(config, settings, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    other = whole.model.state_dict()
    assert all(torch.equal(t, other[name]) for name, t in resumed.model.state_dict().items())


def test_micro_batches_add_up_to_the_whole(config, pay):
    pay(length)
    config = dataclasses.replace(config, steps=1)
    for loss in ("grpo", "dapo", "dr_grpo"):
        settings = dataclasses.replace(SETTINGS, loss=loss)
        whole = grpo(config, settings).model.state_dict()
        parts = grpo(dataclasses.replace(config, micro_batch_size=2), settings).model.state_dict()
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=2e-5)


def test_settings_that_cannot_work_are_refused(config):
    for changes, words in (({"loss": "ppo"}, "unknown loss 'ppo'"),
                           ({"group": 3}, "group is 3, but it must be 2 or more and divide"),
                           ({"temperature": 0.0}, "temperature is 0.0"),
                           ({"kl_weight": -1.0}, "kl_weight is -1.0")):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            grpo(config, dataclasses.replace(SETTINGS, **changes))


def test_prompts_that_leave_no_room_are_replaced_and_counted(config, tmp_path):
    def rows(*lengths):
        path = tmp_path / "long.jsonl"
        said = [{"conversations": [{"role": "user", "content": "x" * n}], "gt": ["1"]}
                for n in lengths]  # fmt: skip
        path.write_text("".join(json.dumps(row) + "\n" for row in said))
        return dataclasses.replace(config, data=str(path), held_out=0.1)

    curve = grpo(rows(*[5, 500] * 10, 5, 5), SETTINGS).state.train
    assert sum(curve["prompts_too_long"]) > 0
    with pytest.raises(WrongCall, match="50 prompts in a row have more than 90 tokens"):
        grpo(rows(*[500] * 20, 5, 5), SETTINGS)
