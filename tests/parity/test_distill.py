"""Our divergences are TRL's generalized JS and torch's kl_div, in value and gradient.

Float32 against float32, on (N, V) scores of standard deviation 2; 1e-5 relative.
"""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.train.distill import (
    Top,
    distill,
    distill_loss,
    forward_kl,
    jensen_shannon,
    kl,
    reverse_kl,
    top_k,
    with_rest,
)

B, T, D, V = 2, 9, 6, 31
DIVERGENCES = {0.0: forward_kl, 1.0: reverse_kl, 0.5: jensen_shannon(), 0.1: jensen_shannon(0.1)}


def scores(rows=B * T, seed=0):
    draw = torch.Generator().manual_seed(seed)
    student_NV = 2 * torch.randn(rows, V, generator=draw)
    teacher_NV = 2 * torch.randn(rows, V, generator=draw)
    return student_NV.requires_grad_(), teacher_NV


def same(ours, theirs, leaf):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    pulled = [torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*pulled, rtol=1e-4, atol=1e-6)
    assert pulled[0].any()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("beta", DIVERGENCES)
def test_the_divergences_are_trls_generalized_js(beta, temperature):
    """TRL leaves out T², and calls forward KL β = 0, reverse KL β = 1."""
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    student_NV, teacher_NV = scores()
    labels_BT = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    labels_BT[:, :3] = IGNORE
    counted_N = (labels_BT != IGNORE).flatten()
    want = GKDTrainer.generalized_jsd_loss(
        student_NV.view(B, T, V), teacher_NV.view(B, T, V), labels_BT, beta, temperature
    )
    loss_N = distill_loss(student_NV, teacher_NV, DIVERGENCES[beta], temperature)
    same(loss_N[counted_N].mean() / temperature**2, want, student_NV)


def test_kl_is_torchs_and_forgives_what_the_teacher_holds_impossible():
    student_NV, teacher_NV = scores()
    teacher_NV[:, :4] = float("-inf")  # torch's log_target would make nan of it
    logq_NV, logp_NV = student_NV.log_softmax(-1), teacher_NV.log_softmax(-1)
    want = F.kl_div(logq_NV, logp_NV.exp(), reduction="none").sum(-1)
    same(kl(logp_NV, logq_NV).sum(), want.sum(), student_NV)


def test_the_top_k_with_the_rest_are_trls_and_the_whole_where_nothing_is_left():
    """TRL takes the rest as 1 - Σ in float32, hence 1e-4."""
    from trl.experimental.server_distillation import server_distillation_trainer as trl

    student_NV, teacher_NV = scores()
    kept = top_k(teacher_NV, 5)
    top_Nk = teacher_NV.log_softmax(-1).topk(5)
    assert kept.ids_Nk.equal(top_Nk.indices)
    everywhere = torch.ones_like(kept.ids_Nk, dtype=torch.bool)
    teacher_NK, _ = trl._add_tail_bucket(top_Nk.values, everywhere)
    at_Nk = student_NV.log_softmax(-1).gather(-1, kept.ids_Nk)
    student_NK, _ = trl._add_tail_bucket(at_Nk, everywhere)
    torch.testing.assert_close(kept.logp_NK, teacher_NK, rtol=1e-4, atol=1e-4)
    found = with_rest(student_NV, kept.ids_Nk)
    torch.testing.assert_close(found, student_NK, rtol=1e-4, atol=1e-4)
    whole = distill_loss(student_NV, top_k(teacher_NV, V - 1)).sum()
    same(whole, distill_loss(student_NV, teacher_NV).sum(), student_NV)


@pytest.mark.parametrize("divergence", DIVERGENCES.values())
def test_keeping_more_of_the_teacher_never_tells_less(divergence):
    """Putting tokens together can only lose what tells two distributions apart."""
    student_NV, teacher_NV = scores()
    losses = [
        distill_loss(student_NV, top_k(teacher_NV, k, 1.5), divergence, 1.5).detach()
        for k in (1, 2, 5, 12, V - 1)
    ]
    for fewer_N, more_N in pairwise(losses):
        assert (fewer_N <= more_N + 1e-6).all()
    assert losses[0].sum() < 0.8 * losses[-1].sum()


def test_the_rest_is_exact_where_the_top_has_nearly_everything():
    sure_NV = torch.tensor([[40.0, 0.0, 0.0, 1.0]])
    found = with_rest(sure_NV, torch.tensor([[0]]))[0, -1]
    assert float(found) == pytest.approx(-40 + float(torch.tensor([0.0, 0, 1]).logsumexp(0)))


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    student_NV, _ = scores()
    for divergence in DIVERGENCES.values():
        for teacher in (student_NV.detach().clone(), top_k(student_NV.detach(), 3, 2.0)):
            loss = distill_loss(student_NV, teacher, divergence, 2.0).sum()
            (pull_NV,) = torch.autograd.grad(loss, student_NV)
            assert abs(loss.item()) < 1e-5
            assert pull_NV.abs().max() < 1e-6


