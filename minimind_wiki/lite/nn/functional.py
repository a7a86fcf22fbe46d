"""Layers as functions, with the formulas written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minimind_wiki.lite import create, kernel
from minimind_wiki.lite.autograd import Array, wide
from minimind_wiki.lite.ops import compute
from minimind_wiki.lite.tensor import Tensor

relu, softmax, log_softmax = Tensor.relu, Tensor.softmax, Tensor.log_softmax


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x)."""
    y = compute(x.dtype, kernel.silu, x.data)
    return x.record(y, (x, lambda g: kernel.silu_vjp(g, x.data.astype(g.dtype, copy=False))))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution's Φ(x), or GPT-2's approximation of it by tanh."""
    if approximate == "tanh":
        return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())
    return 0.5 * x * (1 + (x / math.sqrt(2)).erf())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) times weight (out, in) transposed, plus bias (out)."""
    y = x @ weight.T
    return y if bias is None else y + bias


def embedding(input: Tensor, weight: Tensor) -> Tensor:
    """The rows of weight (vocabulary, width) that the indices name."""
    return weight[input]


def one_hot(x: Tensor, num_classes: int = -1) -> Tensor:
    classes = int(x.data.max()) + 1 if num_classes == -1 else num_classes
    return (x.unsqueeze(-1) == create.arange(classes)).long()


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each value with probability p; the others grow so that the mean stays."""
    if not training or p == 0:
        return x
    return x * (create.rand(x.shape) >= p).to(x.dtype) / (1 - p)


def _last(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes to normalize over; RuntimeError if the input does not end in that shape."""
    if x.shape[x.ndim - len(shape) :] != tuple(shape):
        raise RuntimeError(f"normalized_shape is {shape}, but the input's shape is {x.shape}")
    return tuple(range(-len(shape), 0))


def layer_norm(x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al. 2016).

    The variance is the mean square of what is left without the mean, so the rest is RMSNorm.
    """
    dims, full = _last(x, normalized_shape), x.to(wide(x.data).dtype)
    y = rms_norm(full - full.mean(dims, keepdim=True), normalized_shape, weight, eps)
    return (y if bias is None else y + bias).to(x.dtype)


def rms_norm(x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:  # fmt: skip
    """x / sqrt(mean(x²) + eps) * weight over the last axes (Zhang & Sennrich 2019).

    One operation with its own gradients: a model calls it twice in each layer.
    """
    _last(x, normalized_shape)
    weight = create.ones(normalized_shape) if weight is None else weight
    small = float(np.finfo(wide(x.data).dtype).eps) if eps is None else eps
    full, gain = wide(x.data), wide(weight.data)
    y = compute(x.dtype, lambda x, w: kernel.rms_norm(x, w, small), full, gain)

    def back(vjp: Any) -> Any:
        return lambda g: vjp(g, full, gain, small)

    return x.record(y, (x, back(kernel.rms_norm_vjp)), (weight, back(kernel.rms_norm_weight_vjp)))


def cross_entropy(input: Tensor, target: Tensor, ignore_index: int = -100,
                  reduction: str = "mean") -> Tensor:  # fmt: skip
    """-log softmax(logits)[target]: nats by which the target surprises (Bridle 1990).

    Logits (N, classes, …) or (classes,), targets of integers (N, …) or (). Where the target is
    `ignore_index` the loss is 0, and the mean does not count it. `reduction` is mean, sum, or none
    for the losses one by one. The gradient of the logits is softmax, less 1 at the target.
    RuntimeError for targets that are probabilities: take log_softmax and a sum for those.

    >>> logits = create.zeros(1, 4, requires_grad=True)
    >>> loss = cross_entropy(logits, create.tensor([2]))
    >>> loss.backward()
    >>> f"{loss.item():.4f}", logits.grad.tolist()
    ('1.3863', [[0.25, 0.25, -0.75, 0.25]])
    """
    if target.dtype.kind == "f":
        raise RuntimeError("lite's cross_entropy takes integer targets, not probabilities")
    logits = input.movedim(1, -1) if input.ndim > 1 else input
    keep = target.data != ignore_index
    index = np.where(keep, target.data, 0)[..., None]
    p, log_sum = kernel.softmax_and_log(wide(logits.data))
    losses = np.where(keep, (log_sum - np.take_along_axis(logits.data, index, -1))[..., 0], 0)

    def vjp(g: Array) -> Array:
        # softmax minus one at the target, in the memory of p: no backward comes here twice
        np.put_along_axis(p, index, np.take_along_axis(p, index, -1) - 1, -1)
        return np.multiply(p, np.where(keep, g, 0)[..., None], out=p)

    each: Tensor = logits.record(losses.astype(input.dtype, copy=False), (logits, vjp))
    loss = each if reduction == "none" else each.sum()
    return loss / int(keep.sum()) if reduction == "mean" else loss


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(q kᵀ / sqrt(width)) v for q (…, heads, T, width), k and v (…, heads, S, width).

    `attn_mask` is true where a query may look, or is added to the scores. With `enable_gqa` several
    heads of the query share one of key and value. A query that may look nowhere gets zeros.
    """
    if enable_gqa:
        shared, left = divmod(query.shape[-3], key.shape[-3])
        if left or not shared:
            raise RuntimeError("the heads of query must be a multiple of those of key and value")
        key, value = (x.repeat_interleave(shared, -3) for x in (key, value))
    scores = (query * (scale or 1 / math.sqrt(query.shape[-1]))) @ key.mT
    if is_causal:
        y = compute(scores.dtype, kernel.causal_softmax, scores.data)
        weights = scores.record(y, (scores, lambda g: kernel.softmax_vjp(g, y, -1)))
    elif attn_mask is None:
        weights = scores.softmax(-1)
    elif attn_mask.dtype == create.bool_:
        weights = scores.masked_fill(~attn_mask, -math.inf).softmax(-1).masked_fill(~attn_mask, 0)
    else:
        weights = (scores + attn_mask).softmax(-1)
    return dropout(weights, dropout_p) @ value
