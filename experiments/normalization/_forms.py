"""LayerNorm and RMSNorm by hand, fused, and careless with half precision; how they are timed."""

import contextlib
import ctypes
import time
from functools import partial

import torch
from torch import Tensor

from minimind_wiki.model import norm as package

EPS = 1e-6


def half_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt(centered.pow(2).mean(-1, keepdim=True) + eps) * weight + bias


def half_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


FORMS = {
    "layernorm_plain": package.layer_norm, "rmsnorm_plain": package.rms_norm,
    "layernorm_fused": package.fused_layer_norm, "rmsnorm_fused": package.fused_rms_norm,
    "layernorm_half": half_layer_norm, "rmsnorm_half": half_rms_norm,
}  # fmt: skip


def normalizer(arm: dict, width: int, dtype: torch.dtype):
    """The arm as a function of x alone, with its gain and bias, and the list of these two."""
    affine = [torch.ones(width, dtype=dtype, requires_grad=True)]
    if arm["norm"] == "layernorm":
        affine.append(torch.zeros(width, dtype=dtype, requires_grad=True))
    return lambda x: FORMS[f"{arm['norm']}_{arm['form']}"](x, *affine, EPS), affine


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next call; nothing where there is no glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25), mallopt(-1, 1 << 30)  # thresholds of mmap and of trimming


def return_freed_memory() -> bool:
    """Give all freed memory back to the system, so that the next call must ask for pages again."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
        return True
    return False


def forward_only(function, affine, x: Tensor, _: Tensor) -> None:
    with torch.no_grad():
        function(x)


def forward_backward(function, affine, x: Tensor, upstream: Tensor) -> None:
    torch.autograd.grad(function(x), [x, *affine], upstream)


def seconds(call, before) -> float:
    before()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def times(arm: dict, shape: tuple[int, int], rounds: int, step, before=lambda: None):
    """Fewest seconds of a call, and their ratio to torch's fused LayerNorm, called in turn.

    The fewest of many: what other programs and the system's memory take only ever adds.
    """
    x, upstream = torch.randn(shape, requires_grad=True), torch.randn(shape)
    fused = {"norm": "layernorm", "form": "fused"}
    calls = [partial(step, *normalizer(a, shape[1], x.dtype), x, upstream) for a in (arm, fused)]
    pairs = []
    for turn in range(rounds):
        order = calls if turn % 2 else calls[::-1]
        took = [seconds(call, before) for call in order]
        pairs.append(took if turn % 2 else took[::-1])
    best = [min(took) for took in zip(*pairs, strict=True)]
    return best[0], best[0] / best[1]


def error_at(arm: dict, scale: float, dtype: torch.dtype, width: int, seed: int) -> float:
    """Relative error against float64 on inputs of this scale; 1 where the output is not finite."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(64, width, generator=generator) * scale).to(dtype)
    if not x.isfinite().all():
        return float("nan")  # the input itself does not fit: nothing to measure
    exact = normalizer({**arm, "form": "plain"}, width, torch.float64)[0](x.double())
    difference = (normalizer(arm, width, dtype)[0](x).double() - exact).norm() / exact.norm()
    return min(difference.nan_to_num(1.0, 1.0).item(), 1.0)
