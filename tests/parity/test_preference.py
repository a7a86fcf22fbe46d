"""Our log-probabilities are torch's; our preference losses and rewards are TRL's, on one batch.

TRL's losses are inside methods of its trainers. They are called here on a stand-in that has what
they read, with a "model" that hands out the log-probabilities of the test. Tolerances: float32,
1e-5 relative unless stated.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.logprobs import label_logprobs, logprobs, row_sums
from minimind_wiki.train.preference import (
    Answers,
    dpo,
    ipo,
    kto,
    kto_reference,
    log_odds,
    orpo,
    pair_metrics,
    simpo,
)

B, T = 5, 9  # pairs, tokens of an answer at most

ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
)


def stand_in(**more):
    """A trainer without a model, data or a device of its own."""
    return SimpleNamespace(
        model=SimpleNamespace(training=True), accelerator=ACCELERATOR, args=SimpleNamespace(),
        aux_loss_enabled=False, precompute_ref_logps=True, _total_train_tokens=0, _tp_size=1,
        _metrics={"train": defaultdict(list)}, **more,
    )  # fmt: skip


def batch(rows=2 * B, seed=0):
    """Per-token log-probabilities (rows, T), 0 off the mask, and the reference's sums (rows,)."""
    draw = torch.Generator().manual_seed(seed)
    mask_BT = torch.arange(T) < torch.randint(1, T + 1, (rows, 1), generator=draw)
    logp_BT = F.logsigmoid(torch.randn(rows, T, generator=draw)) * mask_BT
    reference_B = logp_BT.sum(1) + 0.5 * torch.randn(rows, generator=draw)
    return logp_BT.requires_grad_(), mask_BT, reference_B


def halves(logp_BT, mask_BT, reference_B=None):
    """TRL's order: all chosen rows, then all rejected ones."""
    logp_B, tokens_B = row_sums(logp_BT, mask_BT)
    references = (None, None) if reference_B is None else reference_B.chunk(2)
    parts = zip(logp_B.chunk(2), tokens_B.chunk(2), references, strict=True)
    return [Answers(*part) for part in parts]


def trl_model(logp_BT):
    """What TRL's fused head returns; only `log_probs` enters the loss."""
    rest = dict.fromkeys(("entropy", "mean_logits"), torch.zeros_like(logp_BT))
    output = SimpleNamespace(log_probs=logp_BT, is_top1=torch.zeros(logp_BT.shape).bool(), **rest)
    return lambda **_: output


def trl_rows(mask_BT):
    """One token of prompt in front of each answer; the ids play no role."""
    completion_BT = F.pad(mask_BT.long(), (1, 0))
    return {
        "input_ids": torch.ones_like(completion_BT),
        "attention_mask": torch.ones_like(completion_BT),
        "completion_mask": completion_BT,
    }


def trl_dpo(loss_type, logp_BT, mask_BT, reference_B, beta, smoothing=0.0):
    from trl.trainer.dpo_trainer import DPOTrainer

    trainer = stand_in(
        beta=beta, label_smoothing=smoothing, loss_types=[loss_type], loss_weights=[1.0],
        f_divergence_type="reverse_kl", ld_alpha=None, use_weighting=False,
    )  # fmt: skip
    chosen_B, rejected_B = reference_B.chunk(2)
    rows = trl_rows(mask_BT) | {"ref_chosen_logps": chosen_B, "ref_rejected_logps": rejected_B}
    loss = DPOTrainer._compute_loss(trainer, trl_model(logp_BT), rows, return_outputs=False)
    return loss, {name: values[0] for name, values in trainer._metrics["train"].items()}


