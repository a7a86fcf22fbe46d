"""A small PyTorch on numpy, for the reader's browser.

`import minimind_wiki.lite as torch` gives the subset that the book uses, with PyTorch's names and
meaning: a lab or an exercise runs unchanged in the page and, with torch imported in its place, on a
laptop. It stands alone (numpy is all it needs, nothing else of this package is imported), and
`tests/parity/test_lite*.py` compare it with torch op by op, values and gradients.

It is meant to be read, in this order: `autograd` (the graph), `ops` (element by element, and the
matrix product), `reductions` (along axes), `tensor` (shapes and parts), `create`, `nn`, `optim`.
All of that together is at most 900 lines of code, without blank lines, comments and docstrings
(`tests/unit/test_house_lite.py` counts). Not counted are the page's tools, which stand for nothing
of PyTorch's: `worker`, `checks`, `plot` and `training` run, check and draw what readers write, and
`kernel` makes a few formulas quick in the page without changing what they mean.

>>> import minimind_wiki.lite as torch
>>> w = torch.tensor([1.0, 2.0], requires_grad=True)
>>> (w * w).sum().backward()
>>> w.grad
tensor([2., 4.])
"""

# ruff: noqa: F401, F403, F405  (the names are imported to be offered)
from __future__ import annotations

from typing import Any

from minimind_wiki.lite import nn, optim
from minimind_wiki.lite.autograd import is_grad_enabled, no_grad
from minimind_wiki.lite.create import *
from minimind_wiki.lite.tensor import Tensor, unknown

half, float, double, long, bool = float16, float32, float64, int64, bool_
# Methods that are functions as well: torch.mean(x, dim) is x.mean(dim).
FUNCTIONS = (
    "abs", "add", "all", "any", "argmax", "argmin", "argsort", "chunk", "clamp", "clone", "cos",
    "cumsum", "div", "erf", "exp", "flatten", "flip", "floor", "gather", "isfinite",
    "isnan", "log", "log2", "log_softmax", "logsumexp", "masked_fill", "matmul", "max", "maximum",
    "mean", "min", "minimum", "movedim", "mul", "narrow", "norm", "outer", "permute", "pow", "relu",
    "repeat_interleave", "reshape", "roll", "round", "rsqrt", "sigmoid", "sign", "sin", "softmax",
    "sort", "split", "sqrt", "square", "squeeze", "std", "sub", "sum", "take_along_dim", "tanh",
    "topk", "transpose", "tril", "triu", "unbind", "unflatten", "unsqueeze", "var",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return getattr(Tensor, name)
    raise unknown("lite", name, [*FUNCTIONS, *globals()])
