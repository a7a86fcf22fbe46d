"""Policy losses against TRL's GRPOTrainer, KL against torch's distributions, the rest in float64.

TRL's losses live in a method, `GRPOTrainer._compute_loss`; it is called here on a stand-in that has
the attributes it reads and gives it our log-probabilities. Its advantages are inlined in a method
that generates, and its PPO trainer is gone (TRL 1.16): those are held equal to the formulas of the
papers, written out in float64 without masks or vectors.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from trl.rewards import get_soft_overlong_punishment
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanstd

from minimind_wiki.train.advantages import (
    ValueTracker,
    gae,
    group_advantages,
    leave_one_out,
    whiten,
)
from minimind_wiki.train.policy import (
    cispo,
    clipped,
    divisor,
    drift,
    entropy,
    kl_estimate,
    overlong_penalty,
    sampler_weight,
    total,
    value_loss,
    without_truncated,
)

B, T, LOW, HIGH, MOST, LONGEST, BETA, BONUS = 6, 9, 0.2, 0.28, 1.3, 16, 0.04, 0.01
MEANS = {"grpo": "row", "bnpo": "token", "dr_grpo": "constant", "dapo": "token", "cispo": "token"}


def no_metrics() -> dict:
    return defaultdict(list)


def batch(seed: int = 0) -> SimpleNamespace:
    """Random log-probabilities, far enough apart that clips are active; a row is cut, one empty."""
    draw = torch.Generator().manual_seed(seed)
    mask_BT = torch.arange(T) < torch.tensor([9, 4, 1, 7, 9, 0])[:, None]
    logp, old, reference, sampler = (
        (-1 + spread * torch.randn(B, T, generator=draw)).masked_fill(~mask_BT, 0.0)
        for spread in (0.8, 0.4, 0.5, 0.4)
    )
    advantage_B = torch.tensor([1.0, -0.7, 0.3, -1.2, 0.0, 2.0])
    bits = torch.rand(B, T, generator=draw)
    return SimpleNamespace(mask=mask_BT, logp=logp.requires_grad_(), old=old, reference=reference,
                           sampler=sampler, advantage=advantage_B, entropy=bits)  # fmt: skip


def trl_loss(data: SimpleNamespace, kind: str, beta: float, vllm: bool, bonus: float):
    """The loss of TRL on that batch, and the metrics it would log."""
    stand_in = SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=beta, loss_type=kind,
        epsilon_low=LOW, epsilon_high=MOST if kind == "cispo" else HIGH,
        use_vllm=vllm, vllm_importance_sampling_correction=vllm,
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1,
        max_completion_length=LONGEST, use_adaptive_entropy=False,
        _entropy_bonus_enabled=bonus > 0, entropy_coef=bonus, _metrics=defaultdict(no_metrics),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, sync_gradients=True,
                                    reduce=lambda x, reduction: x),
        _get_per_token_logps_and_entropies=lambda *a, **k: (data.logp, data.entropy, None),
    )  # fmt: skip
    prompt = torch.ones(B, 2, dtype=torch.int64)
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": prompt,
        "completion_ids": torch.ones(B, T, dtype=torch.int64),
        "completion_mask": data.mask.int(),
        "advantages": data.advantage,
        "old_per_token_logps": data.old,
        "ref_per_token_logps": data.reference,
        "importance_sampling_ratio": (data.old - data.sampler).exp().clamp(max=2.0),
        "num_items_in_batch": data.mask.sum(),
    }
    return GRPOTrainer._compute_loss(stand_in, None, inputs), stand_in._metrics["train"]


def our_loss(data: SimpleNamespace, kind: str, beta: float, correct: bool, bonus: float) -> Tensor:
    advantage_B1 = data.advantage[:, None]
    if kind == "cispo":
        loss_BT = cispo(data.logp, data.old, advantage_B1, MOST)
    else:
        loss_BT = clipped(data.logp, data.old, advantage_B1, LOW, HIGH)
    if correct:
        loss_BT = loss_BT * sampler_weight(data.old, data.sampler, 2.0)
    if beta:
        loss_BT = loss_BT + beta * kl_estimate(data.logp, data.reference, "k3")
    mean = MEANS[kind]
    loss = total(loss_BT, data.mask, mean) / divisor(data.mask, mean, LONGEST)
    return loss - bonus * total(data.entropy, data.mask) / divisor(data.mask)


@pytest.mark.parametrize("kind", MEANS)
@pytest.mark.parametrize(
    "beta, vllm, bonus", [(0, False, 0), (BETA, False, BONUS), (BETA, True, 0)]
)
def test_losses_and_gradients_are_those_of_trl(kind, beta, vllm, bonus):
    data = batch()
    theirs, metrics = trl_loss(data, kind, beta, vllm, bonus)
    ours = our_loss(data, kind, beta, vllm, bonus)
    torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6)
    wanted, got = (torch.autograd.grad(loss, data.logp)[0] for loss in (theirs, ours))
    assert (wanted != 0).sum() > 10
    torch.testing.assert_close(got, wanted, atol=1e-8, rtol=1e-6)
    if kind == "dapo":
        moved = drift(data.logp, data.old, data.advantage[:, None], data.mask, LOW, HIGH)
        assert 0.1 < moved["clipped"] < 0.9
        assert moved["clipped"] == pytest.approx(metrics["clip_ratio/region_mean"][0], abs=1e-6)


def test_truncated_rows_leave_the_mask_as_in_trl():
    data = batch()
    ended_B = torch.tensor([True, False, True, True, False, True])
    kept = without_truncated(data.mask, ended_B)
    assert torch.equal(kept.int(), data.mask.int() * ended_B.unsqueeze(1).int())


def test_overlong_penalty_is_trls():
    lengths = [0, 79, 80, 81, 95, 99, 100, 101, 140]
    theirs = get_soft_overlong_punishment(100, 20)([[0] * n for n in lengths])
    ours = overlong_penalty(torch.tensor(lengths), longest=100, cushion=20)
    torch.testing.assert_close(ours, torch.tensor(theirs), atol=1e-7, rtol=0)


def test_group_advantages_are_the_formulas_with_trls_std():
    reward = torch.randn(12, generator=torch.Generator().manual_seed(1))
    rows = reward.double().view(3, 4)
    normed = (rows - rows.mean(1, True)) / (nanstd(rows, dim=1, keepdim=True) + 1e-4)
    torch.testing.assert_close(
        group_advantages(reward, 4)[0].double(), normed.flatten(), atol=1e-6, rtol=0
    )
    others = [[r - (sum(row) - r) / 3 for r in row] for row in rows.tolist()]
    wanted = torch.tensor(others, dtype=torch.float64).flatten()
    torch.testing.assert_close(leave_one_out(reward, 4)[0].double(), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("gamma, lam", [(1.0, 1.0), (1.0, 0.95), (0.9, 0.7), (0.99, 0.0)])
@pytest.mark.parametrize("cut", [False, True])
def test_gae_is_the_sum_of_the_paper(gamma, lam, cut):
    """A_t = Σ_k (gamma lam)^k delta_{t+k} over the sampled tokens alone (arXiv:1506.02438)."""
    draw = torch.Generator().manual_seed(2)
    reward, value = torch.randn(B, T, generator=draw), torch.randn(B, T, generator=draw)
    mask = torch.rand(B, T, generator=draw) < 0.6  # with gaps, as tools leave them
    after = torch.randn(B, generator=draw) if cut else None
    advantage, returns = gae(reward, value, mask, gamma, lam, after)
    for row in range(B):
        places = mask[row].nonzero().flatten().tolist()
        v = [value[row, t].item() for t in places] + [after[row].item() if cut else 0.0]
        r = [reward[row, t].item() for t in places]
        delta = [r[i] + gamma * v[i + 1] - v[i] for i in range(len(places))]
        wanted = torch.zeros(T, dtype=torch.float64)
        for i, t in enumerate(places):
            wanted[t] = sum((gamma * lam) ** k * d for k, d in enumerate(delta[i:]))
        torch.testing.assert_close(advantage[row].double(), wanted, atol=1e-5, rtol=0)
        wanted = (wanted + value[row]).masked_fill(~mask[row], 0)
        torch.testing.assert_close(returns[row].double(), wanted, atol=1e-5, rtol=0)


def test_whitening_is_the_formula_over_the_mask():
    data = batch()
    inside = data.old.double()[data.mask]
    wanted = (inside - inside.mean()) / (inside.var(unbiased=True) + 1e-8).sqrt()
    white = whiten(data.old, data.mask)
    torch.testing.assert_close(white[data.mask].double(), wanted, atol=1e-6, rtol=0)
    assert (white[~data.mask] == 0).all()


def test_kl_estimates_against_torch_in_value_and_gradient():
    """The exact average over all tokens, weighed as the policy samples them."""
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(7, generator=draw, dtype=torch.float64, requires_grad=True)
    other = torch.randn(7, generator=draw, dtype=torch.float64)
    policy, reference = Categorical(logits=logits), Categorical(logits=other)
    logp, other_logp = policy.logits, reference.logits
    weight = policy.probs.detach()  # the tokens were sampled; how often has no gradient
    mean = {k: (weight * kl_estimate(logp, other_logp, k)).sum() for k in ("k1", "k2", "k3")}
    there, back = kl_divergence(policy, reference), kl_divergence(reference, policy)
    for kind in ("k1", "k3"):
        torch.testing.assert_close(mean[kind], there, atol=1e-12, rtol=0)
    grad = {k: torch.autograd.grad(loss, logits, retain_graph=True)[0] for k, loss in mean.items()}
    right = {"k1": torch.zeros_like(logits)}
    right["k2"], right["k3"] = (
        torch.autograd.grad(kl, logits, retain_graph=True)[0] for kl in (there, back)
    )
    for kind, wanted in right.items():
        torch.testing.assert_close(grad[kind], wanted, atol=1e-12, rtol=0)


def test_entropy_is_torchs():
    logits = torch.randn(2, 3, 11, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(entropy(logits), Categorical(logits=logits).entropy())


def test_value_loss_is_ppos():
    rows = [[1.0, 1.0, 1.5, 0.0], [0.9, 0.0, 0.0, 0.0], [2.0, 3.0, 0.0, 1.0]]
    value, old, goal = torch.tensor(rows, dtype=torch.float64)[:, None]
    near = torch.tensor([[1.0, 0.2, 0.2, 0.0]], dtype=torch.float64)  # within 0.2 of the old
    wanted = torch.max((value - goal) ** 2, (near - goal) ** 2) / 2
    torch.testing.assert_close(value_loss(value, old, goal, 0.2), wanted, atol=1e-12, rtol=0)


def test_the_value_tracker_is_spos_moving_average():
    """a, b with forgetting are v + (r - v) / (rho n + 1), n the weight of the past."""
    tracker, v, n = ValueTracker(), 0.5, 1.0
    for r, moved in [(1.0, 0.0), (0.0, 0.01), (1.0, 0.003), (1.0, 5.0)]:
        rho = min(max(2 ** (-moved / 0.06), 0.875), 0.96)
        torch.testing.assert_close(tracker.expected(["a"]), torch.tensor([v]))
        tracker.update(["a"], torch.tensor([r]), torch.tensor([moved]))
        v, n = v + (r - v) / (rho * n + 1), rho * n + 1
    torch.testing.assert_close(tracker.expected(["a", "new"]), torch.tensor([v, 0.5]))
