"""Muon and the AdamW beside it against torch's own."""

import pytest
import torch
from torch import nn

from minimind_wiki.model import Transformer, preset
from minimind_wiki.train.muon import MuonAdamW, orthogonalize
from minimind_wiki.train.optim import make_optimizer


def gradients(shape: tuple[int, ...], steps: int) -> torch.Tensor:
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(0))


def walk(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, steps: torch.Tensor) -> None:
    for grad in steps:
        parameter.grad = grad.clone()
        optimizer.step()


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
@pytest.mark.parametrize(("dtype", "part"), [(torch.bfloat16, 1e-5), (torch.float32, 0.02)])
def test_muon_is_torchs(shape: tuple[int, int], dtype: torch.dtype, part: float) -> None:
    """torch iterates in bfloat16. In float32 a step differs by about a percent of its size, and
    that of a wrong factor or momentum by far more."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    group = {"params": [ours], "muon": True, "lr": 0.02, "weight_decay": 0.1}
    walk(MuonAdamW([group], (0.9, 0.95), dtype), ours, gradients(shape, 6))
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95,
                                 adjust_lr_fn="match_rms_adamw")  # fmt: skip
    walk(reference, theirs, gradients(shape, 6))
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < part * moved


def test_the_rest_is_adamw() -> None:
    start = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    group = {"params": [ours], "lr": 0.01, "weight_decay": 0.1}
    walk(MuonAdamW([group], (0.9, 0.99)), ours, gradients((7, 5), 9))
    reference = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    walk(reference, theirs, gradients((7, 5), 9))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_the_step_keeps_directions_and_evens_their_sizes() -> None:
    g = gradients((24, 60), 1)[0] @ torch.diag(torch.logspace(0, -2, 60))
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    sizes = torch.diag(u.T @ orthogonalize(g) @ vh.T)
    assert sizes.min() > 0.5 and sizes.max() < 1.3
    off = u.T @ orthogonalize(g) @ vh.T - torch.diag(sizes)
    assert off.abs().max() < 1e-3


def test_which_parameters_are_moved_by_muon() -> None:
    model = Transformer(preset("nano"))
    optimizer = make_optimizer("muon", model, 0.1, (0.9, 0.99))
    names = {id(p): n for n, p in model.named_parameters()}
    muon = {names[id(p)] for g in optimizer.param_groups if g["muon"] for p in g["params"]}
    assert muon == {n for n, p in model.named_parameters() if "layers" in n and p.dim() == 2}
    others = [g for g in optimizer.param_groups if not g["muon"]]
    assert {g["weight_decay"] for g in others} == {0.0}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(names)
