"""Our NF4 is bitsandbytes': levels, bytes, scales, weights. Without it, the published levels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from minimind_wiki.train.nf4 import (
    BLOCK,
    GROUP,
    Packed,
    bits_per_weight,
    decode,
    dequantize,
    dynamic_tree,
    encode,
    normal_float,
    quantize,
)
from minimind_wiki.train.quantized import QuantizedLinear

PUBLISHED = [  # Dettmers et al. 2023, appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
]  # fmt: skip
SHAPES = [(96, 128), (7, 64), (3, 50), (1, 2)]  # whole blocks, and a last one that is cut


def weights(shape: tuple[int, ...], seed: int = 4) -> torch.Tensor:
    """Normal, with a block of zeros and one far-out value, at different scales."""
    weight = 0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    flat = weight.flatten()
    flat[: min(BLOCK, len(flat) // 2)] = 0.0
    flat[-1] = 1.5
    return weight


def library():
    return pytest.importorskip("bitsandbytes.functional")


def test_the_levels_are_the_published_ones():
    assert torch.equal(normal_float(), torch.tensor(PUBLISHED))


def test_the_levels_are_bitsandbytes_own():
    bnb = library()
    assert torch.equal(normal_float(), bnb.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(dynamic_tree(), bnb.create_dynamic_map())


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_and_weights_are_bitsandbytes_own(shape):
    bnb = library()
    weight = weights(shape)
    data, state = bnb.quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    ours = quantize(weight)
    assert torch.equal(ours.codes, data.flatten())
    assert torch.equal(ours.largest, state.state2.absmax)
    assert torch.equal(ours.mean, state.offset)
    theirs = Packed(data.flatten(), state.absmax, state.state2.absmax, state.offset)
    # its CPU kernel for 8 bits now and then takes a neighbour of the nearest level, ours never
    exact = encode(weight.flatten(), normal_float(), BLOCK)[1]
    scales = [decode(p.scales, p.largest, dynamic_tree(), GROUP) + p.mean for p in (ours, theirs)]
    assert (ours.scales != state.absmax).sum() <= 0.02 * len(exact) + 1
    assert ((scales[0] - exact).abs() <= (scales[1] - exact).abs()).all()
    for dtype in (torch.float32, torch.bfloat16):
        state.dtype = dtype
        expected = bnb.dequantize_4bit(data, state)
        assert torch.equal(dequantize(theirs, shape, dtype), expected.view(shape))


def test_scales_in_float32_are_bitsandbytes_own():
    bnb = library()
    weight = weights((96, 128))
    data, state = bnb.quantize_4bit(weight, compress_statistics=False, quant_type="nf4")
    codes, largest = encode(weight.flatten(), normal_float(), BLOCK)
    assert torch.equal(codes[::2] << 4 | codes[1::2], data.flatten())
    assert torch.equal(largest, state.absmax)
    ours = decode(codes, largest, normal_float(), BLOCK).view(96, 128)
    assert torch.equal(ours, bnb.dequantize_4bit(data, state))


def test_a_product_and_its_gradient_are_bitsandbytes_own():
    bnb = pytest.importorskip("bitsandbytes")
    layer = nn.Linear(64, 32)
    layer.weight.data = weights((32, 64))
    theirs = bnb.nn.Linear4bit(64, 32, compress_statistics=True, quant_type="nf4")
    theirs.load_state_dict(layer.state_dict())
    theirs.to("cpu")
    assert theirs.weight.quant_state is not None  # it packs when it moves
    ours = QuantizedLinear(layer)
    xs = [torch.randn(5, 64, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    for x in xs:
        x.requires_grad_(True)
    a, b = ours(xs[0]), theirs(xs[1])
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert (a - layer(xs[0])).abs().max() > 1e-3  # it is not the weight itself
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(xs[0].grad, xs[1].grad, atol=1e-4, rtol=0)


def test_every_code_is_the_nearest_level():
    weight = weights((64, 64)).flatten()
    codes, largest = encode(weight, normal_float(), BLOCK)
    unit = weight.view(-1, BLOCK) / largest.clamp_min(1e-38)[:, None]
    distance = (unit.flatten()[:, None] - normal_float()).abs()
    torch.testing.assert_close(
        distance.gather(1, codes.long()[:, None])[:, 0], distance.amin(1), atol=1e-6, rtol=0
    )


def test_memory_is_what_the_formula_says():
    packed = quantize(weights((256, 256)))  # whole groups: 64 · 256 divides it
    used = 8 * sum(part.numel() * part.element_size() for part in packed[:3])
    assert used / 256**2 == bits_per_weight()
