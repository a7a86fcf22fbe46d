"""GRPO's options: each does what its paper says, and none of them changes a run that leaves it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from stops_at import StopAt
from sums_toy import judge_by, save_base, sums_config

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train import grpo as module
from minimind_wiki.train.advantages import ValueTracker
from minimind_wiki.train.baseline import Beliefs, RunningMean
from minimind_wiki.train.grpo import GrpoSettings, PolicyLoss, grpo
from minimind_wiki.train.logprobs import logprobs
from minimind_wiki.train.parallel import Alone

TOKENIZER = ByteTokenizer()
SETTINGS = GrpoSettings(group=4, max_new_tokens=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def config(base, tmp_path):
    return sums_config(base, tmp_path / "sums.jsonl", steps=4, batch_size=16, eval_every=4)


@pytest.fixture
def pay(monkeypatch):
    """Judge by a function of row and reply."""
    return lambda reward: judge_by(monkeypatch, reward)


@pytest.fixture
def batches(monkeypatch):
    """The batches that runs read."""
    seen, at = [], module.Game.at

    def keep(self, step):
        seen.append(at(self, step))
        return seen[-1]

    monkeypatch.setattr(module.Game, "at", keep)
    return seen


def length(row, reply):
    return float(reply.tokens)


def changed(**fields):
    return dataclasses.replace(SETTINGS, **fields)


def weights(outcome):
    return outcome.model.state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_long_answers_cost_more_the_nearer_they_come_to_the_limit(config, pay):
    """With a cushion of all 40 tokens an answer of n tokens loses n / 40."""
    pay(lambda row, reply: 1.0)
    config = dataclasses.replace(config, steps=2, eval_every=2)
    curve = grpo(config, changed(max_new_tokens=40, overlong_cushion=40)).state.train
    assert curve["tokens"][0] < 40
    for reward, tokens in zip(curve["reward"], curve["tokens"], strict=True):
        assert reward == pytest.approx(1 - tokens / 40)
    short = grpo(config, changed(max_new_tokens=40, overlong_cushion=4)).state.train
    assert short["reward"][0] > curve["reward"][0] and short["tokens"][0] == curve["tokens"][0]


def test_nothing_is_learned_from_cut_answers_and_a_step_of_them_is_passed_over(config, pay):
    pay(length)
    start = Transformer(preset("nano"), seed=0).state_dict()
    # no answer of 1 token of 259 ends, but for a draw of the end token itself
    outcome = grpo(config, changed(leave_out_cut=True, max_new_tokens=1))
    ended = outcome.state.train.get("ended", [])
    assert outcome.state.skipped == 4 - len(ended)
    assert outcome.state.skipped > 0 and (ended or same(weights(outcome), start))


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_the_gradient_without_cut_answers_is_that_of_the_others(loss, config):
    model = Transformer(preset("nano"), seed=0)
    settings = changed(loss=loss, kl_weight=0.1)
    policy = PolicyLoss(model, Transformer(preset("nano"), seed=1), settings, 0)
    draw = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(250, (4, 9), generator=draw)
    labels_BT = torch.randint(250, (4, 9), generator=draw)
    labels_BT[:, :3] = IGNORE
    more = {"advantage_B1": torch.tensor([[1.0], [-1.0], [0.5], [2.0]]),
            "old_BT": logprobs(model, ids_BT, labels_BT).logp_BT.detach() + 0.1}  # fmt: skip
    learn_B1 = torch.tensor([[True], [False], [True], [False]])

    def gradient(rows, **mark):
        model.zero_grad()
        some = {name: tensor[rows] for name, tensor in more.items()}
        policy(ids_BT[rows], labels_BT[rows], None, **some, **mark).backward()
        return model.lm_head.weight.grad.clone()

    rows = torch.arange(4)
    marked = gradient(rows, learn_B1=learn_B1)
    torch.testing.assert_close(marked, gradient(rows[learn_B1[:, 0]]))
    assert not torch.allclose(marked, gradient(rows))


def test_the_divisor_counts_what_is_learned(config, pay, batches):
    pay(length)
    grpo(dataclasses.replace(config, steps=1, batch_size=64, eval_windows=1), changed(
        loss="dapo", leave_out_cut=True, max_new_tokens=24))  # fmt: skip
    (batch,) = batches
    learned = (batch.labels_BT != IGNORE) & batch.more["learn_B1"]
    assert 0 < batch.divisor == int(learned.sum()) < batch.predicted


def test_groups_that_teach_nothing_give_way_to_other_prompts(config, pay):
    def every_third(row, reply):
        return float(sum(map(ord, reply.answer))) if int(row["gt"][0]) % 3 == 0 else 1.0

    pay(every_third)
    before = grpo(config, SETTINGS).state.train
    once, often = (grpo(config, changed(resample=n)).state.train for n in (1, 40))
    left = [sum(run["groups_without_signal"]) for run in (before, once, often)]
    assert left[0] > left[1] > left[2] == 0
    assert "groups_replaced" not in before
    assert 0 < sum(once["groups_replaced"]) < sum(often["groups_replaced"])
    # the reward is that of all prompts: of those that gave way, too
    assert once["reward"][0] != before["reward"][0]


def test_a_batch_of_other_prompts_holds_their_answers(config, pay, batches):
    """Each group is of one prompt, and its rewards are those of its own answers."""
    pay(lambda row, reply: reply.tokens * (int(row["gt"][0]) % 2))
    grpo(dataclasses.replace(config, steps=1), changed(resample=8, loss="dr_grpo"))
    (batch,) = batches
    mask_BT = batch.labels_BT != IGNORE
    lengths_PG = mask_BT.sum(1).float().view(-1, 4)
    wanted_PG = lengths_PG - lengths_PG.mean(1, keepdim=True)
    torch.testing.assert_close(batch.more["advantage_B1"].view(-1, 4), wanted_PG)
    for group in range(4):
        begins = {tuple(batch.ids_BT[row, : int(mask_BT[row].nonzero()[0]) + 1].tolist())
                  for row in range(4 * group, 4 * group + 4)}  # fmt: skip
        assert len(begins) == 1
    start = Transformer(preset("nano"), seed=0)
    found = logprobs(start, batch.ids_BT, batch.labels_BT).logp_BT
    assert torch.allclose(found, batch.more["old_BT"], atol=1e-5)


def test_updates_learn_from_the_same_answers_and_begin_at_a_ratio_of_one(config, pay, batches):
    pay(length)
    outcome = grpo(config, changed(updates=2))
    assert batches[0] is batches[1] and batches[2] is batches[3]
    assert not torch.equal(batches[0].ids_BT, batches[2].ids_BT)
    start = Transformer(preset("nano"), seed=0)
    with torch.no_grad():
        found = logprobs(start, batches[0].ids_BT, batches[0].labels_BT).logp_BT
    assert torch.equal(found, batches[0].more["old_BT"])  # the trainer's own, to the bit
    assert 0 < outcome.state.train["sampler_gap"][0] < 1e-5
    # the answers of cycle n are those that a run with one update would draw in step n
    batches.clear()
    grpo(dataclasses.replace(config, steps=1, eval_every=1), SETTINGS)
    again = [b for b in batches if b.ids_BT.shape == batches[0].ids_BT.shape]
    assert again and set(outcome.state.train) - {"sampler_gap"} == {
        "step", "loss", "reward", "right", "tokens", "ended", "groups_without_signal",
        "prompts_too_long"}  # fmt: skip


@pytest.mark.parametrize("fields", [
    {"updates": 2, "sampler_weight": 2.0}, {"loss": "reinforce", "group": 1},
    {"loss": "spo", "group": 1},
    {"resample": 2, "leave_out_cut": True, "overlong_cushion": 3, "loss": "dapo",
     "max_new_tokens": 40},
])  # fmt: skip
def test_a_stopped_run_resumes_to_the_bit(fields, config, pay, tmp_path):
    pay(lambda row, reply: reply.tokens / 40)
    settings = changed(**fields)
    steps = 2 * settings.updates
    config = dataclasses.replace(config, steps=steps, eval_every=steps, eval_windows=1)
    whole = grpo(config, settings, tmp_path / "whole")
    stopped = grpo(config, settings, tmp_path / "run", report=StopAt(1))
    assert not stopped.finished and stopped.state.step == settings.updates
    resumed = grpo(config, settings, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    assert same(weights(resumed), weights(whole))


def test_answers_are_scored_under_the_distribution_that_they_were_drawn_from(config, pay, batches):
    """So the correction is 1 but for rounding, at any temperature; and it weighs a token's loss."""
    pay(length)
    grpo(dataclasses.replace(config, steps=1), changed(temperature=0.6, sampler_weight=2.0))
    (batch,) = batches
    weight_BT = batch.more["weight_BT"]
    assert torch.allclose(weight_BT, torch.ones_like(weight_BT), atol=1e-5)
    policy = PolicyLoss(Transformer(preset("nano"), seed=0), None, changed(temperature=0.6), 0)
    plain = {name: t for name, t in batch.more.items() if name != "weight_BT"}
    plain["advantage_B1"] = torch.rand(16, 1, generator=torch.Generator().manual_seed(0))
    loss = policy(batch.ids_BT, batch.labels_BT, None, **plain)
    double = policy(batch.ids_BT, batch.labels_BT, None, **plain, weight_BT=2 * weight_BT)
    assert double.item() == pytest.approx(2 * loss.item(), rel=1e-4)


