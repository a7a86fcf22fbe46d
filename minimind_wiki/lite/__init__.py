"""A small PyTorch on numpy, for the reader's browser.

`import minimind_wiki.lite as torch` gives the subset that the book uses, with PyTorch's names and
meaning: a lab or an exercise runs unchanged in the page and, with torch imported in its place, on a
laptop. It stands alone (numpy is all it needs, nothing else of this package is imported), and
`tests/parity/test_lite.py` compares it with torch op by op, values and gradients.

>>> import minimind_wiki.lite as torch
>>> w = torch.tensor([1.0, 2.0], requires_grad=True)
>>> (w * w).sum().backward()
>>> w.grad
tensor([2., 4.])
"""

# ruff: noqa: F401  (the names are imported to be offered)
from __future__ import annotations

from typing import Any

from minimind_wiki.lite import nn
from minimind_wiki.lite.autograd import is_grad_enabled, no_grad
from minimind_wiki.lite.create import (
    float16,
    float32,
    float64,
    from_numpy,
    full,
    int64,
    manual_seed,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from minimind_wiki.lite.tensor import Tensor

half, double = float16, float64


def _function(name: str) -> Any:
    """The function form of a method: `torch.mean(x, dim)` is `x.mean(dim)`."""

    def function(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return getattr(x, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    return function


abs, exp, log, relu = _function("abs"), _function("exp"), _function("log"), _function("relu")
rsqrt, sqrt, square = _function("rsqrt"), _function("sqrt"), _function("square")
tanh, matmul = _function("tanh"), _function("matmul")
mean, norm, std, sum = _function("mean"), _function("norm"), _function("std"), _function("sum")
var, pow = _function("var"), _function("pow")
add, sub, mul, div = _function("add"), _function("sub"), _function("mul"), _function("div")