def same(ours, theirs, logp_BT, mask_BT):
    """Value and gradient. Off the mask TRL has a gradient, which a model's zeros there stop."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    pulled = [torch.autograd.grad(loss, logp_BT, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(pulled[0], pulled[1] * mask_BT, rtol=1e-4, atol=1e-7)
    assert pulled[0].any()


DPO = {
    "sigmoid": lambda c, r: dpo(c, r, beta=0.3),
    "sigmoid_norm": lambda c, r: dpo(c, r, beta=0.3, per_token=True),
    "robust": lambda c, r: dpo(c, r, beta=0.3, smoothing=0.2, robust=True),
    "ipo": lambda c, r: ipo(c, r, beta=0.3),
}


@pytest.mark.parametrize("loss_type", DPO)
def test_dpo_and_ipo_are_trls(loss_type):
    logp_BT, mask_BT, reference_B = batch()
    judged = DPO[loss_type](*halves(logp_BT, mask_BT, reference_B))
    want, metrics = trl_dpo(loss_type, logp_BT, mask_BT, reference_B, beta=0.3, smoothing=0.2)
    same(judged.loss_B.mean(), want, logp_BT, mask_BT)
    if loss_type in ("sigmoid", "robust"):  # TRL shows summed rewards also where it compares means
        found = {name: total / B for name, total in pair_metrics(judged).items()}
        assert found["accuracy"] == pytest.approx(metrics["rewards/accuracies"])
        assert found["margin"] == pytest.approx(metrics["rewards/margins"], rel=1e-5)
        assert found["reward_chosen"] == pytest.approx(metrics["rewards/chosen"], rel=1e-5)
        assert found["reward_rejected"] == pytest.approx(metrics["rewards/rejected"], rel=1e-5)


def trl_cpo(loss_type, chosen_B, rejected_B, beta, gamma=0.0, smoothing=0.0):
    from trl.experimental.cpo.cpo_trainer import CPOTrainer

    trainer = stand_in(
        beta=beta, alpha=0.0, simpo_gamma=gamma, label_smoothing=smoothing, loss_type=loss_type
    )
    return CPOTrainer.cpo_loss(trainer, chosen_B, rejected_B)


def test_simpo_is_trls():
    logp_BT, mask_BT, _ = batch()
    chosen, rejected = halves(logp_BT, mask_BT)
    judged = simpo(chosen, rejected, beta=2.5, gamma=0.7, smoothing=0.1)
    losses, *rewards = trl_cpo("simpo", chosen.mean_B, rejected.mean_B, 2.5, 0.7, 0.1)
    same(judged.loss_B.mean(), losses.mean(), logp_BT, mask_BT)
    torch.testing.assert_close([judged.chosen_B, judged.rejected_B], rewards)


@pytest.mark.parametrize("with_reference", [True, False])
def test_smoothed_dpo_is_trls_smoothed_loss_of_log_ratios(with_reference):
    """TRL's DPO trainer lost the smoothing; its CPO trainer has it, for log π instead of ratios."""
    logp_BT, mask_BT, reference_B = batch()
    chosen, rejected = halves(logp_BT, mask_BT, reference_B if with_reference else None)
    judged = dpo(chosen, rejected, beta=0.3, smoothing=0.15)
    losses, *_ = trl_cpo("sigmoid", chosen.ratio(), rejected.ratio(), 0.3, smoothing=0.15)
    same(judged.loss_B.mean(), losses.mean(), logp_BT, mask_BT)


def test_orpo_is_trls_for_one_pair():
    """One pair with a prompt of one token: TRL means over the tokens of all chosen rows, prompts
    too, where the paper and we take the mean of each answer; with one such pair both are the same.
    """
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    logp_BT, mask_BT, _ = batch(rows=2)
    chosen, rejected = halves(logp_BT, mask_BT)
    trainer = stand_in(beta=0.3)
    scores = torch.zeros(1)
    trainer.concatenated_forward = lambda *_: (
        chosen.mean_B, rejected.mean_B, scores, scores, -chosen.mean_B.mean()
    )  # fmt: skip
    trainer.odds_ratio_loss = lambda *logps: ORPOTrainer.odds_ratio_loss(trainer, *logps)
    want, metrics = ORPOTrainer.get_batch_loss_metrics(trainer, None, {})
    judged = orpo(chosen, rejected, weight=0.3)
    same(judged.loss_B.sum(), want, logp_BT, mask_BT)
    ahead = (judged.chosen_B - judged.rejected_B).item()
    assert ahead == pytest.approx(metrics["log_odds_chosen"], rel=1e-5)


