"""Our codes and torchao's (the production library): where the formats agree, so do the numbers.

torchao's absmax divides by 127.5 (and 7.5) so that -128 is used as well; ours by 127, so that the
codes lie evenly. Zero-points are the same.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minimind_wiki.infer.quantize.layers import QuantLinear
from minimind_wiki.infer.quantize.round import Grid, Rounded, encode, round_weight

quantization = pytest.importorskip("torchao.quantization")

GENERATOR = torch.Generator().manual_seed(3)
WEIGHT = torch.randn(48, 64, generator=GENERATOR) + 0.1
X = torch.randn(7, 64, generator=GENERATOR)


def theirs(config) -> nn.Linear:
    layer = nn.Linear(64, 48, bias=False)
    layer.weight.data = WEIGHT.clone()
    quantization.quantize_(layer, config)
    return layer


def ours(codes: torch.Tensor, grid: Grid, bits: int) -> QuantLinear:
    groups = grid.scale_OG.shape[1]
    layer = QuantLinear(48, 64, bits, 0 if groups == 1 else 64 // groups, grid.zero_OG is None)
    layer.fill(Rounded(codes, grid))
    return layer


@torch.no_grad()
def test_int8_a_scale_a_row():
    layer = theirs(quantization.Int8WeightOnlyConfig(set_inductor_config=False))
    codes, scale = layer.weight.qdata, layer.weight.scale.reshape(48, 1)
    assert torch.allclose(scale, WEIGHT.abs().amax(1, keepdim=True) / 127.5)
    mine = encode(WEIGHT, Grid(scale, None), 8)
    assert torch.equal(mine, codes.clamp_min(-127))
    same = ours(codes, Grid(scale, None), 8)
    assert torch.allclose(same(X), layer(X), atol=1e-5)
    own = ours(*round_weight(WEIGHT, 8), 8)
    assert (own(X) - layer(X)).norm() < 0.015 * layer(X).norm()  # both within half a step


@torch.no_grad()
@pytest.mark.parametrize("bits", [4, 8])
def test_a_zero_point_for_each_group(bits):
    layer = theirs(
        quantization.IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, f"int{bits}"),
            granularity=quantization.PerGroup(32),
            mapping_type=quantization.MappingType.ASYMMETRIC,
        )
    )
    codes, grid = round_weight(WEIGHT, bits, 32, symmetric=False)
    assert grid.zero_OG is not None
    assert torch.equal(grid.zero_OG, layer.weight.zero_point.to(torch.int8))
    assert torch.allclose(grid.scale_OG, layer.weight.scale, rtol=1e-6)
    assert torch.equal(codes, layer.weight.qdata)
    assert torch.allclose(ours(codes, grid, bits)(X), layer(X), atol=1e-5)
