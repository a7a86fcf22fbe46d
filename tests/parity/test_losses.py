"""Our losses are torch's, the chunked form is the plain one, and it never holds all scores."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.losses import LossModel, chunked_cross_entropy, cross_entropy

N, D, V = 37, 16, 50
FORMS = [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.3, 0.1)]  # z-loss, smoothing


def problem(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    hidden_ND = 0.5 * torch.randn(N, D, generator=draw, dtype=dtype)
    weight_VD = torch.randn(V, D, generator=draw, dtype=dtype)
    labels_N = torch.randint(V, (N,), generator=draw)
    labels_N[::5] = IGNORE
    return hidden_ND.requires_grad_(), weight_VD.requires_grad_(), labels_N


def differentiate(loss, *leaves):
    return [loss.detach(), *torch.autograd.grad(3.0 * loss, leaves)]


@pytest.mark.parametrize(("z_loss", "smoothing"), FORMS)
def test_the_plain_form_is_torchs_cross_entropy_and_the_papers_z_loss(z_loss, smoothing):
    hidden_ND, weight_VD, labels_N = problem()
    logits_NV = (hidden_ND @ weight_VD.T).detach()
    want = F.cross_entropy(logits_NV, labels_N, reduction="sum", label_smoothing=smoothing)
    normalizers = logits_NV[labels_N != IGNORE].exp().sum(-1)
    want = want + z_loss * normalizers.log().pow(2).sum()
    torch.testing.assert_close(cross_entropy(logits_NV, labels_N, z_loss, smoothing), want)


@pytest.mark.parametrize("chunk", [1, 8, N, 100])
@pytest.mark.parametrize(("z_loss", "smoothing"), FORMS)
def test_the_chunked_form_has_the_plain_ones_value_and_gradients(chunk, z_loss, smoothing):
    hidden_ND, weight_VD, labels_N = problem()
    plain = cross_entropy(hidden_ND @ weight_VD.T, labels_N, z_loss, smoothing)
    chunked = chunked_cross_entropy(hidden_ND, weight_VD, labels_N, chunk, z_loss, smoothing)
    want = differentiate(plain, hidden_ND, weight_VD)
    found = differentiate(chunked, hidden_ND, weight_VD)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=2e-5)
    with torch.no_grad():
        silent = chunked_cross_entropy(hidden_ND, weight_VD, labels_N, chunk, z_loss, smoothing)
    torch.testing.assert_close(silent, want[0])


def test_a_batch_whose_labels_are_all_hidden_costs_nothing_and_moves_nothing():
    hidden_ND, weight_VD, labels_N = problem()
    labels_N[:] = IGNORE
    loss = chunked_cross_entropy(hidden_ND, weight_VD, labels_N, 8, 0.1, 0.1)
    assert all(not tensor.any() for tensor in differentiate(loss, hidden_ND, weight_VD))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_two_forms_differ_by_rounding_only(dtype):
    hidden_ND, weight_VD, labels_N = problem()
    exact = differentiate(
        cross_entropy(hidden_ND @ weight_VD.T, labels_N, 1e-3, 0.1), hidden_ND, weight_VD
    )
    with torch.autocast("cpu", dtype=dtype):
        plain = cross_entropy(F.linear(hidden_ND, weight_VD), labels_N, 1e-3, 0.1)
        chunked = chunked_cross_entropy(hidden_ND, weight_VD, labels_N, 8, 1e-3, 0.1)
    assert chunked.dtype is torch.float32
    plain_error, chunked_error = (
        [(got - want).norm() / want.norm() for got, want in zip(found, exact, strict=True)]
        for found in (differentiate(form, hidden_ND, weight_VD) for form in (plain, chunked))
    )
    assert plain_error[1] > 1e-5  # the products were in fewer bits
    for ours, usual in zip(chunked_error, plain_error, strict=True):
        assert ours < 1.5 * usual + 1e-4


def nano(**fields):
    return Transformer(preset("nano", vocab_size=259, **fields), seed=0)


def batch(model):
    draw = torch.Generator().manual_seed(1)
    ids_BT = torch.randint(model.config.vocab_size, (3, 20), generator=draw)
    labels_BT = ids_BT.roll(-1, dims=1).masked_fill(ids_BT % 4 == 0, IGNORE)
    documents_BT = torch.tensor([1] * 12 + [2] * 8).expand(3, 20)
    return ids_BT, labels_BT, documents_BT


@pytest.mark.parametrize("tied", [True, False])
def test_a_whole_model_has_the_same_gradients_with_tied_and_untied_heads(tied):
    model = nano(tie_word_embeddings=tied)
    found = []
    for chunk in (0, 7):
        loss = LossModel(model, chunk, 1e-3, 0.1)(*batch(model))
        names = dict(model.named_parameters())
        found.append(dict(zip(names, torch.autograd.grad(loss, names.values()), strict=True)))
    assert ("lm_head.weight" in found[0]) is not tied
    for name, grad in found[0].items():
        torch.testing.assert_close(found[1][name], grad, rtol=1e-4, atol=1e-5, msg=name)


def test_a_frozen_head_gets_no_gradient_and_what_is_below_the_same():
    hidden_ND, weight_VD, labels_N = problem()
    frozen_VD = weight_VD.detach()
    (want,) = torch.autograd.grad(cross_entropy(hidden_ND @ frozen_VD.T, labels_N), hidden_ND)
    chunked_cross_entropy(hidden_ND, frozen_VD, labels_N, 8).backward()
    torch.testing.assert_close(hidden_ND.grad, want, rtol=1e-5, atol=2e-5)
    assert frozen_VD.grad is None
    assert not chunked_cross_entropy(hidden_ND.detach(), frozen_VD, labels_N, 8).requires_grad


class Widest(TorchDispatchMode):
    """Remembers the most rows that a tensor of scores, (rows, V), had."""

    rows = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.shape[-1:] == (V,):
                self.rows = max(self.rows, tensor.numel() // V)
        return out


def test_no_more_scores_than_a_chunks_ever_live():
    hidden_ND, weight_VD, labels_N = problem()
    widest = {}
    for chunk in (N, 8):
        with Widest() as mode:
            loss = chunked_cross_entropy(hidden_ND, weight_VD, labels_N, chunk, 1e-3, 0.1)
            loss.backward()
        widest[chunk] = mode.rows
    assert widest == {N: N, 8: D}  # D rows: the transposed weight, (D, V)


def test_model_and_loss_in_chunks_are_one_graph():
    model = nano()
    ids_BT, labels_BT, _ = batch(model)
    loss_model = LossModel(model, 16, 1e-3, 0.1)
    whole = torch.compile(loss_model, backend="eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = whole(ids_BT, labels_BT)
        torch.testing.assert_close(loss, loss_model(ids_BT, labels_BT))
    loss.backward()
    assert model.lm_head.weight.grad is not None


def experts(**fields):
    return nano(num_experts=4, num_experts_per_tok=2, num_hidden_layers=2, **fields)


def test_the_balancers_losses_are_added_by_the_tokens_that_are_predicted():
    """Two micro-batches of unequal counts weigh each mean by its own count."""
    model = experts(router_aux_loss_coef=0.5)
    ids_BT, labels_BT, _ = batch(model)
    loss = LossModel(model)
    both = loss(ids_BT, labels_BT)
    silent = LossModel(model.eval())(ids_BT, labels_BT)
    model.train()
    model(ids_BT)
    mean = loss.balancer.loss()
    torch.testing.assert_close(both - silent, mean * (labels_BT != IGNORE).sum())
    assert mean > 0.4  # 0.5 times k, where the load is even
    loss(ids_BT, labels_BT).backward()
    assert model.model.layers[0].mlp.gate.weight.grad.abs().sum() > 0


def test_padding_is_no_load():
    model = experts(router_aux_loss_coef=0.5)
    ids_BT, labels_BT, documents_BT = batch(model)
    real = LossModel(model)
    real(ids_BT, labels_BT, documents_BT.clone())
    every = real.balancer.counted[:, :-1].sum()
    padded_BT = documents_BT.clone()
    padded_BT[:, 12:] = 0
    fewer = LossModel(model)
    fewer(ids_BT, labels_BT, padded_BT)
    assert every == 2 * 2 * 60 and fewer.balancer.counted[:, :-1].sum() == 2 * 2 * 36
