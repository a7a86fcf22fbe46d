"""What training minimizes: cross-entropy of the next token, in nats, summed over predicted tokens.

Two forms of one number. The plain form makes all scores at once, (tokens, V): at 16,384 tokens and
a vocabulary of 6,400 that is 400 MB in float32, and softmax and gradient need as much again each.
The chunked form takes some tokens at a time and computes their gradient at once, while their scores
are there, so that no more than one chunk of scores ever lives (the idea of Liger-Kernel, Hsu et al.
2024, arXiv:2410.10989; Wijmans et al. 2024, arXiv:2411.09009, go further). It costs no product
more than the plain form.

Besides cross-entropy: label smoothing (Szegedy et al. 2016, arXiv:1512.00567) and z-loss, which
keeps the logarithm of the softmax's sum near 0, so that scores do not drift to where bfloat16 is
coarse (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, §5).
Shapes: B rows, T tokens, N = B · T, C tokens of a chunk, D hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.model import Transformer
from minimind_wiki.model.linear import product
from minimind_wiki.model.moe_balance import Balancer

LARGE = 1 << 24  # scores: 64 MiB in float32, several times over in the plain form
CHUNK = {"cpu": 1 << 22, "else": 1 << 24}  # scores of a chunk; a CPU's cache is small


def chunk_tokens(tokens: int, vocab_size: int, device: str = "cuda") -> int:
    """Tokens of a chunk for so many tokens in one pass, or 0 where the plain form is small enough.

    >>> chunk_tokens(16 * 128, 259), chunk_tokens(32 * 512, 6400), chunk_tokens(8192, 151_936)
    (0, 2560, 256)
    >>> chunk_tokens(32 * 512, 6400, "cpu")
    512
    """
    if tokens * vocab_size <= LARGE:
        return 0
    return max(256, CHUNK.get(device, CHUNK["else"]) // vocab_size // 256 * 256)


def cross_entropy(
    logits_NV: Tensor, labels_N: Tensor, z_loss: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Sum over the tokens that have a label; the softmax is in float32.

    A token with the label y costs lse - (1-s) x_y - s mean(x) + z lse², with x its scores, lse the
    logarithm of the sum of their exponentials, s the smoothing and z the weight of z-loss.

    >>> round(cross_entropy(torch.zeros(3, 8), torch.tensor([1, 2, IGNORE])).item(), 4)  # 2 log 8
    4.1589
    """
    logits_NV = logits_NV.float()
    total = F.cross_entropy(logits_NV, labels_N, reduction="sum", label_smoothing=smoothing)
    if z_loss:
        lse_N = logits_NV.logsumexp(-1)
        total = total + z_loss * lse_N.square().masked_fill(labels_N == IGNORE, 0.0).sum()
    return total


