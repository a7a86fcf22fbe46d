"""Our norms are torch's and transformers'. eps=0.1, so that its place in the formula shows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from minimind_wiki.model import norm

EPS, SIZE = 0.1, 48


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """x (4, 7, SIZE) off centre and of mixed scales, a gain and a bias far from one and zero."""
    draw = torch.Generator().manual_seed(0)
    scale = torch.logspace(-2, 1, 7)[:, None]
    x = (torch.randn(4, 7, SIZE, generator=draw) + 0.7) * scale
    weight, bias = 1 + torch.randn(SIZE, generator=draw), torch.randn(SIZE, generator=draw)
    return x.to(dtype), weight.to(dtype), bias.to(dtype)


def with_gradients(module: torch.nn.Module, x: Tensor) -> list[Tensor]:
    """Output and the gradients by x and every parameter, for a loss that weighs each output."""
    x = x.clone().requires_grad_()
    out = module(x)
    probe = torch.linspace(-1, 1, out.numel()).view_as(out)
    out.backward(probe)
    return [out.detach(), x.grad, *(p.grad for p in module.parameters())]


def filled(module: torch.nn.Module, *values: Tensor) -> torch.nn.Module:
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
    return module


def test_rms_norm_and_its_gradients_are_torchs():
    x, weight, _ = inputs()
    ours = with_gradients(filled(norm.RMSNorm(SIZE, EPS), weight), x)
    theirs = with_gradients(filled(torch.nn.RMSNorm(SIZE, EPS), weight), x)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_and_its_gradients_are_torchs(bias):
    x, *values = inputs()
    values = values if bias else values[:1]
    ours = with_gradients(filled(norm.LayerNorm(SIZE, EPS, bias=bias), *values), x)
    theirs = with_gradients(filled(torch.nn.LayerNorm(SIZE, EPS, bias=bias), *values), x)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_is_llamas_to_the_bit(dtype):
    x, weight, _ = inputs(dtype)
    llama = filled(LlamaRMSNorm(SIZE, EPS).to(dtype), weight)
    ours = norm.rms_norm(x, weight, EPS)
    assert ours.dtype == dtype
    if dtype == torch.float32:  # x / sqrt(s) and x · rsqrt(s) differ in the last bit
        torch.testing.assert_close(ours, llama(x), atol=1e-6, rtol=1e-6)
    else:
        assert torch.equal(ours, llama(x))


def test_the_cast_comes_before_the_gain_not_after():
    x, weight, _ = inputs(torch.bfloat16)
    wide = norm.rms_norm(x.float(), weight.float(), EPS).bfloat16()
    ours = norm.rms_norm(x, weight, EPS)
    assert not torch.equal(ours, wide)  # a rounding apart …
    torch.testing.assert_close(ours, wide, rtol=2**-6, atol=1e-6)  # … and no more
    torch.testing.assert_close(norm.fused_rms_norm(x, weight, EPS), wide, rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layer_norm_in_half_precision_is_torchs(dtype):
    x, weight, bias = inputs(dtype)
    theirs = torch.nn.functional.layer_norm(x, (SIZE,), weight, bias, EPS)
    ours = norm.layer_norm(x, weight, bias, EPS)
    assert ours.dtype == dtype
    one_rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(ours, theirs, rtol=one_rounding, atol=one_rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fused_forms_equal_the_formulas(dtype):
    x, weight, bias = inputs(dtype)
    near = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 8 * torch.finfo(dtype).eps}
    plain, fused = norm.rms_norm(x, weight, EPS), norm.fused_rms_norm(x, weight, EPS)
    torch.testing.assert_close(plain, fused, **near)
    for b in (bias, None):
        plain, fused = norm.layer_norm(x, weight, b, EPS), norm.fused_layer_norm(x, weight, b, EPS)
        torch.testing.assert_close(plain, fused, **near)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtype_of_the_input_is_kept_with_a_float32_gain(dtype):
    x, weight, bias = inputs()
    low = x.to(dtype)
    for out in (
        norm.rms_norm(low, weight, EPS),
        norm.layer_norm(low, weight, bias, EPS),
        norm.fused_rms_norm(low, weight, EPS),
        norm.fused_layer_norm(low, weight, bias, EPS),
    ):
        assert out.dtype == dtype


def test_squares_beyond_float16_do_not_overflow():
    x = torch.full((1, SIZE), 1000.0, dtype=torch.float16)  # 1000² is infinite in float16
    assert torch.equal(norm.rms_norm(x, torch.ones(SIZE), 1e-6), torch.ones_like(x))
    x[0, ::2] = -1000.0
    assert torch.equal(norm.layer_norm(x, torch.ones(SIZE), None, 1e-6), x / 1000)


def test_gradients_in_float64_agree_with_finite_differences():
    x, weight, bias = (t.double()[..., :5].requires_grad_() for t in inputs())
    x = x[:2, :2].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: norm.rms_norm(*a, EPS), (x, weight))
    assert torch.autograd.gradcheck(lambda *a: norm.layer_norm(*a, EPS), (x, weight, bias))


def test_these_checks_would_see_the_usual_mistakes():
    x, weight, bias = inputs()
    right = norm.rms_norm(x, weight, EPS)
    square = x.pow(2).mean(-1, keepdim=True)
    assert not torch.allclose(right, x / (square.sqrt() + EPS) * weight, atol=1e-3)  # eps outside
    assert not torch.allclose(right, x / (x.pow(2).sum(-1, keepdim=True) + EPS).sqrt() * weight)
    assert not torch.allclose(right, norm.layer_norm(x, weight, None, EPS), atol=1e-3)
    right = norm.layer_norm(x, weight, bias, EPS)
    centered = x - x.mean(-1, keepdim=True)
    unbiased = centered / (x.var(-1, keepdim=True) + EPS).sqrt() * weight + bias
    assert not torch.allclose(right, unbiased, atol=1e-3)
