"""What `torch.nn.utils` has that the book uses."""

from __future__ import annotations

from collections.abc import Iterable

from minimind_wiki.lite.tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients by one factor so that their common norm is at most max_norm; return the
    norm before."""
    grads = [p.grad for p in parameters if p.grad is not None]
    total: Tensor = sum(g.square().sum() for g in grads).sqrt()
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(factor)
    return total