def chunked_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    chunk: int,
    z_loss: float = 0.0,
    smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy(hidden @ weightᵀ, labels)` with the scores of `chunk` tokens at a time.

    Under autocast the products are in its format, as those of a Linear would be; the gradient of
    the weight is summed over the chunks in float32.
    """
    kind = hidden_ND.device.type
    auto = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if auto else torch.result_type(hidden_ND, weight_VD)
    settings = (chunk, z_loss, smoothing, dtype)
    if torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad):
        return _Chunked.apply(hidden_ND, weight_VD, labels_N, *settings)
    return _chunks(hidden_ND, weight_VD, labels_N, *settings, None, None)


def _chunks(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    chunk: int,
    z_loss: float,
    smoothing: float,
    dtype: torch.dtype,
    d_hidden_ND: Tensor | None,
    d_weight_VD: Tensor | None,
) -> Tensor:
    """The sum; where tensors for the gradients are given, also those of the sum."""
    weight_VD = weight_VD.to(dtype)
    total = torch.zeros((), device=hidden_ND.device)
    for at in range(0, len(hidden_ND), chunk):
        hidden_CD, labels_C = hidden_ND[at : at + chunk].to(dtype), labels_N[at : at + chunk]
        scores_CV = product(hidden_CD, weight_VD).float()
        asked_C, right_C1 = labels_C != IGNORE, labels_C.clamp_min(0)[:, None]
        lse_C = scores_CV.logsumexp(-1)
        loss_C = lse_C - (1 - smoothing) * scores_CV.gather(1, right_C1)[:, 0]
        if smoothing:
            loss_C = loss_C - smoothing * scores_CV.mean(-1)
        if z_loss:
            loss_C = loss_C + z_loss * lse_C.square()
        total = total + loss_C.masked_fill(~asked_C, 0.0).sum()
        if d_hidden_ND is not None:
            # d loss / d scores = softmax · (1 + 2 z lse) - s/V - (1-s) at the label, in their place
            grad_CV = scores_CV.sub_(lse_C[:, None]).exp_()
            if z_loss:
                grad_CV.mul_((1 + 2 * z_loss * lse_C)[:, None])
            if smoothing:
                grad_CV.sub_(smoothing / grad_CV.shape[1])
            grad_CV.scatter_add_(1, right_C1, torch.full_like(lse_C, smoothing - 1)[:, None])
            grad_CV.masked_fill_(~asked_C[:, None], 0.0)
            grad = grad_CV.to(dtype)
            d_hidden_ND[at : at + chunk] = product(grad, weight_VD.T)
            if d_weight_VD is not None:
                d_weight_VD += product(grad.T, hidden_CD.T)
    return total


class _Chunked(torch.autograd.Function):
    """Its forward already makes the gradients of the sum; its backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        labels_N: Tensor,
        chunk: int,
        z_loss: float,
        smoothing: float,
        dtype: torch.dtype,
    ) -> Tensor:
        d_hidden_ND = torch.empty_like(hidden_ND)
        d_weight_VD = None  # of a frozen head
        if ctx.needs_input_grad[1]:
            d_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        total = _chunks(hidden_ND, weight_VD, labels_N, chunk, z_loss, smoothing, dtype,
                        d_hidden_ND, d_weight_VD)  # fmt: skip
        ctx.save_for_backward(d_hidden_ND, d_weight_VD)
        ctx.weight_dtype = weight_VD.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden_ND, d_weight_VD = ctx.saved_tensors
        scaled_ND = (d_hidden_ND * grad).to(d_hidden_ND.dtype)
        scaled_VD = None if d_weight_VD is None else (d_weight_VD * grad).to(ctx.weight_dtype)
        return scaled_ND, scaled_VD, None, None, None, None, None


class LossModel(nn.Module):
    """A model and its loss as one call, so that what wraps a module (compile, DDP) wraps both.

    `chunk` tokens at a time make scores; 0 means all at once. While a model with experts trains,
    the losses of its `balancer` are added, each a mean, times the tokens that have a label.
    """

    def __init__(
        self, model: Transformer, chunk: int = 0, z_loss: float = 0.0, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.model, self.balancer = model, Balancer(model)
        self.chunk, self.z_loss, self.smoothing = chunk, z_loss, smoothing

    def forward(
        self, ids_BT: Tensor, labels_BT: Tensor, documents_BT: Tensor | None = None
    ) -> Tensor:
        """The sum over the tokens that have a label, a scalar in float32."""
        labels_N = labels_BT.flatten()
        if self.chunk:
            hidden_BTD = self.model.model(ids_BT, documents_BT=documents_BT)
            total = chunked_cross_entropy(
                hidden_BTD.flatten(0, 1), self.model.lm_head.weight, labels_N,
                self.chunk, self.z_loss, self.smoothing,
            )  # fmt: skip
        else:
            logits_BTV = self.model(ids_BT, documents_BT=documents_BT)
            total = cross_entropy(logits_BTV.flatten(0, 1), labels_N, self.z_loss, self.smoothing)
        if self.model.training and self.balancer.layers:
            real_BT = None if documents_BT is None else documents_BT > 0  # 0 marks padding
            total = total + (labels_N != IGNORE).sum() * self.balancer.loss(real_BT)
        return total
