"""A rate from a narrow model: which parameters take how much of it, and that runs keep it."""

import dataclasses
import json
import math

import pytest
import torch
from stops_at import StopAt

from minimind_wiki.data import Corpus, embedded_text
from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.optim import make_optimizer, set_learning_rate
from minimind_wiki.train.pretrain import pretrain

CORPUS = Corpus("village", (embedded_text(60),), "a test", "embedded")
WIDTH = preset("nano").hidden_size
CONFIG = TrainConfig(
    preset="nano", data="embedded", steps=6, batch_size=4, context_length=32, eval_every=3,
    eval_windows=8, sample_tokens=0, device="cpu", threads=1, learning_rate=3e-3,
)  # fmt: skip


def go(out=None, resume=False, report=None, fields=None, **changes):
    config = dataclasses.replace(CONFIG, **changes)
    return pretrain(config, fields or {}, out, resume, report, CORPUS)


def same(one, two) -> bool:
    other = two.model.state_dict()
    equal = all(torch.equal(t, other[name]) for name, t in one.model.state_dict().items())
    return equal and one.state.train == two.state.train


def rates(optimizer, model) -> dict[str, tuple[float, float]]:
    """(learning rate, learning rate × decay) of each parameter, by name."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["lr"] * group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_at_the_base_width_and_without_one_a_run_is_the_same_to_the_bit(optimizer):
    plain = go(optimizer=optimizer)
    assert same(plain, go(optimizer=optimizer, base_width=WIDTH))
    assert not same(plain, go(optimizer=optimizer, base_width=WIDTH // 4))


@pytest.mark.parametrize(("name", "factor"), [("adamw", 0.25), ("muon", 0.5)])
def test_matrices_take_their_share_and_all_others_the_whole_rate(name, factor):
    model = Transformer(preset("nano", tie_word_embeddings=False))
    optimizer = make_optimizer(name, model, 0.1, (0.9, 0.99), scale=0.25)
    set_learning_rate(optimizer, 1.0)
    found = rates(optimizer, model)
    assert found.keys() == dict(model.named_parameters()).keys()
    for parameter, (rate, forgets) in found.items():
        matrix = "proj" in parameter
        head = parameter.startswith("lm_head")  # sums over its inputs, too, and is AdamW's
        assert rate == (factor if matrix else 0.25 if head else 1.0), parameter
        assert forgets == pytest.approx(0.1 if matrix or head else 0.0), parameter


def test_the_loop_multiplies_so_that_the_first_step_has_that_size():
    """AdamW's first step moves a weight by the rate, whatever its gradient."""
    start = Transformer(preset("nano"), seed=0).state_dict()
    after = go(steps=1, base_width=WIDTH // 8, weight_decay=0.0).model.state_dict()
    for name, tensor in after.items():
        share = 1 / 8 if "proj" in name else 1.0
        moved = (tensor - start[name]).abs().max().item()
        assert moved == pytest.approx(share * CONFIG.learning_rate, rel=0.02), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stopped_run_resumes_to_the_bit_with_its_base_width(tmp_path, optimizer):
    settings = {"optimizer": optimizer, "base_width": 16}
    whole = go(tmp_path / "whole", **settings)
    assert not go(tmp_path / "run", report=StopAt(2), **settings).finished
    assert same(go(tmp_path / "run", resume=True, **settings), whole)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["base_width"] == 16
    assert "--base-width 16" in run["command"]


def test_an_update_moves_what_a_matrix_says_equally_far_at_every_width():
    """The reason for the factors: the step of a matrix, met by an input that it was made for."""
    moved = {}
    for width in (32, 512):
        for name in ("adamw", "muon"):
            x_D = torch.randn(width, generator=torch.Generator().manual_seed(width))
            layer = torch.nn.Linear(width, width, bias=False)
            before = layer.weight.detach().clone()
            model = torch.nn.ModuleDict({"proj": layer})
            optimizer = make_optimizer(name, model, 0.0, (0.9, 0.99), scale=32 / width)
            layer.weight.grad = torch.outer(torch.ones(width), x_D)
            set_learning_rate(optimizer, 1e-3)
            optimizer.step()
            moved[name, width] = ((layer.weight - before) @ x_D).square().mean().sqrt().item()
    assert moved["adamw", 512] == pytest.approx(moved["adamw", 32], rel=0.2)
    assert moved["muon", 512] == pytest.approx(moved["muon", 32], rel=0.2)


def test_a_negative_base_width_is_refused():
    with pytest.raises(WrongCall, match="base_width is -1, but it must be 0 or more"):
        go(base_width=-1)
    assert math.isfinite(go(steps=1, base_width=4 * WIDTH).state.best_loss)  # narrower is allowed
