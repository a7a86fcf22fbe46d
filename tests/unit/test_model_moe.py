"""Experts: sorted visits are the plain ones, routers learn, drops are counted, one graph."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import ModelConfig, Transformer, preset
from minimind_wiki.model import moe_dispatch as dispatch
from minimind_wiki.model.moe import MixtureOfExperts, route, visit_plainly
from minimind_wiki.model.moe_balance import Balancer
from minimind_wiki.model.moe_dispatch import Visits
from minimind_wiki.model.moe_product import product

SMALL = {
    "vocab_size": 259,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}


def small(**changes: object) -> ModelConfig:
    return preset("moe-198m", **SMALL | changes)


def layer(**changes: object) -> MixtureOfExperts:
    """One layer with weights so large that the experts clearly differ."""
    moe = MixtureOfExperts(small(**changes))
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 5)
    return moe


def tokens(count: int = 37, width: int = 32) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(4))


def ids(batch: int = 2, length: int = 24) -> Tensor:
    return torch.randint(0, 259, (batch, length), generator=torch.Generator().manual_seed(1))


def outcome(moe: MixtureOfExperts, run) -> tuple[Tensor, dict[str, Tensor]]:
    """The answer to the same tokens, and the gradient of everything that took part."""
    moe.zero_grad()
    x_ND = tokens().requires_grad_()
    out_ND = run(x_ND)
    (out_ND * torch.linspace(-1, 1, 32)).square().sum().backward()
    gradients = {n: p.grad.clone() for n, p in moe.named_parameters() if p.grad is not None}
    return out_ND.detach(), gradients | {"x": x_ND.grad}


def ways(moe: MixtureOfExperts, capacity: int = 1000):
    """Every way through the experts, each as a function of the tokens."""
    k, normalize = moe.config.num_experts_per_tok, moe.config.norm_topk_prob

    def plain(x_ND):
        weight, expert = route(moe.scores(x_ND), k, normalize)
        return visit_plainly(moe.experts, x_ND, weight, expert)

    def sorted_by(way):
        def run(x_ND):
            weight, expert = route(moe.scores(x_ND), k, normalize)
            visits = Visits.of(expert, len(moe.experts))
            x_AD = dispatch.Rows.apply(x_ND, visits.order_A % len(x_ND), visits.back_A, k)
            y_AD = dispatch.Rows.apply(way(x_AD, visits), visits.back_A, visits.order_A, 1)
            return (y_AD * weight.T.reshape(-1, 1)).unflatten(0, (k, -1)).sum(0)

        return run

    return {
        "plain": plain,
        "module": lambda x: moe(x[None])[0],
        "in turn": sorted_by(lambda x, v: dispatch.in_turn(moe.experts, x, v)),
        "at once": sorted_by(lambda x, v: dispatch.at_once(moe.experts, x, v)),
        "in boxes": sorted_by(lambda x, v: dispatch.in_boxes(moe.experts, x, v, capacity)[0]),
    }


@pytest.mark.parametrize("experts, k, normalize", [(4, 1, False), (4, 2, True), (8, 3, False)])
def test_every_way_is_the_plain_one(experts, k, normalize):
    moe = layer(num_experts=experts, num_experts_per_tok=k, norm_topk_prob=normalize)
    runs = ways(moe)
    wanted, wanted_gradients = outcome(moe, runs.pop("plain"))
    assert wanted.std() > 0.1
    for name, run in runs.items():
        got, gradients = outcome(moe, run)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5, msg=name)
        assert gradients.keys() == wanted_gradients.keys()
        for parameter, gradient in gradients.items():
            torch.testing.assert_close(
                gradient, wanted_gradients[parameter], atol=2e-4, rtol=1e-4,
                msg=f"{name}: {parameter}",
            )  # fmt: skip


def test_experts_that_nobody_chose_have_a_gradient_of_zero():
    moe = layer(num_experts=8)
    with torch.no_grad():
        moe.gate.weight[2:] = -moe.gate.weight[:1]  # three different rows: at most four experts
    for name, run in ways(moe).items():
        _, gradients = outcome(moe, run)
        sizes = [gradients[f"experts.{e}.up_proj.weight"].abs().max().item() for e in range(8)]
        assert 0.0 in sizes and max(sizes) > 0.1, name
        assert len(gradients) == 1 + 3 * 8 + 1, name


def test_the_block_product_has_the_right_derivative():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(4, 3, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(3)
    ]
    ends = torch.tensor([2, 2, 7], dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda x, *w: product(x, list(w), ends), (x, *weights))


def test_bfloat16_takes_torchs_grouped_kernel():
    x, ends = tokens(9, 16), torch.tensor([4, 4, 9], dtype=torch.int32)
    weights = list(tokens(3 * 8, 16).view(3, 8, 16))
    exact = product(x, weights, ends)
    rounded = product(x.bfloat16(), [w.bfloat16() for w in weights], ends)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.02)


@pytest.mark.parametrize("k", [1, 2])
def test_who_comes_late_to_a_full_expert_is_dropped(k):
    moe = layer(num_experts_per_tok=k, expert_capacity=0.6)
    x_ND, capacity = tokens(), math.ceil(0.6 * 37 * k / 4)
    weight, expert = route(moe.scores(x_ND), k, False)
    taken, kept = [0] * 4, torch.zeros(37, k)
    for slot in range(k):  # all first choices before all second ones
        for token in range(37):
            number = int(expert[token, slot])
            kept[token, slot] = taken[number] < capacity
            taken[number] += 1
    wanted = visit_plainly(moe.experts, x_ND, weight * kept, expert)
    torch.testing.assert_close(moe(x_ND[None])[0], wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(moe.routing.dropped_N, (k - kept.sum(1)).long())
    assert 0 < moe.routing.dropped_N.sum() < 37 * k
    balancer = Balancer(moe)
    balancer.loss()
    balancer.step()
    lost = sum(max(0, n - capacity) for n in taken) / (37 * k)
    assert balancer.statistics()["dropped"] == pytest.approx(lost)
    moe.eval()  # outside training a row's answer must not depend on other rows
    wanted = visit_plainly(moe.experts, x_ND, weight, expert)
    torch.testing.assert_close(moe(x_ND[None])[0], wanted, atol=1e-5, rtol=1e-5)
    assert not moe.routing.dropped_N.any()


def test_a_rescaled_single_weight_starves_the_router_and_ours_learns():
    """The right expert of each token is known, the experts are fixed, only the router trains."""
    x_ND = tokens(256)
    right_N = (x_ND[:, 0] > 0).long() + 2 * (x_ND[:, 1] > 0).long()

    def trained(normalize: bool) -> tuple[float, float, float]:
        moe = layer(norm_topk_prob=normalize)
        with torch.no_grad():
            answers_END = torch.stack([expert(x_ND) for expert in moe.experts])
            wanted_ND = answers_END[right_N, torch.arange(256)]
        start = moe.gate.weight.detach().clone()
        optimizer = torch.optim.SGD([moe.gate.weight], lr=3.0)
        for _ in range(150):
            optimizer.zero_grad()
            loss = (moe(x_ND[None])[0] - wanted_ND).square().mean()
            loss.backward()
            optimizer.step()
        found = (moe.scores(x_ND).argmax(1) == right_N).float().mean().item()
        return (moe.gate.weight - start).abs().max().item(), loss.item(), found

    moved, loss, found = trained(normalize=True)
    ours_moved, ours_loss, ours_found = trained(normalize=False)
    assert moved < 1e-4 and found < 0.5
    assert ours_moved > 0.3 and ours_found > 0.9 and ours_loss < loss / 2


def test_a_model_that_has_run_can_be_copied():
    model = Transformer(small())
    wanted = model(ids())
    assert torch.equal(copy.deepcopy(model)(ids()), wanted)


def test_checkpointed_activations_keep_the_routers_gradient():
    def gradient(checkpointed: bool) -> Tensor:
        moe = layer(num_experts_per_tok=2)
        x = tokens()[None].requires_grad_()
        out = checkpoint(moe, x, use_reentrant=False) if checkpointed else moe(x)
        (out.square().mean() + Balancer(moe).loss()).backward()
        return moe.gate.weight.grad

    torch.testing.assert_close(gradient(True), gradient(False))


def test_autocast_rounds_the_experts_and_not_the_scores():
    moe = layer(num_experts_per_tok=2)
    exact = moe(tokens()[None])
    chosen = moe.routing.expert_Nk
    for way in ("eager", "boxes"):
        if way == "boxes":
            moe = layer(num_experts_per_tok=2, expert_capacity=4.0)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = moe(tokens()[None])
        assert moe.routing.logits_NE.dtype == torch.float32
        assert torch.equal(moe.routing.expert_Nk, chosen)
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_experts_per_tok": 2, "num_shared_experts": 1, "shared_expert_gate": True,
         "router_bias_rate": 0.01, "decoder_sparse_step": 2},
        {"num_experts_per_tok": 2, "expert_capacity": 1.25, "num_hidden_layers": 1},
    ],
)  # fmt: skip
def test_experts_compile_into_one_graph(changes):
    torch._dynamo.reset()
    model, rows = Transformer(small(**changes)), ids()
    plain = model(rows)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter)
    torch.testing.assert_close(compiled(rows), plain)
    assert counter.frame_count == 1  # graphs; a break would make it two
    (compiled(rows).square().mean() + Balancer(compiled).loss()).backward()
    got = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    (model(rows).square().mean() + Balancer(model).loss()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_hybrid_stacks():
    config = small(
        num_hidden_layers=6, decoder_sparse_step=2, mlp_only_layers="1, 5",
        dense_intermediate_size=96,
    )  # fmt: skip
    model = Transformer(config)
    kinds = [isinstance(block.mlp, MixtureOfExperts) for block in model.model.layers]
    assert kinds == [False, False, False, True, False, False]
    assert model.model.layers[0].mlp.up_proj.weight.shape == (96, 32)
    assert model.model.layers[3].mlp.experts[0].up_proj.weight.shape == (48, 32)
    assert model.num_parameters() - model.active_parameters() == 3 * 3 * 32 * 48
    model(ids())
    assert len(Balancer(model).layers) == 1


BAD = [
    ({"expert_capacity": -1.0}, "expert_capacity is -1.0; give a value of at least 0"),
    ({"expert_capacity": float("nan")}, "expert_capacity is nan"),
    ({"expert_capacity": float("inf")}, "expert_capacity is infinite; give 0 to leave"),
    ({"router_bias_rate": -0.1}, "router_bias_rate is -0.1"),
    ({"decoder_sparse_step": 0}, "decoder_sparse_step is 0; give a value of at least 1"),
    ({"decoder_sparse_step": 3}, "no layer is left for experts"),
    ({"mlp_only_layers": "0,1"}, "no layer is left for experts"),
    ({"mlp_only_layers": "2"}, "mlp_only_layers names 2; give numbers from 0 to 1"),
    ({"mlp_only_layers": "first"}, "mlp_only_layers names first; give numbers from 0 to 1"),
    ({"dense_intermediate_size": 9}, "every layer has experts; leave it out"),
    ({"shared_expert_gate": True}, "shared_expert_gate needs a shared expert"),
    ({"num_experts": 0, "num_shared_experts": 1}, "num_shared_experts needs experts"),
    ({"num_experts": 0, "expert_capacity": 1.0}, "expert_capacity needs experts"),
]


@pytest.mark.parametrize("values, message", BAD)
def test_settings_that_cannot_work_say_what_to_do(values, message):
    with pytest.raises(WrongCall, match=message):
        small(**values)
