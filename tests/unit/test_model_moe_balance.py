"""Balancing experts: the losses by hand, biases that even the load, loads counted as they are."""

from __future__ import annotations

import math

import pytest
import torch
from test_model_moe import SMALL, ids, layer, small, tokens
from torch import Tensor

from minimind_wiki.model import Transformer, preset
from minimind_wiki.model.moe import route
from minimind_wiki.model.moe_balance import Balancer, load_balancing_loss, router_z_loss
from minimind_wiki.train.losses import LossModel


def test_an_even_load_costs_least():
    even = torch.arange(8)[:, None] % 4
    assert load_balancing_loss(torch.zeros(8, 4), even).item() == pytest.approx(1)
    likes_first = torch.tensor([[5.0, 0, 0, 0]]).expand(8, 4)
    collapsed = load_balancing_loss(likes_first, torch.zeros(8, 1, dtype=torch.long))
    assert collapsed.item() == pytest.approx(4 * likes_first[0].softmax(0)[0].item())
    padded = load_balancing_loss(  # the last four tokens are padding
        torch.cat([torch.zeros(4, 4), likes_first[:4]]), even * (torch.arange(8) < 4)[:, None],
        torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]),
    )  # fmt: skip
    assert padded.item() == pytest.approx(1)


def test_the_z_loss_is_a_mean_of_squares():
    logits = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    first, second = math.log(2) ** 2, (3 + math.log(2)) ** 2
    assert router_z_loss(logits).item() == pytest.approx((first + second) / 2)
    assert router_z_loss(logits, torch.tensor([1.0, 0.0])).item() == pytest.approx(first)


def test_the_loss_of_the_layers_reaches_the_routers_alone():
    model = Transformer(small(router_aux_loss_coef=0.5, router_z_loss_coef=0.25))
    balancer = Balancer(model)
    model(ids())
    loss = balancer.loss()
    loss.backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {f"model.layers.{i}.mlp.gate.weight" for i in range(2)} <= moved
    assert not any("experts" in name and "layers.1" in name for name in moved)
    model(ids())
    terms = []
    for block in model.model.layers:
        routing = block.mlp.routing
        even = load_balancing_loss(routing.logits_NE, routing.expert_Nk)
        terms.append(0.5 * even + 0.25 * router_z_loss(routing.logits_NE))
    assert loss.item() == pytest.approx(sum(terms).item() / 2)
    with pytest.raises(RuntimeError, match="no forward pass"):
        balancer.loss()
        balancer.loss()


def busy(model: Transformer, steps: int) -> list[float]:
    """Load of the busiest expert (1: even) while only the biases move."""
    balancer, seen = Balancer(model), []
    for _ in range(steps):
        with torch.no_grad():
            for row in ids(4).split(2):
                model(row)
                balancer.loss()
        balancer.step()
        seen.append(balancer.statistics()["busiest_expert"])
    return seen


def test_biases_even_the_load_without_a_gradient():
    model = Transformer(small(router_bias_rate=0.01, initializer_range=0.3))
    before = model.model.layers[0].mlp.scores(tokens())
    seen = busy(model, 60)
    assert seen[0] > 1.5 and max(seen[-5:]) < 1.25
    assert torch.equal(model.model.layers[0].mlp.scores(tokens()), before)
    assert busy(Transformer(small(initializer_range=0.3)), 2)[1] == pytest.approx(seen[0])
    bias_E = model.model.layers[0].mlp.e_score_correction_bias
    weight, _ = route(before, 1, False, 100 * torch.eye(4)[2])
    assert torch.equal(weight[:, 0], before.softmax(1)[:, 2])  # chosen by bias, weighed without
    assert bias_E.abs().max() > 0.02
    saved = model.state_dict()["model.layers.0.mlp.e_score_correction_bias"]
    assert torch.equal(saved, bias_E)


def test_loads_are_counted_over_micro_batches_and_without_padding():
    model = Transformer(small(num_experts_per_tok=2))
    one, two = Balancer(model), Balancer(model)
    mask = torch.ones(4, 24)
    mask[3] = 0
    model(ids(4))
    one.loss(mask)
    one.step()
    for row, part in zip(ids(4).split(1), mask.split(1), strict=True):
        model(row)
        two.loss(part)
    two.step()
    assert torch.equal(one.last_step, two.last_step)
    assert one.last_step[:, :-1].sum(1).tolist() == [3 * 24 * 2.0] * 2
    assert one.shares().shape == (2, 4)
    torch.testing.assert_close(one.shares().sum(1), torch.ones(2))
    model(ids(1))
    one.loss()
    one.step()
    assert one.last_step[:, :-1].sum(1).tolist() == [24 * 2.0] * 2  # each step begins anew


def test_loads_are_summed_over_processes(monkeypatch):
    """Here expert 1 has nothing to do; in the other process it has more than all others."""

    def add_the_others(counted_LE: Tensor) -> None:
        counted_LE[:, 1] += 1000

    moe = layer(router_bias_rate=0.5)
    with torch.no_grad():
        moe.e_score_correction_bias[1] = -1
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", add_the_others)
    balancer = Balancer(moe)
    moe(tokens()[None])
    balancer.loss()
    balancer.step()
    assert moe.e_score_correction_bias.tolist() == [0.5, -1.5, 0.5, 0.5]


def test_a_dense_model_has_nothing_to_balance():
    model = Transformer(preset("64m", **SMALL))
    balancer = Balancer(model)
    model(ids())
    assert balancer.loss() == 0.0
    balancer.step()
    assert balancer.statistics() == {} and balancer.shares().numel() == 0


def test_the_loss_of_a_training_step_is_one_graph():
    torch._dynamo.reset()
    model = Transformer(small(num_hidden_layers=1, router_bias_rate=0.01))
    whole, plain = LossModel(model), LossModel(model)
    step = torch.compile(whole, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(step(ids(), ids()), plain(ids(), ids()))
    torch.testing.assert_close(whole.balancer.counted, plain.balancer.counted)
    assert whole.balancer.counted[:, :-1].sum() == 2 * ids().numel()