def test_the_odds_are_those_of_float64_and_trls_at_both_ends():
    from trl.experimental.orpo.orpo_trainer import log1mexp

    logp = torch.tensor([-60.0, -9.0, -0.7, -0.69, -1e-2, -1e-4])
    exact = logp.double() - torch.log1p(-logp.double().exp())
    torch.testing.assert_close(log_odds(logp).double(), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_odds(logp), logp - log1mexp(logp), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("drift", [0.4, -0.4])  # a reference point above 0, and one clamped to it
def test_kto_is_trls(drift):
    from trl.trainer.kto_trainer import KTOTrainer

    logp_BT, mask_BT, reference_B = batch(rows=7)
    others_B, other_reference_B = reference_B + drift, reference_B
    good_B = torch.tensor([True, False, False, True, True, False, True])
    trainer = stand_in(
        beta=0.3, loss_type="kto", desirable_weight=1.3, undesirable_weight=0.8, calculate_KL=True,
        _compute_kl_logps=lambda *_: others_B,
    )  # fmt: skip
    rows = trl_rows(mask_BT) | {
        "label": good_B, "ref_logps": reference_B, "ref_KL_logps": other_reference_B
    }  # fmt: skip
    want = KTOTrainer._compute_loss(trainer, trl_model(logp_BT), rows, return_outputs=False)
    metrics = trainer._metrics["train"]

    point = kto_reference(Answers(others_B, mask_BT.sum(1), other_reference_B))
    answers = Answers(*row_sums(logp_BT, mask_BT), reference_B)
    loss_B, reward_B = kto(answers, good_B, point, 0.3, good_weight=1.3, bad_weight=0.8)
    assert float(point) == pytest.approx(metrics["kl"][0], abs=1e-6)
    same(loss_B.mean(), want, logp_BT, mask_BT)
    assert float(reward_B[good_B].mean()) == pytest.approx(metrics["rewards/chosen"][0], rel=1e-5)
    assert float(reward_B[~good_B].mean()) == pytest.approx(
        metrics["rewards/rejected"][0], rel=1e-5
    )


# Log-probabilities


def problem():
    draw = torch.Generator().manual_seed(0)
    hidden_BTD = torch.randn(3, 7, 8, generator=draw, dtype=torch.float64)
    weight_VD = torch.randn(11, 8, generator=draw, dtype=torch.float64)
    labels_BT = torch.randint(11, (3, 7), generator=draw)
    labels_BT[:, :2], labels_BT[1, 4:] = IGNORE, IGNORE
    return hidden_BTD.requires_grad_(), weight_VD.requires_grad_(), labels_BT


@pytest.mark.parametrize("chunk", [0, 1, 4, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_and_entropy_are_log_softmax_and_gather(chunk, temperature):
    """Value, and the gradient under a different weight for every token; 1e-5: scores in float32."""
    hidden_BTD, weight_VD, labels_BT = problem()
    found = label_logprobs(
        lambda x: x @ weight_VD.T, hidden_BTD, labels_BT, chunk, temperature, entropy=True
    )
    mask_BT = labels_BT != IGNORE
    every_BTV = (hidden_BTD @ weight_VD.T / temperature).log_softmax(-1)
    logp_BT = every_BTV.gather(-1, labels_BT.clamp(min=0)[..., None])[..., 0] * mask_BT
    entropy_BT = -(every_BTV.exp() * every_BTV).sum(-1) * mask_BT
    torch.testing.assert_close(found.mask_BT, mask_BT)
    torch.testing.assert_close(found.logp_BT.double(), logp_BT, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.entropy_BT.double(), entropy_BT, rtol=1e-5, atol=1e-5)
    weight_BT = torch.arange(21.0).view(3, 7) - 9

    def gradients(logp_BT, entropy_BT):
        total = (weight_BT * logp_BT + weight_BT.flip(1) * entropy_BT).sum()
        return torch.autograd.grad(total, (hidden_BTD, weight_VD))

    torch.testing.assert_close(
        gradients(found.logp_BT, found.entropy_BT), gradients(logp_BT, entropy_BT),
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip


class LargestTensor(TorchDispatchMode):
    """How many numbers the largest tensor made had."""

    def __init__(self):
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.numel())
        return out


@pytest.mark.parametrize(("chunk", "most"), [(16, 16 * 259), (0, 128 * 259)])
def test_the_scores_of_a_chunk_are_all_that_ever_exists(chunk, most):
    config = preset("nano", hidden_size=8, num_attention_heads=2, intermediate_size=8)
    model = Transformer(config)
    ids_BT = torch.randint(259, (2, 64), generator=torch.Generator().manual_seed(1))
    with LargestTensor() as largest:
        logprobs(model, ids_BT, ids_BT, chunk=chunk).logp_BT.square().sum().backward()
    assert largest.most == most


@pytest.mark.parametrize(("chunk", "kept"), [(4, False), (0, True)])
def test_no_scores_are_kept_for_the_backward_pass(chunk, kept):
    """What autograd keeps outside of the checkpoints, by its last dimension."""
    hidden_BTD, weight_VD, labels_BT = problem()
    widths = set()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: widths.add(tensor.shape[-1] if tensor.dim() > 1 else 0) or tensor,
        lambda tensor: tensor,
    ):
        label_logprobs(lambda x: F.linear(x, weight_VD), hidden_BTD, labels_BT, chunk, entropy=True)
    assert (11 in widths) == kept


def test_chunks_change_nothing_under_autocast():
    config = preset("nano", hidden_size=8, num_attention_heads=2, intermediate_size=8)
    model = Transformer(config)
    ids_BT = torch.randint(259, (2, 24), generator=torch.Generator().manual_seed(1))
    gradients = []
    for chunk in (0, 16):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            found = logprobs(model, ids_BT, ids_BT, chunk=chunk, entropy=True)
        assert found.logp_BT.dtype == torch.float32
        (found.logp_BT.square().sum() + found.entropy_BT.sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=2e-2, atol=2e-2)
