"""PPO on the loop: the chain from reward to loss, cycles that share answers, and when they end."""

import dataclasses
import itertools

import pytest
import torch
from stops_at import StopAt
from sums_toy import judge_by, save_base, sums_config

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.rollout import Rollout
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer import ByteTokenizer
from minimind_wiki.train.critic import Critic
from minimind_wiki.train.device import choose
from minimind_wiki.train.logprobs import logprobs
from minimind_wiki.train.method import Workshop
from minimind_wiki.train.play import open_prompts
from minimind_wiki.train.ppo import Game, PpoSettings, ppo
from minimind_wiki.train.rater import open_rater, rate
from minimind_wiki.train.reward import RewardModel
from minimind_wiki.train.reward_folder import save_reward_folder

TOKENIZER = ByteTokenizer()
SETTINGS = PpoSettings(epochs=2, minibatches=2, max_new_tokens=6, max_drift=0.0, cut_penalty=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def config(base, tmp_path):
    return sums_config(base, tmp_path / "sums.jsonl", steps=8, batch_size=4, eval_every=8)


@pytest.fixture
def pay(monkeypatch):
    """Judge by a function of the reply alone."""
    return lambda reward: judge_by(monkeypatch, lambda row, reply: reward(reply))


@pytest.fixture
def work(config):
    model = Transformer(preset("nano"), seed=0)
    feed = open_prompts(config)[1]
    return Workshop(model, TOKENIZER, choose("cpu", "float32"), feed, config, 0)


def game(work, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    return Game(work, settings, open_prompts(work.config)[0])


def ascii_share(reply):
    return sum(letter.isascii() for letter in reply.answer) / 6


# ---- the chain, by hand


@pytest.fixture
def chain(work, monkeypatch):
    """A game whose one answer has two tokens, and what comes of it is small enough to compute."""
    config = dataclasses.replace(work.config, batch_size=1)
    it = game(dataclasses.replace(work, config=config), minibatches=1, kl_weight=0.5, lam=0.5)
    mask_BT = torch.tensor([[False, True, True]])
    zero_BT = torch.zeros(1, 3)
    drawn = Rollout(torch.tensor([[5, 6, 7]]), torch.tensor([[6, 7, 8]]), mask_BT, zero_BT,
                    torch.tensor([True]), 1.0)  # fmt: skip
    old_BT, value_BT = torch.tensor([[0.0, -1.0, -2.0]]), torch.tensor([[9.0, 0.5, 0.2]])
    monkeypatch.setattr(it, "answer", lambda *_: drawn)
    monkeypatch.setattr(it, "look", lambda *_: [old_BT, value_BT])
    monkeypatch.setattr(it, "distance", lambda *_: torch.tensor([[0.0, 0.1, -0.2]]))
    monkeypatch.setattr(it, "rewards", lambda *_: torch.tensor([1.0]))
    it.critic.rewards_3.copy_(torch.tensor([1.0, -1.0, 0.0]))  # one reward so far, of -1
    return it


def test_reward_advantage_and_loss_of_two_tokens_are_those_computed_by_hand(chain, monkeypatch):
    batch = chain.at(0)
    # rewards -1 and 1: mean 0, deviation √2. Less 0.5 · KL, the tokens earn -0.05 and 0.80711.
    # δ = -0.05 + 0.2 - 0.5 and 0.80711 - 0.2; A = δ₀ + 0.5 δ₁ and δ₁; two numbers whiten to ∓1/√2.
    close = {"rtol": 0, "atol": 1e-4}
    expected = [[0.0, -0.04645 + 0.5, 0.60711 + 0.2]]
    torch.testing.assert_close(batch.more["return_BT"], torch.tensor(expected), **close)
    expected = [[0.0, -0.70711, 0.70711]]
    torch.testing.assert_close(batch.more["advantage_BT"], torch.tensor(expected), **close)
    assert batch.divisor == 2

    # Both ratios are 1.5: it costs 1.5 / √2 whole, and gains no more than 1.2 / √2.
    # Values go from 0.5 to 1.0 and from 0.2 to 0.5; near ones are 0.7 and 0.4.
    # (1.0 - 0.45355)² = 0.29860 > (0.7 - 0.45355)², (0.4 - 0.80711)² = 0.16574 > (0.5 - 0.80711)²
    now = torch.tensor([[7.0, -1.0, -2.0]]) + torch.tensor(1.5).log()
    monkeypatch.setattr(chain.loss, "score", lambda *_: (now, torch.tensor([[8.0, 1.0, 0.5]])))
    loss = chain.loss(batch.ids_BT, batch.labels_BT, None, **batch.more)
    by_hand = 1.06066 - 0.84853 + 0.1 * (0.29860 + 0.16574) / 2
    torch.testing.assert_close(loss, torch.tensor(by_hand), **close)


def test_the_price_of_the_kl_falls_below_its_target_and_rises_above(chain, monkeypatch):
    chain.sample(0)  # -0.1 nats of 6: a fifth too little is the most that is counted
    assert float(chain.critic.kl_weight) == pytest.approx(0.5 * 0.98)
    monkeypatch.setattr(chain, "distance", lambda *_: torch.tensor([[0.0, 30.0, 30.0]]))
    chain.sample(1)
    assert float(chain.critic.kl_weight) == pytest.approx(0.5 * 0.98 * 1.02)
    assert chain.seen["kl_weight"] == pytest.approx(0.5 * 0.98)  # what the answers have paid


def test_the_running_scale_is_that_of_all_rewards():
    critic, draw = Critic(4), torch.Generator().manual_seed(0)
    parts = [5 + 3 * torch.randn(n, generator=draw) for n in (1, 7, 2, 30)]
    found = [critic.normalized(part) for part in parts]
    everything = torch.cat(parts)
    torch.testing.assert_close(found[-1], (parts[-1] - everything.mean()) / everything.std())
    assert torch.equal(found[0], torch.zeros(1))
    equal = Critic(4)
    assert [equal.normalized(torch.full((3,), 0.1)).abs().max() for _ in range(9)] == [0.0] * 9
    with pytest.raises(MinimindError, match="the reward of row 1 is nan"):
        critic.normalized(torch.tensor([0.0, float("nan")]))


def test_a_faster_head_moves_its_values_further_by_the_same_gradient():
    hidden_BTD = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    moved, gradients = [], []
    for faster in (1.0, 20.0):
        critic = Critic(4, rate=faster)
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
        critic(hidden_BTD).sum().backward()
        gradients.append(critic.score.weight.grad.clone())
        optimizer.step()
        moved.append(critic(hidden_BTD).detach())
    torch.testing.assert_close(moved[1], 20 * moved[0])
    assert moved[0].abs().min() > 0 and torch.equal(*gradients)


# ---- cycles


def test_a_cycle_begins_with_the_trainers_own_numbers_and_passes_over_all_answers(work, pay):
    pay(ascii_share)
    it = game(work)
    batches = [it.at(step) for step in range(4)]
    first = batches[0]
    scored = logprobs(work.model, first.ids_BT, first.labels_BT)
    torch.testing.assert_close(first.more["old_BT"], scored.logp_BT, rtol=0, atol=1e-5)
    assert not first.more["value_BT"].any()  # the head begins at 0
    assert it.seen["sampler_gap"] < 1e-4 and it.seen["kl"] == pytest.approx(0.0, abs=1e-5)
    assert first.own and first.divisor == first.predicted
    passes = [torch.cat([b.labels_BT for b in some]) for some in (batches[:2], batches[2:])]
    rows = [sorted(map(tuple, labels_BT.tolist())) for labels_BT in passes]
    assert rows[0] == rows[1] and len(rows[0]) == 8
    assert passes[0].tolist() != passes[1].tolist()  # in another order


def test_the_rest_of_a_cycle_is_passed_over_when_the_policy_has_moved(config, pay, monkeypatch):
    pay(ascii_share)
    seen, at = [], Game.at

    def keep(self, step):
        found = at(self, step)
        seen.append((found is None, self.work.model.lm_head.weight.detach().clone()))
        return found

    monkeypatch.setattr(Game, "at", keep)
    outcome = ppo(config, dataclasses.replace(SETTINGS, max_drift=1e-6))
    assert [stopped for stopped, _ in seen] == [False, True, True, True] * 2
    weights = [weight for _, weight in seen]
    for before, after in itertools.pairwise(weights[1:5]):
        assert torch.equal(before, after)
    assert not torch.equal(weights[0], weights[1])
    assert outcome.state.skipped == 6 and outcome.state.step == 8
    assert outcome.state.train["drift"][1] > 1e-6  # said with the next update that is made

    seen.clear()
    assert not ppo(config, dataclasses.replace(SETTINGS, max_drift=10.0)).state.skipped


def test_once_stopped_a_cycle_stays_stopped(work, pay, monkeypatch):
    pay(ascii_share)
    it, told = game(work, max_drift=0.1), iter([0.05, 0.2, 0.0, 0.05, 0.05, 0.05])
    monkeypatch.setattr(it, "drifted", lambda _: next(told))
    stopped = [it.at(step) is None for step in range(8)]
    assert stopped == [False, False, True, True, False, False, False, False]


def test_paid_answers_become_more_likely(config, pay):
    pay(ascii_share)
    config = dataclasses.replace(config, steps=24, batch_size=32, learning_rate=1e-2, eval_every=24)
    reward = ppo(config, dataclasses.replace(SETTINGS, kl_weight=0.0)).state.train["reward"]
    assert sum(reward[-3:]) / 3 > sum(reward[:3]) / 3 + 0.1


def test_a_run_stops_between_cycles_and_resumes_to_the_bit(config, pay, tmp_path):
    pay(ascii_share)
    settings = dataclasses.replace(SETTINGS, kl_weight=0.1, max_drift=1e-3)
    whole = ppo(config, settings, tmp_path / "whole")
    stopped = ppo(config, settings, tmp_path / "run", report=StopAt(1))
    assert stopped.state.step == 4
    resumed = ppo(config, settings, tmp_path / "run", resume=True)
    assert resumed.state.train == whole.state.train
    assert len(set(whole.state.train["kl_weight"])) == 2
    other = whole.model.state_dict()
    assert all(torch.equal(t, other[name]) for name, t in resumed.model.state_dict().items())


def test_micro_batches_add_up_to_the_whole(config, pay):
    pay(ascii_share)
    config = dataclasses.replace(config, steps=4, eval_every=4)
    whole = ppo(config, SETTINGS).model.state_dict()
    parts = ppo(dataclasses.replace(config, micro_batch_size=1), SETTINGS).model.state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=5e-5)


# ---- judges


def test_an_answer_that_was_cut_is_worth_less(work, pay):
    pay(lambda reply: 0.75)
    it = game(work, cut_penalty=1.0)
    row, _ = it.fitting(0)
    ended_B = torch.tensor([True, False])
    ids_BT = torch.tensor([[5, 6], [5, 6]])
    drawn = Rollout(ids_BT, ids_BT, ids_BT > 0, ids_BT.float(), ended_B, 1.0)
    assert it.rewards([row, row], drawn).tolist() == [0.75, -0.25]


def test_a_reward_model_reads_each_answer_to_its_end(work, tmp_path):
    model = RewardModel(Transformer(preset("nano"), seed=3))
    folder = str(save_reward_folder(tmp_path / "reward", model, TOKENIZER))
    it = game(work, reward_model=folder)
    rows = [it.fitting(n)[0] for n in range(3)]
    drawn = it.answer(rows, 2, 1.0, 0)
    reward_B = it.rewards([row for row in rows for _ in range(2)], drawn)
    for i in range(6):
        text = it.prompt(rows[i // 2]) + drawn.sampled(i)[0]
        alone = model.eval()(torch.tensor([text]), torch.tensor([len(text)]))
        torch.testing.assert_close(reward_B[i], alone[0].detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rate(it.rater, drawn, at_once=2), reward_B, rtol=1e-4, atol=1e-5)
    found = it.assess()
    assert found["loss"] == -found["reward"] and "accuracy" in found

    short = RewardModel(Transformer(preset("nano", max_position_embeddings=64), seed=3))
    folder = str(save_reward_folder(tmp_path / "short", short, TOKENIZER))
    with pytest.raises(WrongCall, match="reads at most 64 tokens"):
        open_rater(folder, work)


def test_settings_that_cannot_work_are_refused(config):
    for changes, words in (({"epochs": 0}, "epochs is 0"),
                           ({"lam": 1.5}, "lam is 1.5"),
                           ({"clip": 0.0}, "clip is 0.0"),
                           ({"temperature": 0.0}, "temperature is 0.0"),
                           ({"kl_weight": -1.0}, "kl_weight is -1.0"),
                           ({"epochs": 3}, "steps is 8, but 6 steps share")):  # fmt: skip
        with pytest.raises(WrongCall, match=words):
            ppo(config, dataclasses.replace(SETTINGS, **changes))
