"""Layers as functions, with the formulas written out."""

from __future__ import annotations

import numpy as np

from minimind_wiki.lite.tensor import Tensor


def relu(x: Tensor) -> Tensor:
    return x.relu()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) times weight (out, in) transposed, plus bias (out)."""
    y = x @ weight.T
    return y if bias is None else y + bias


def _last(x: Tensor, normalized_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes to normalize over; RuntimeError if the input does not end in that shape."""
    shape = tuple(normalized_shape)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(x.shape)}"
        )
    return tuple(range(-len(shape), 0))


def layer_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al. 2016)."""
    dims, wide = _last(x, normalized_shape), x.to(np.promote_types(x.dtype, np.float32))
    centred = wide - wide.mean(dims, keepdim=True)
    y = centred / (centred.square().mean(dims, keepdim=True) + eps).sqrt()
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)


def rms_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x²) + eps) * weight over the last axes (Zhang & Sennrich 2019)."""
    dims, wide = _last(x, normalized_shape), x.to(np.promote_types(x.dtype, np.float32))
    eps = float(np.finfo(wide.dtype).eps) if eps is None else eps
    y = wide / (wide.square().mean(dims, keepdim=True) + eps).sqrt()
    return (y if weight is None else y * weight).to(x.dtype)
