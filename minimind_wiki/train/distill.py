"""Distillation: a student learns the teacher's whole distribution, not only the token it says.

A hard label names one token; the teacher's probabilities also tell which others would have done
(Hinton et al. 2015, arXiv:1503.02531). Three ways for a student Q to be near a teacher P:

| divergence | per token | the student |
|---|---|---|
| forward KL | Σ P (log P − log Q) | covers everything that the teacher may say |
| reverse KL | Σ Q (log Q − log P) | says only what the teacher would, and may leave much out |
| JS(β) | β KL(P ‖ M) + (1−β) KL(Q ‖ M), M = βP + (1−β)Q | between; bounded |

(Agarwal et al. 2024, GKD, arXiv:2306.13649; Gu et al. 2024, MiniLLM, arXiv:2306.08543.) JS(β) goes
to 0 itself as β goes to 0 or 1: JS(β)/β to forward KL, JS(β)/(1−β) to reverse KL. Libraries that
take β = 0 and β = 1 for those two jump there; here they are functions of their own.

A temperature T flattens both distributions, and gradients shrink about as 1/T²: the factor T² keeps
the learning rate, and the balance with hard labels, where they were (Hinton et al., §2).
Shapes: N tokens, C tokens of a chunk, V vocabulary, k tokens that the teacher kept, D hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import WrongCall
from minimind_wiki.train.logprobs import Head, in_chunks

Divergence = Callable[[Tensor, Tensor], Tensor]  # log Q and log P, (N, V), to nats, (N,)


def kl(logp_NV: Tensor, logq_NV: Tensor) -> Tensor:
    """KL(P ‖ Q) of each row in nats, (N,). What P holds impossible adds nothing.

    >>> kl(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log())
    tensor([0.1438])
    """
    p_NV = logp_NV.exp()
    return torch.where(p_NV > 0, p_NV * (logp_NV - logq_NV), 0.0).sum(-1)


def forward_kl(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(teacher ‖ student), (N,), of log-probabilities."""
    return kl(teacher_NV, student_NV)


def reverse_kl(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
    """KL(student ‖ teacher), (N,), of log-probabilities."""
    return kl(student_NV, teacher_NV)


def jensen_shannon(beta: float = 0.5) -> Divergence:
    """JS(β) as a divergence; symmetric at 1/2, where it is at most log 2.

    >>> certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).clamp(min=1e-30).log()
    >>> jensen_shannon()(certain[:1], certain[1:])
    tensor([0.6931])
    """
    if not 0 < beta < 1:
        raise WrongCall(f"beta is {beta}; give one inside 0 to 1, or forward_kl or reverse_kl.")

    def divergence(student_NV: Tensor, teacher_NV: Tensor) -> Tensor:
        weight = student_NV.new_tensor([beta, 1 - beta]).log()
        mixture_NV = torch.logaddexp(teacher_NV + weight[0], student_NV + weight[1])
        return beta * kl(teacher_NV, mixture_NV) + (1 - beta) * kl(student_NV, mixture_NV)

    return divergence


class Top(NamedTuple):
    """What is kept of a teacher: its k most probable tokens and the rest as one class."""

    logp_NK: Tensor  # (N, k + 1), the last is the rest; a whole distribution
    ids_Nk: Tensor


def top_k(teacher_NV: Tensor, k: int, temperature: float = 1.0) -> Top:
    """Keep k of V scores: at k = 32 of 151,936 a stored teacher needs 1/1,500 of the space.

    The temperature must be that of the loss: the rest's share at another cannot be known later.
    """
    vocabulary = teacher_NV.shape[-1]
    if not 0 < k < vocabulary:
        raise WrongCall(f"k is {k}; give 1 to {vocabulary - 1}, fewer than the vocabulary has.")
    ids_Nk = teacher_NV.topk(k).indices
    return Top(with_rest(teacher_NV, ids_Nk, temperature), ids_Nk)


def with_rest(scores_NV: Tensor, ids_Nk: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of some tokens and, last, of all others together; (N, k + 1).

    The others are summed, not taken as 1 - Σ, which would be 0 where the k have nearly all.
    """
    logp_NV = F.log_softmax(scores_NV.float() / temperature, -1)
    rest_N = logp_NV.scatter(-1, ids_Nk, float("-inf")).logsumexp(-1, keepdim=True)
    return torch.cat([logp_NV.gather(-1, ids_Nk), rest_N], -1)


def distill_loss(
    student_NV: Tensor,
    teacher: Tensor | Top,
    divergence: Divergence = forward_kl,
    temperature: float = 1.0,
) -> Tensor:
    """T² · divergence of the softened distributions, (N,), from scores.

    A teacher's top k (`top_k` at the same temperature) is compared with the student's
    probabilities of the same k tokens and of the rest: never more than the whole divergence, and
    equal to it where the two agree about the rest. WrongCall if the vocabularies differ.
    """
    if isinstance(teacher, Top):
        student_NK = with_rest(student_NV, teacher.ids_Nk, temperature)
        return temperature**2 * divergence(student_NK, teacher.logp_NK)
    if student_NV.shape[-1] != teacher.shape[-1]:
        raise WrongCall(
            f"the student scores {student_NV.shape[-1]:,} tokens and the teacher "
            f"{teacher.shape[-1]:,}; distillation needs one tokenizer for both."
        )
    logq_NV, logp_NV = (
        F.log_softmax(scores.float() / temperature, -1) for scores in (student_NV, teacher)
    )
    return temperature**2 * divergence(logq_NV, logp_NV)


def distill(
    student: tuple[Tensor, Head],
    teacher: tuple[Tensor, Head] | Top,
    labels_BT: Tensor,
    divergence: Divergence = forward_kl,
    temperature: float = 1.0,
    hard: float = 0.0,
    chunk: int = 0,
) -> tuple[Tensor, Tensor]:
    """The sum over the labelled tokens, and their number: sums of micro-batches add up.

    A model is given as its last hidden states (B, T, D) and its head, so that the scores of only
    `chunk` tokens exist at a time; a stored teacher as its `Top` of all B · T places. `hard` is the
    weight of the labels' own cross-entropy, 1 - hard that of the teacher (Hinton et al., §2); at 1
    the teacher is not heard. Without `hard` the labels only say which tokens count.
    """
    if not 0 <= hard <= 1:
        raise WrongCall(f"hard is {hard}; give the weight of the hard labels, from 0 to 1.")
    labels_N, (student_BTD, head) = labels_BT.flatten(), student
    place_K = (labels_N != IGNORE).nonzero()[:, 0]
    rows: tuple[Tensor, ...]
    scores_of: Callable[..., Tensor | Top]
    if isinstance(teacher, Top):
        rows, scores_of = teacher, Top
    else:
        rows, scores_of = (teacher[0].flatten(0, 1),), torch.no_grad()(teacher[1])

    def score(student_CD: Tensor, labels_C: Tensor, *teacher_C: Tensor) -> Tensor:
        scores_CV = head(student_CD)
        soft_C = distill_loss(scores_CV, scores_of(*teacher_C), divergence, temperature)
        if not hard:
            return soft_C
        hard_C = F.cross_entropy(scores_CV.float(), labels_C, reduction="none")
        return torch.lerp(soft_C, hard_C, hard)

    inputs = (student_BTD.flatten(0, 1), labels_N, *rows)
    loss_K = in_chunks(score, chunk, *(row[place_K] for row in inputs))
    return loss_K.sum(), torch.tensor(len(place_K))
