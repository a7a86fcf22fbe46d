"""NF4: a weight in four bits, and its scale in a little more than an eighth of one (QLoRA: Dettmers
et al. 2023, arXiv:2305.14314).

Weights of a trained layer are nearly normal, so the sixteen levels are quantiles of the normal
distribution: close together near zero, where most weights are. A block of 64 weights is divided by
its largest absolute value, and each weight becomes the number of its nearest level. The blocks'
scales are quantized in turn (*double quantization*): less their mean, 256 at a time, to the 256
levels of a dynamic tree (Dettmers 2015, arXiv:1511.04561).

Its bytes are read as bitsandbytes reads them, to the bit (`tests/parity/test_nf4.py`).
Shapes: N weights, n = N / block blocks, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.errors import WrongCall

BLOCK, GROUP = 64, 256
OUTERMOST = 0.9677083
"""1 - (1/32 + 1/30) / 2: between the middles of the last of 16 and the last of 15 equal parts, as
the quantile of 1 is infinite. bitsandbytes' seven digits; more would move the last bits of NF4."""


def normal_float() -> Tensor:
    """The 16 levels of NF4, (L,) float32: eight quantiles above zero, seven below, and zero itself.

    One side has one more, so that zero is exact and no number of the sixteen is lost.

    >>> [round(level, 3) for level in normal_float().tolist()[6:10]]
    [-0.091, 0.0, 0.08, 0.161]
    """
    above, below = (
        [NormalDist().inv_cdf(p) for p in _cuts(OUTERMOST, 0.5, count)[:-1].tolist()]
        for count in (8, 7)
    )
    levels = torch.tensor([-level for level in below] + [0.0] + above[::-1], device="cpu")
    return levels / levels.max()


def dynamic_tree() -> Tensor:
    """256 levels from -1 to 1, (L,) float32: fine near zero, where most values are, coarse far out.

    The decade from 0.1 to 1 times 10^(i-6), for i = 0 … 6, is cut into 2^i equal parts of either
    sign, and a level is the middle of a part; zero and 1 complete them.

    >>> dynamic_tree().numel(), round(dynamic_tree()[128].item(), 9)
    (256, 5.5e-07)
    """
    levels = [0.0, 1.0]
    for decade in range(7):
        cuts = _cuts(0.1, 1.0, 2**decade)
        middles = 10.0 ** (decade - 6) * ((cuts[:-1] + cuts[1:]) / 2)
        levels += middles.tolist() + (-middles).tolist()
    return torch.tensor(sorted(levels), device="cpu")


def _cuts(first: float, last: float, parts: int) -> Tensor:
    """The ends of so many equal parts, float32. On the CPU, whatever the default device is."""
    return torch.linspace(first, last, parts + 1, device="cpu")


NF4, TREE = normal_float(), dynamic_tree()  # made once; a compiler could not trace their making


def encode(x_N: Tensor, levels_L: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Numbers of the nearest levels, (N,) uint8, and each block's largest |x|, (n,) float32."""
    x_nb = F.pad(x_N.float(), (0, -len(x_N) % block)).unflatten(0, (-1, block))
    largest_n = x_nb.abs().amax(1)
    # times the inverse, as bitsandbytes: a quotient would fall on the other side of some midpoints
    inverse_n = 1.0 / largest_n.clamp_min(1e-38)  # a block of zeros stays zero
    middles = (levels_L[:-1] + levels_L[1:]) / 2
    codes_nb = torch.bucketize(x_nb * inverse_n[:, None], middles.to(x_N.device))
    return codes_nb.flatten()[: len(x_N)].to(torch.uint8), largest_n


def decode(codes_N: Tensor, largest_n: Tensor, levels_L: Tensor, block: int) -> Tensor:
    """The values that the codes stand for, (N,) float32."""
    x_N = levels_L.to(codes_N.device)[codes_N.long()]
    return x_N * largest_n.repeat_interleave(block)[: len(x_N)]


class Packed(NamedTuple):
    """A quantized tensor of N weights."""

    codes: Tensor  # (N / 2,) uint8: two weights a byte, the first in the upper half
    scales: Tensor  # (n,) uint8: the blocks' scales less their mean
    largest: Tensor  # (n / 256,) float32: the scales' own scales
    mean: Tensor  # () float32


def quantize(weight: Tensor) -> Packed:
    """Any tensor in four bits. Raises WrongCall if it is empty or not finite."""
    if not weight.numel() or not weight.isfinite().all():
        raise WrongCall(
            f"a tensor of shape {tuple(weight.shape)} that is empty or not finite cannot be "
            "quantized; use weights from before the training went wrong."
        )
    codes_N, scale_n = encode(weight.detach().flatten(), NF4, BLOCK)
    codes_N = F.pad(codes_N, (0, len(codes_N) % 2))
    mean = scale_n.mean()
    scales_n, largest = encode(scale_n - mean, TREE, GROUP)
    return Packed(codes_N[::2] << 4 | codes_N[1::2], scales_n, largest, mean)


def dequantize(packed: Packed, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The tensor of this shape that was packed, as near as sixteen levels come.

    >>> weight = torch.tensor([[0.0, 0.5, -1.0]])
    >>> dequantize(quantize(weight), weight.shape, torch.float32)
    tensor([[ 0.0000,  0.4407, -1.0000]])
    """
    scale_n = decode(packed.scales, packed.largest, TREE, GROUP) + packed.mean
    codes_N = torch.stack([packed.codes >> 4, packed.codes & 15], dim=1).flatten()
    count = torch.Size(shape).numel()
    return decode(codes_N[:count], scale_n, NF4, BLOCK).view(*shape).to(dtype)


def bits_per_weight(block: int = BLOCK, group: int = GROUP, bits: int = 4) -> float:
    """Memory of a weight in bits; group 0: the scales in float32, not quantized again.

    The scales' mean, one number for a whole tensor, is not counted.

    >>> round(bits_per_weight(), 3), bits_per_weight(group=0)
    (4.127, 4.5)
    """
    return bits + (8 / block + 32 / (block * group) if group else 32 / block)
