"""Rounding to codes: errors below half a step, packing, outliers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind_wiki.errors import WrongCall
from minimind_wiki.infer.quantize.round import (
    bits_per_weight,
    decode,
    encode,
    grid_of,
    int8_product,
    pack4,
    round_weight,
    unpack4,
)


def matrix(seed: int, outputs: int = 6, inputs: int = 64, lean: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, inputs, generator=generator) + lean


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([4, 8]),
    st.sampled_from([0, 8, 32]),
    st.booleans(),
    st.sampled_from([-3.0, 0.0, 0.4, 5.0]),
    st.sampled_from([1e-6, 1.0, 1e4]),
)
def test_a_weight_moves_by_at_most_half_a_step(seed, bits, group, symmetric, lean, size):
    weight = size * matrix(seed, lean=lean)
    codes, grid = round_weight(weight, bits, group, symmetric)
    step = grid.scale_OG.repeat_interleave(group or 64, dim=1)
    off = (decode(codes, grid) - weight).abs()
    # half a step; and float32's own rounding, of the weight, the code and the product
    assert (off <= step * 0.5 + weight.abs().amax() * 4e-7).all()
    low = -(2 ** (bits - 1)) + symmetric
    assert codes.min() >= low and codes.max() <= 2 ** (bits - 1) - 1
    assert grid.scale_OG.shape == (6, 64 // (group or 64))


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_grid_is_as_fine_as_it_can_be(seed, symmetric):
    """The outermost codes are in use in every group: a smaller step would cut something off."""
    codes, grid = round_weight(matrix(seed), 4, 16, symmetric)
    parts = codes.unflatten(1, (-1, 16)).int()
    if symmetric:
        assert (parts.abs().amax(-1) == 7).all()
    else:
        assert (parts.amax(-1) - parts.amin(-1) >= 14).all()  # an end may lie half a step inside
        assert grid.zero_OG is not None


def test_zero_stays_zero_and_a_row_of_zeros_is_no_number_less():
    weight = matrix(1, lean=3.0)
    weight[:, ::5] = 0
    weight[2] = 0
    for symmetric in (True, False):
        back = decode(*round_weight(weight, 4, 32, symmetric))
        assert (back[weight == 0] == 0).all() and back.isfinite().all()


def test_a_zero_point_halves_the_step_where_all_weights_have_one_sign():
    weight = matrix(2).abs()
    absmax, lean = (grid_of(weight, 8, 0, symmetric).scale_OG for symmetric in (True, False))
    assert torch.allclose(lean / absmax, torch.full_like(lean, 127 / 255))


def test_beyond_the_grid_is_the_outermost_code():
    grid = grid_of(torch.tensor([[7.0, -7.0]]), 4)
    assert encode(torch.tensor([[100.0, -100.0]]), grid, 4).tolist() == [[7, -7]]


def test_packing_loses_nothing():
    every = torch.tensor([[a, b] for a in range(-8, 8) for b in range(-8, 8)], dtype=torch.int8)
    packed = pack4(every)
    assert packed.dtype == torch.uint8 and packed.numel() == len(every)
    assert len(packed.unique()) == 256 and torch.equal(unpack4(packed), every)


def test_memory_is_what_is_stored():
    codes, grid = round_weight(matrix(3), 4, 32, symmetric=False)
    tensors = (pack4(codes), grid.scale_OG, grid.zero_OG)
    size = sum(t.numel() * t.element_size() for t in tensors)
    assert 8 * size / codes.numel() == bits_per_weight(4, 32, 64, symmetric=False)


@pytest.mark.parametrize(
    "bits, group, hint", [(3, 0, "8 or 4"), (8, 7, "divisor"), (8, -1, "or 0")]
)
def test_what_cannot_be_is_refused(bits, group, hint):
    with pytest.raises(WrongCall, match=hint):
        round_weight(matrix(1), bits, group)


def test_broken_weights_are_refused():
    weight = matrix(1)
    weight[1, 3] = float("nan")
    with pytest.raises(WrongCall, match="not finite"):
        round_weight(weight, 8)
    with pytest.raises(WrongCall, match="fill bytes"):
        pack4(torch.zeros(2, 3, dtype=torch.int8))


def test_outliers_apart_save_the_rest():
    """LLM.int8: one column of large inputs costs all others their digits."""
    x, weight = matrix(4, 16, 64), matrix(5, 8, 64)
    x[:, 11] = 80 * x[:, 11].sign()
    wanted = x @ weight.T
    split, whole = (int8_product(x, weight, t) for t in (6.0, float("inf")))
    assert (split - wanted).norm() < 0.2 * (whole - wanted).norm()
    assert (split - wanted).norm() < 0.02 * wanted.norm()
    assert torch.allclose(int8_product(x, weight, 0.0), wanted, atol=1e-4)  # all are split off
