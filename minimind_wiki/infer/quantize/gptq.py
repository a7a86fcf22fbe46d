"""GPTQ: rounding that makes up for its own errors (Frantar et al. 2023, arXiv:2210.17323).

A layer should still give the same outputs for the inputs that it really gets. With H = xᵀ x of such
inputs, the squared error of an output row whose weights are off by d is d H dᵀ. Columns are rounded
one after the other. After each, all columns that are still free move so that they undo as much of
that error as they can:

    d_free = -(w_j - rounded_j) / [H⁻¹]_jj · [H⁻¹]_j,free        (H⁻¹ of the columns j and free)

The inverses of all these shrinking matrices stand in one matrix: row j of the upper Cholesky factor
U of H⁻¹ is [H⁻¹]_j,free / √[H⁻¹]_jj. The paper delays the moves by blocks of columns to save memory
traffic; here they are made at once, which is the same arithmetic.
Shapes: N rows of calibration inputs, I inputs, O outputs, G groups of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.quantize.round import Grid, Rounded, encode, grid_of


def hessian(x_NI: Tensor) -> Tensor:
    """xᵀ x in float32, (I, I). Those of several batches add up."""
    x_NI = x_NI.detach().flatten(0, -2).float()
    return x_NI.T @ x_NI


def free_factor(hessian_II: Tensor, damping: float) -> Tensor:
    """U with H⁻¹ = Uᵀ U, upper triangular, (I, I) float64.

    `damping` times the mean of the diagonal is added to it: a direction in which the inputs never
    went has no inverse, and one in which they hardly went would let weights run away.
    """
    hessian_II = hessian_II.double()
    extra = damping * hessian_II.diagonal().mean().item() or 1.0
    hessian_II = hessian_II + extra * torch.eye(len(hessian_II), dtype=torch.float64,
                                                device=hessian_II.device)  # fmt: skip
    try:
        inverse_II = torch.cholesky_inverse(torch.linalg.cholesky(hessian_II))
        return torch.linalg.cholesky(inverse_II, upper=True)
    except torch.linalg.LinAlgError as error:
        raise WrongCall(
            "the calibration inputs do not determine the weights; give more text or more damping."
        ) from error


def gptq(
    weight_OI: Tensor, hessian_II: Tensor, bits: int, group: int = 0, symmetric: bool = True,
    damping: float = 0.01, act_order: bool = False,
) -> Rounded:  # fmt: skip
    """Codes of a layer's weights, chosen for the outputs that they give together.

    A group's scale is found when its first column is reached, from weights that have moved by then.
    `act_order` takes the columns with the largest inputs first, while most others can still make up
    for them; groups are then visited crosswise, so their scales are those of the first weights.
    Raises WrongCall for a number that is not finite.

    >>> weight, x = torch.tensor([[0.6, 0.6]]) * 7, torch.tensor([[1.0, 1.0]])
    >>> grid = Grid(torch.tensor([[7.0]]), None)   # a coarse one: 4.2 rounds up to 7
    >>> round_along(weight, grid, free_factor(hessian(x), 0.01), [0, 1], 8)  # the sum is 8.4
    tensor([[1, 0]], dtype=torch.int8)
    """
    if not hessian_II.isfinite().all():
        raise WrongCall("the calibration inputs are not finite; the model's weights are broken.")
    grid = grid_of(weight_OI, bits, group, symmetric)
    order = list(range(weight_OI.shape[1]))
    if act_order:
        order = hessian_II.diagonal().argsort(descending=True, stable=True).tolist()
    factor_II = free_factor(hessian_II[order][:, order], damping)
    moving = group and not act_order
    codes_OI = round_along(weight_OI, grid, factor_II, order, bits, group if moving else 0)
    return Rounded(codes_OI, grid)


def round_along(
    weight_OI: Tensor, grid: Grid, factor_II: Tensor, order: list[int], bits: int, renew: int = 0
) -> Tensor:
    """Round the columns in this order, with U of the inputs in that order; the codes, (O, I).

    With `renew`, a group of so many columns gets a new scale, in place, when it begins.
    """
    left_OI = weight_OI.detach().double()[:, order]
    codes_OI = torch.empty(weight_OI.shape, dtype=torch.int8, device=weight_OI.device)
    wide = weight_OI.shape[1] // grid.scale_OG.shape[1]
    for place, column in enumerate(order):
        part = column // wide
        if renew and column % renew == 0:
            fresh = grid_of(left_OI[:, place : place + renew], bits, 0, grid.zero_OG is None)
            grid.scale_OG[:, part] = fresh.scale_OG[:, 0]
            if grid.zero_OG is not None and fresh.zero_OG is not None:
                grid.zero_OG[:, part] = fresh.zero_OG[:, 0]
        step_O1 = grid.scale_OG[:, part, None]
        zero_O1 = None if grid.zero_OG is None else grid.zero_OG[:, part, None]
        code_O1 = encode(left_OI[:, place, None], Grid(step_O1, zero_O1), bits)
        codes_OI[:, column] = code_O1[:, 0]
        value_O1 = (code_O1.double() - (0 if zero_O1 is None else zero_O1)) * step_O1
        error_O1 = (left_OI[:, place, None] - value_O1) / factor_II[place, place]
        left_OI[:, place + 1 :] -= error_O1 * factor_II[place, place + 1 :]
    return codes_OI


def output_error(weight_OI: Tensor, other_OI: Tensor, hessian_II: Tensor) -> float:
    """‖x Wᵀ - x W'ᵀ‖², summed over the calibration rows."""
    off_OI = (weight_OI - other_OI).double()
    return float((off_OI @ hessian_II.double() * off_OI).sum())