def test_the_running_mean_looks_back_only_and_forgets(config):
    baseline, found = RunningMean(memory=0.5), []
    for rewards in ([2.0, 4.0], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]):
        found.append(baseline.advantages(torch.tensor(rewards), Alone()).tolist())
    assert found[:3] == [[2.0, 4.0], [0.0, 0.0], [-3.0, -3.0]]
    # before the fourth: (0 + 3 / 2 + 3 / 4) / (1 + 1 / 2 + 1 / 4)
    assert found[3] == pytest.approx([1 - 2.25 / 1.75] * 2)


def test_beliefs_are_those_of_the_value_tracker_at_its_longest_memory():
    """One answer a prompt; a drift of 0 lets the tracker forget as little as it can."""
    tracker, table = ValueTracker(), Beliefs(memory=0.96)
    prompts = [[1, 2], [3], [1, 2, 3]]
    names = ["a", "b", "c"]
    for rewards in ([1.0, 0.0, 0.5], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]):
        reward = torch.tensor(rewards)
        wanted = tracker.advantages(names, reward)
        torch.testing.assert_close(table.advantages(prompts, reward, Alone()), wanted)
        tracker.update(names, reward, torch.zeros(3))
    for slot, name in zip(table.slots(prompts).tolist(), names, strict=True):
        assert table.beliefs_K2[slot].tolist() == pytest.approx(tracker.beliefs[name])


