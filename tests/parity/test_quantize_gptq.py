"""GPTQ against its definition, solved anew for every column, and against the best of all codes."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from minimind_wiki.infer.quantize.gptq import gptq, hessian, output_error
from minimind_wiki.infer.quantize.round import Grid, decode, encode, grid_of, round_weight

BITS = 4


def inputs(seed: int, wide: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    causes = torch.randn(64, 2, generator=generator) @ torch.randn(2, wide, generator=generator)
    return causes + 0.3 * torch.randn(64, wide, generator=generator)


def weights(seed: int, outputs: int, wide: int) -> Tensor:
    return torch.randn(outputs, wide, generator=torch.Generator().manual_seed(100 + seed))


def by_definition(
    weight: Tensor, h: Tensor, grid: Grid, order: list[int], damping: float
) -> Tensor:
    """Each column rounded, and then the free ones set to what makes the outputs' error least.

    Least squares in every step, with no inverse that is carried on: for d the errors so far, the
    free columns' best shift is the solution of H_ff shift = -H_fd d.
    """
    h = h.double()
    h = h + damping * h.diagonal().mean() * torch.eye(len(h))
    start, codes = weight.double(), torch.zeros_like(weight, dtype=torch.int8)
    now = start.clone()
    wide = weight.shape[1] // grid.scale_OG.shape[1]
    for place, column in enumerate(order):
        part = slice(column // wide, column // wide + 1)
        own = Grid(grid.scale_OG[:, part], None)
        code = encode(now[:, column, None], own, BITS)
        codes[:, column] = code[:, 0]
        now[:, column] = code[:, 0].double() * own.scale_OG[:, 0]
        done, free = order[: place + 1], order[place + 1 :]
        if free:
            off = (now - start)[:, done]
            shift = torch.linalg.solve(h[free][:, free], -(h[free][:, done] @ off.T)).T
            now[:, free] = start[:, free] + shift
    return codes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("act_order", [False, True])
def test_equal_to_least_squares_in_every_step(seed, act_order):
    weight, h = weights(seed, 5, 12), hessian(inputs(seed, 12))
    order = h.diagonal().argsort(descending=True, stable=True).tolist() if act_order else None
    wanted = by_definition(weight, h, grid_of(weight, BITS), order or list(range(12)), 0.01)
    found = gptq(weight, h, BITS, act_order=act_order, damping=0.01)
    assert torch.equal(found.codes_OI, wanted)
    assert not torch.equal(found.codes_OI, round_weight(weight, BITS).codes_OI)


def test_equal_in_fixed_groups_too():
    weight, h = weights(9, 4, 12), hessian(inputs(9, 12))
    order = h.diagonal().argsort(descending=True, stable=True).tolist()
    wanted = by_definition(weight, h, grid_of(weight, BITS, 4), order, 0.01)
    assert torch.equal(gptq(weight, h, BITS, 4, act_order=True).codes_OI, wanted)


def test_between_rounding_and_the_best_of_all_codes():
    """4 weights of 4 bits: 15⁴ rows of codes can all be tried. On average GPTQ lies between."""
    errors = torch.zeros(3, dtype=torch.float64)
    every = torch.tensor(list(product(range(-7, 8), repeat=4)), dtype=torch.int8)
    for seed in range(12):
        weight, h = weights(seed, 1, 4), hessian(inputs(seed, 4))
        plain, found = round_weight(weight, BITS), gptq(weight, h, BITS)
        off = every.double() * plain.grid.scale_OG.double() - weight.double()
        best = (off @ h.double() * off).sum(1).min()
        both = [output_error(weight, decode(*one), h) for one in (plain, found)]
        assert best <= min(both) * (1 + 1e-5)  # the Hessian is float32
        errors += torch.tensor([both[0], both[1], float(best)], dtype=torch.float64)
    plain, found, best = errors.tolist()
    assert best < found < 0.95 * plain
