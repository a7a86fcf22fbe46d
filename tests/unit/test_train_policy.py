"""Advantages and policy losses: what must hold exactly, and what must be refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.infer.rollout import rollout
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.advantages import (
    ValueTracker,
    constant_groups,
    gae,
    group_advantages,
    leave_one_out,
    token_rewards,
    whiten,
)
from minimind_wiki.train.policy import (
    MEANS,
    cispo,
    clipped,
    divisor,
    drift,
    kl_estimate,
    next_kl_weight,
    overlong_penalty,
    passes,
    reinforce,
    rows_to_learn,
    total,
    without_truncated,
)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6, -0.7, 0.0])
@pytest.mark.parametrize("scale", [True, False])
def test_a_constant_group_gets_exactly_zero_and_is_counted(value, scale):
    reward = torch.cat([torch.full((7,), value), drawn(7), torch.full((7,), value)])
    advantage, constant = group_advantages(reward, 7, scale)
    assert constant == 2
    assert (advantage[:7] == 0).all() and (advantage[14:] == 0).all()
    assert (advantage[7:14] != 0).all()
    assert constant_groups(reward, 7).tolist() == [True, False, True]
    assert rows_to_learn(reward, 7).tolist() == list(range(7, 14))
    out, constant = leave_one_out(reward, 7)
    assert constant == 2 and (out[:7] == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_broken_reward_is_refused_with_its_row(bad):
    reward = torch.tensor([1.0, 0.0, bad, 1.0])
    mask = torch.ones(4, 3, dtype=torch.bool)
    for use in (
        lambda: group_advantages(reward, 2),
        lambda: leave_one_out(reward, 2),
        lambda: constant_groups(reward, 2),
        lambda: token_rewards(reward, mask),
        lambda: ValueTracker().update(list("abcd"), reward, torch.zeros(4)),
        lambda: ValueTracker().advantages(list("abcd"), reward),
    ):
        with pytest.raises(MinimindError, match="reward of row 2 "):
            use()


def test_wrong_calls_say_what_to_do():
    with pytest.raises(WrongCall, match="5 rewards are no whole number of groups of 2"):
        group_advantages(torch.zeros(5), 2)
    with pytest.raises(WrongCall, match="groups of 2 or more"):
        leave_one_out(torch.zeros(5), 1)
    with pytest.raises(WrongCall, match="the reward of row 1 is 2"):
        ValueTracker().update(["a", "b"], torch.tensor([1.0, 2.0]), torch.zeros(2))
    with pytest.raises(WrongCall, match="unknown KL estimate 'k4'"):
        kl_estimate(torch.zeros(1), torch.zeros(1), "k4")
    mask = torch.ones(1, 2, dtype=torch.bool)
    for use in (total, divisor):
        with pytest.raises(WrongCall, match="unknown mean 'tokens'; did you mean 'token'"):
            use(mask, mask, "tokens") if use is total else use(mask, "tokens")
    with pytest.raises(WrongCall, match="give `longest`"):
        divisor(mask, "constant")
    with pytest.raises(WrongCall, match="target KL is 0"):
        next_kl_weight(0.1, 1.0, 0)
    with pytest.raises(WrongCall, match="cushion is 0"):
        overlong_penalty(torch.zeros(1), 10, 0)


@pytest.mark.parametrize("mean", MEANS)
def test_micro_batches_add_up_to_the_whole(mean):
    """Any cut of the rows gives the loss and gradient of the whole step."""
    mask = drawn(6, 5) > 0
    logp, old = (-drawn(6, 5, seed=s).abs() for s in (1, 2))
    advantage = drawn(6, 1, seed=3)
    count = divisor(mask, mean, longest=5)

    def gradient(cuts: list[int]) -> torch.Tensor:
        leaf = logp.clone().requires_grad_()
        for a, b in pairwise(cuts):
            loss = clipped(leaf[a:b], old[a:b], advantage[a:b])
            (total(loss, mask[a:b], mean) / count).backward()
        return leaf.grad

    whole = gradient([0, 6])
    assert (whole != 0).any()
    for cuts in ([0, 1, 6], [0, 3, 4, 6]):
        torch.testing.assert_close(gradient(cuts), whole)


def test_under_the_row_mean_a_long_row_weighs_no_more_than_a_short_one():
    mask = torch.tensor([[True] * 8, [True] + [False] * 7])
    share = {mean: total(torch.ones(2, 8), mask, mean) for mean in MEANS}
    assert (share["row"], share["token"], share["constant"]) == (2, 9, 9)


@pytest.mark.parametrize("mean", MEANS)
def test_a_batch_without_a_sampled_token_adds_zero_and_no_nan(mean):
    mask = without_truncated(torch.ones(2, 3, dtype=torch.bool), torch.tensor([False, False]))
    logp = torch.zeros(2, 3, requires_grad=True)
    advantage = torch.full((2, 1), 5.0)
    loss = total(clipped(logp, torch.zeros(2, 3), advantage), mask, mean) / divisor(mask, mean, 3)
    loss.backward()
    assert loss == 0 and (logp.grad == 0).all()
    assert drift(logp, logp, advantage, mask) == {"kl": 0.0, "clipped": 0.0}
    assert (whiten(torch.ones(2, 3), mask) == 0).all()
    assert (token_rewards(torch.ones(2), mask, torch.ones(2, 3)) == 0).all()
    advantages, returns = gae(torch.ones(2, 3), torch.ones(2, 3), mask)
    assert (advantages == 0).all() and (returns == 0).all()


def test_all_losses_have_one_gradient_where_the_policy_has_not_moved():
    """With ratio 1 nothing is clipped: PPO, GRPO and CISPO are REINFORCE."""
    old, advantage = -drawn(4, 6).abs(), drawn(4, 1, seed=1)
    gradients = []
    for loss in (lambda x: reinforce(x, advantage), lambda x: clipped(x, old, advantage),
                 lambda x: cispo(x, old, advantage)):  # fmt: skip
        leaf = old.clone().requires_grad_()
        gradients.append(torch.autograd.grad(loss(leaf).sum(), leaf)[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


def test_the_gradient_of_sampled_rows_is_that_of_the_expected_reward():
    """Sampler, advantage and loss together, against the sum over all 259 tokens.

    The error of a mean of n samples has the expected square trace(covariance) / n.
    """
    net, prompt, n, warmth = Transformer(preset("nano", initializer_range=0.2)), [5, 6], 4000, 0.7
    worth_V = drawn(259)
    out = rollout(net, [prompt], n, 1, warmth, generator=torch.Generator().manual_seed(0))
    token_B = out.next_BT[out.mask_BT]
    advantage_B, _ = leave_one_out(worth_V[token_B], n)
    logits_V = net(torch.tensor([prompt]))[0, -1].detach().requires_grad_()
    logp_V = torch.log_softmax(logits_V / warmth, -1)
    loss_B1 = reinforce(logp_V[token_B][:, None], advantage_B[:, None])
    loss = total(loss_B1, torch.ones(n, 1, dtype=torch.bool)) / n
    got = torch.autograd.grad(loss, logits_V, retain_graph=True)[0]
    wanted = torch.autograd.grad(-(logp_V.exp() * worth_V).sum(), logits_V)[0]
    p_V = logp_V.detach().exp()
    each_VV = -(worth_V - p_V @ worth_V)[:, None] * (torch.eye(259) - p_V) / warmth
    error = ((p_V @ (each_VV - wanted).square()).sum() / n).sqrt()
    assert (got - wanted).norm() < 1.5 * error
    assert wanted.norm() > 5 * error  # else the test could not see a wrong sign


def test_the_clip_stops_where_it_should_and_cispo_does_not():
    ratio = torch.tensor([[1.25, 1.35, 0.7, 1.25, 1.35, 0.7]])
    advantage = torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]])
    leaf = ratio.log().requires_grad_()
    loss = clipped(leaf, torch.zeros(1, 6), advantage, low=0.2, high=0.28)
    grad = torch.autograd.grad(loss.sum(), leaf)[0][0]
    assert (grad == 0).tolist() == [False, True, False, False, False, True]
    assert (torch.sign(grad) == -torch.sign(advantage[0]))[grad != 0].all()
    mask = torch.ones(1, 6, dtype=torch.bool)
    moved = drift(leaf, torch.zeros(1, 6), advantage, mask, low=0.2, high=0.28)
    assert moved["clipped"] == pytest.approx(2 / 6)
    loss = cispo(leaf, torch.zeros(1, 6), advantage, most=1.3)
    grad = torch.autograd.grad(loss.sum(), leaf)[0]
    torch.testing.assert_close(grad, -ratio.clamp(max=1.3) * advantage)


def test_no_update_follows_the_stop_in_this_epoch_or_any_other():
    """The passes end for good, even if a later question would be answered with no."""
    answers, seen = iter([False, False, True] + [False] * 20), []
    for part in passes(["a", "b"], epochs=5, too_far=lambda: next(answers)):
        seen.append(part)
    assert seen == ["a", "b", "a"]
    assert list(passes(["a", "b"], 3, lambda: False)) == ["a", "b"] * 3
    assert list(passes(["a", "b"], 3, lambda: True)) == ["a"]


def test_the_reward_stands_on_the_end_token_and_the_penalty_on_all():
    mask = torch.tensor([[False, True, False, True, False], [True, False, False, False, False]])
    penalty = torch.full((2, 5), 0.25)
    got = token_rewards(torch.tensor([1.0, -1.0]), mask, penalty)
    assert got.tolist() == [[0, -0.25, 0, 0.75, 0], [-1.25, 0, 0, 0, 0]]


def test_what_a_tool_says_is_no_step_of_the_policy():
    """GAE over a row with a gap equals that over the row without it."""
    reward, value = drawn(1, 5), drawn(1, 5, seed=1)
    gap = torch.tensor([[True, True, False, False, True]])
    short = gae(reward[gap][None], value[gap][None], torch.ones(1, 3, dtype=torch.bool), 0.9, 0.8)
    long = gae(reward, value, gap, 0.9, 0.8)
    for a, b in zip(short, long, strict=True):
        torch.testing.assert_close(a, b[gap][None])


def test_the_value_tracker_serves_every_row_where_a_group_would_be_silent():
    tracker = ValueTracker()
    prompts, solved = ["easy", "easy", "hard", "hard"], torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert (group_advantages(solved, 2)[0] == 0).all()
    advantage = tracker.advantages(prompts, solved)
    assert (advantage[:2] > 0).all() and (advantage[2:] < 0).all()
    for _ in range(20):
        tracker.update(prompts, solved, torch.zeros(4))
    easy, hard, new = tracker.expected(["easy", "hard", "new"]).tolist()
    assert easy > 0.95 and hard < 0.05 and new == 0.5
    weights = tracker.weights(["easy", "new"])
    assert weights[1] > weights[0] > 0.05


def test_an_adapted_kl_weight_holds_the_kl_at_its_target():
    """A policy whose KL is 1 / β settles where β = 1 / target."""
    weight = 0.05
    for _ in range(400):
        weight = next_kl_weight(weight, kl=1 / weight, target=4.0)
    assert weight == pytest.approx(0.25, rel=1e-3)