def test_answers_to_one_prompt_are_one_visit_of_a_belief():
    table = Beliefs(memory=0.5)
    table.advantages([[7], [7], [8]], torch.tensor([1.0, 0.0, 1.0]), Alone())
    seven, eight = table.beliefs_K2[table.slots([[7], [8]])].tolist()
    assert seven == [0.75, 0.75] and eight == [1.25, 0.25]
    assert (table.beliefs_K2 != 0.5).any(1).sum() == 2
    with pytest.raises(WrongCall, match="rewards from 0 to 1"):
        table.advantages([[7]], torch.tensor([1.1]), Alone())
    with pytest.raises(MinimindError, match="reward of row 0 is nan"):
        table.advantages([[7]], torch.tensor([float("nan")]), Alone())


def test_settings_that_cannot_work_are_refused(config):
    for changes, words in (
        ({"updates": 2, "loss": "rloo"}, "rloo is right only for answers of the weights as they"),
        ({"updates": 0}, "updates is 0"), ({"turns": 0}, "turns is 0"),
        ({"updates": 3}, "steps is 4, but 3 steps share their samples"),
        ({"resample": 1, "loss": "reinforce"}, "resample replaces groups"),
        ({"overlong_cushion": 3, "loss": "spo"}, "spo needs rewards from 0 to 1"),
        ({"overlong_cushion": 7}, "more than max_new_tokens"),
        ({"sampler_weight": -1.0}, "sampler_weight is -1.0"),
        ({"group": 1}, "it must be 2 or more"),
    ):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            grpo(config, changed(**changes))


def test_processes_that_cannot_share_the_groups_are_refused(config, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(WrongCall, match="16, which 3 processes cannot share in groups of 4"):
        SETTINGS.validate(config)