@pytest.mark.parametrize(("beta", "limit"), [(1e-7, forward_kl), (1 - 1e-7, reverse_kl)])
def test_js_divided_by_its_weight_has_the_two_kls_as_limits(beta, limit):
    student_NV, teacher_NV = (rows.detach().double() for rows in scores())
    logq_NV, logp_NV = student_NV.log_softmax(-1), teacher_NV.log_softmax(-1)
    found = jensen_shannon(beta)(logq_NV, logp_NV) / min(beta, 1 - beta)
    torch.testing.assert_close(found, limit(logq_NV, logp_NV), rtol=1e-3, atol=1e-6)


def test_the_factor_t_squared_keeps_the_gradient_as_large():
    """For T above the scores the gradient nears (z - v)/V, whatever T is (Hinton et al., eq. 4)."""
    student_NV, teacher_NV = scores()
    z_NV, v_NV = (x - x.mean(-1, keepdim=True) for x in (student_NV.detach(), teacher_NV))
    for temperature in (200.0, 400.0):
        loss = distill_loss(student_NV, teacher_NV, temperature=temperature).sum()
        (pull_NV,) = torch.autograd.grad(loss, student_NV)
        torch.testing.assert_close(pull_NV, (z_NV - v_NV) / V, rtol=0.05, atol=0.01)


# The whole loss, from hidden states


def models(seed=0):
    draw = torch.Generator().manual_seed(seed)
    student = torch.randn(B, T, D, generator=draw).requires_grad_()
    teacher = torch.randn(B, T, 2 * D, generator=draw)  # may be wider
    weight, teacher_weight = (torch.randn(V, n, generator=draw) for n in (D, 2 * D))
    labels_BT = torch.randint(V, (B, T), generator=draw)
    labels_BT[0, :4], labels_BT[1, 6:] = IGNORE, IGNORE
    return (student, lambda x: x @ weight.T), (teacher, lambda x: x @ teacher_weight.T), labels_BT


@pytest.mark.parametrize("chunk", [0, 1, 5])
@pytest.mark.parametrize("hard", [0.0, 0.3, 1.0])
def test_from_hidden_states_it_is_hintons_mixture_and_no_chunk_changes_it(hard, chunk):
    student, teacher, labels_BT = models()
    found, count = distill(student, teacher, labels_BT, jensen_shannon(), 2.0, hard, chunk)
    scores_NV, teacher_NV = (head(rows).flatten(0, 1) for rows, head in (student, teacher))
    counted_N = (labels_BT != IGNORE).flatten()
    soft = distill_loss(scores_NV, teacher_NV, jensen_shannon(), 2.0)[counted_N].sum()
    labels = F.cross_entropy(scores_NV, labels_BT.flatten(), reduction="sum")
    assert int(count) == int(counted_N.sum())
    same(found, (1 - hard) * soft + hard * labels, student[0])


def test_a_stored_teacher_is_the_one_beside_it():
    student, (hidden, head), labels_BT = models()
    stored = top_k(head(hidden).flatten(0, 1), V - 1, 2.0)
    found, _ = distill(student, stored, labels_BT, reverse_kl, 2.0, chunk=4)
    want, _ = distill(student, (hidden, head), labels_BT, reverse_kl, 2.0)
    same(found, want, student[0])
    total = torch.zeros(())
    for i in range(B):  # micro-batches add up
        part = Top(*(rows[i * T : (i + 1) * T] for rows in stored))
        row = (student[0][i : i + 1], student[1])
        total = total + distill(row, part, labels_BT[i : i + 1], reverse_kl, 2.0)[0]
    same(total, want, student[0])


@pytest.mark.parametrize("chunk", [0, 5])
def test_a_teacher_is_not_moved(chunk):
    student, (hidden, _), labels_BT = models()
    weight_VD = torch.randn(V, 2 * D).requires_grad_()
    hidden.requires_grad_()
    total, _ = distill(student, (hidden, lambda x: x @ weight_VD.T), labels_BT, chunk=chunk)
    total.backward()
    assert student[0].grad.any()
    assert hidden.grad is None
    assert weight_VD.grad is None


def test_nothing_to_learn_costs_nothing_and_moves_nothing():
    student, teacher, labels_BT = models()
    total, count = distill(student, teacher, torch.full_like(labels_BT, IGNORE), chunk=4)
    total.backward()
    assert (total.item(), int(count)) == (0.0, 0)
    assert not student[0].grad.any()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s, t: jensen_shannon(1.0), "reverse_kl"),
        (lambda s, t: top_k(t, V), f"1 to {V - 1}"),
        (lambda s, t: distill_loss(s, t[:, 1:]), "one tokenizer"),
        (lambda s, t: distill((s, abs), (t, abs), s[0].long(), hard=2.0), "hard is 2.0"),
    ],
)
def test_wrong_calls_are_named(call, says):
    with pytest.raises(WrongCall, match=says):
        call(*scores())
