"""Weights in eight or four bits, by rounding: a few whole numbers and a scale for many weights.

A weight w becomes the code round(w / scale + zero), and is read back as (code - zero) · scale. So
it moves by at most half a step, where nothing is cut off. *Absmax* sets the largest |w| to the
largest code and zero to 0; *zero-point* lays the codes from the smallest w to the largest, which
wastes none where weights lean to one side. One scale serves a row of the matrix (a *channel*: all
that enters one output) or a group of neighbours in it: smaller groups, smaller steps, more scales.

`int8_product` rounds the inputs as well, but for outliers (LLM.int8: Dettmers et al. 2022,
arXiv:2208.07339).
Shapes: N rows of inputs, I inputs, O outputs, G groups of a row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from minimind_wiki.errors import WrongCall

BITS = (4, 8)


class Grid(NamedTuple):
    """What the codes of a matrix mean: (code - zero) · scale, with a pair for each group."""

    scale_OG: Tensor  # float32, above zero
    zero_OG: Tensor | None  # int8; None: 0 everywhere


class Rounded(NamedTuple):
    """A matrix as codes, (O, I) int8, and what they mean."""

    codes_OI: Tensor
    grid: Grid


def grid_of(weight_OI: Tensor, bits: int, group: int = 0, symmetric: bool = True) -> Grid:
    """The finest grid that reaches all weights of each group; group 0: of each row.

    Raises WrongCall if there is no such number of bits, or the groups do not fill the row.

    >>> grid_of(torch.tensor([[-6.0, 1.0, 7.0, 0.0]]), bits=4).scale_OG  # 7 is the largest code
    tensor([[1.]])
    >>> grid_of(torch.tensor([[0.0, 15.0]]), bits=4, symmetric=False)  # codes -8 … 7, all in use
    Grid(scale_OG=tensor([[1.]]), zero_OG=tensor([[-8]], dtype=torch.int8))
    """
    weight_OGi = in_groups(weight_OI.detach().float(), bits, group)
    if not weight_OGi.isfinite().all():
        raise WrongCall("the weights are not finite; use those from before training went wrong.")
    if symmetric:
        largest_OG = weight_OGi.abs().amax(-1)
        return Grid(_no_zeros(largest_OG / (2 ** (bits - 1) - 1)), None)
    # zero stays inside, so that it has a code and a weight of zero is exact
    low_OG = weight_OGi.amin(-1).clamp(max=0)
    high_OG = weight_OGi.amax(-1).clamp(min=0)
    scale_OG = _no_zeros((high_OG - low_OG) / (2**bits - 1))
    zero_OG = -(2 ** (bits - 1)) - (low_OG / scale_OG).round()
    return Grid(scale_OG, zero_OG.to(torch.int8))


def _no_zeros(scale_OG: Tensor) -> Tensor:
    """A group of zeros has a step of 1; 0 / 0 would be no number."""
    return torch.where(scale_OG == 0, 1.0, scale_OG)


def in_groups(weight_OI: Tensor, bits: int, group: int) -> Tensor:
    """A matrix as groups of neighbours in a row, (O, G, I / G)."""
    inputs = weight_OI.shape[1]
    if bits not in BITS:
        raise WrongCall(f"{bits} bits are none that this package rounds to; give 8 or 4.")
    if group < 0 or (group and inputs % group):
        raise WrongCall(
            f"groups of {group} do not fill a row of {inputs} weights; give a divisor of it, or 0 "
            "for one scale a row."
        )
    return weight_OI.unflatten(1, (-1, group or inputs))


def encode(weight_OI: Tensor, grid: Grid, bits: int) -> Tensor:
    """The nearest codes, (O, I) int8; the outermost one for a weight beyond the grid."""
    scale_OG, zero_OG = grid
    codes_OGi = weight_OI.float().unflatten(1, (scale_OG.shape[1], -1)) / scale_OG[..., None]
    if zero_OG is None:
        lowest = 1 - 2 ** (bits - 1)  # as many codes below zero as above
        codes_OGi = codes_OGi.round()
    else:
        lowest = -(2 ** (bits - 1))
        codes_OGi = (codes_OGi + zero_OG[..., None]).round()
    return codes_OGi.clamp(lowest, 2 ** (bits - 1) - 1).to(torch.int8).flatten(1)


def decode(codes_OI: Tensor, grid: Grid) -> Tensor:
    """The weights that the codes stand for, (O, I) float32."""
    scale_OG, zero_OG = grid
    value_OGi = codes_OI.unflatten(1, (scale_OG.shape[1], -1)).float()
    if zero_OG is not None:
        value_OGi = value_OGi - zero_OG[..., None]
    return (value_OGi * scale_OG[..., None]).flatten(1)


def round_weight(weight_OI: Tensor, bits: int, group: int = 0, symmetric: bool = True) -> Rounded:
    """Every weight to its nearest code: no data needed, and no weight knows of another.

    >>> rounded = round_weight(torch.tensor([[-6.1, 1.4, 7.0, 0.0]]), bits=4)
    >>> rounded.codes_OI, decode(*rounded)
    (tensor([[-6,  1,  7,  0]], dtype=torch.int8), tensor([[-6.,  1.,  7.,  0.]]))
    """
    grid = grid_of(weight_OI, bits, group, symmetric)
    return Rounded(encode(weight_OI, grid, bits), grid)


def pack4(codes_OI: Tensor) -> Tensor:
    """Two codes of four bits (-8 … 7) in a byte, the first in the lower half; (O, I / 2) uint8.

    >>> pack4(torch.tensor([[-8, 7]], dtype=torch.int8))
    tensor([[240]], dtype=torch.uint8)
    """
    if codes_OI.shape[1] % 2:
        raise WrongCall(f"a row of {codes_OI.shape[1]} codes does not fill bytes; use 8 bits.")
    high_OI = (codes_OI + 8).to(torch.uint8)
    return high_OI[:, ::2] | high_OI[:, 1::2] << 4


def unpack4(bytes_OJ: Tensor) -> Tensor:
    """The codes again, (O, 2 J) int8.

    >>> unpack4(torch.tensor([[240]], dtype=torch.uint8))
    tensor([[-8,  7]], dtype=torch.int8)
    """
    pair_OJ2 = torch.stack((bytes_OJ & 15, bytes_OJ >> 4), dim=-1)
    return pair_OJ2.flatten(1).to(torch.int8) - 8


def bits_per_weight(bits: int, group: int, inputs: int, symmetric: bool = True) -> float:
    """Memory of a weight in bits, with its share of a float32 scale and an int8 zero.

    >>> bits_per_weight(4, 32, 512), bits_per_weight(4, 0, 512), bits_per_weight(4, 32, 512, False)
    (5.0, 4.0625, 5.25)
    """
    return bits + (32 if symmetric else 40) / (group or inputs)


def int8_product(x_NI: Tensor, weight_OI: Tensor, threshold: float = 6.0) -> Tensor:
    """x Wᵀ with both in int8, but for the columns of x that reach `threshold` somewhere; (N, O).

    A row of x has one scale. Trained models have a few inputs that are always large (outliers), and
    beside one of them a whole row would round to zero. These few columns are multiplied as they
    are. With threshold = inf nothing is split off.
    """
    large_I = x_NI.abs().amax(0) >= threshold
    whole_NO = x_NI[:, large_I].float() @ weight_OI[:, large_I].float().T
    x_codes, x_grid = round_weight(x_NI.masked_fill(large_I, 0), bits=8)
    codes, grid = round_weight(weight_OI.masked_fill(large_I, 0), bits=8)
    # whole numbers, exact in float32 up to 2²⁴; a kernel adds them up in int32
    counts_NO = (x_codes.int() @ codes.int().T).float()
    return whole_NO + counts_NO * x_grid.scale_OG * grid.scale_OG.T
