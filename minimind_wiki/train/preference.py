"""Learning from comparisons without a reward model: DPO, IPO, SimPO, ORPO and KTO.

Each treats the language model itself as a judge. Under a penalty of β per nat of KL from a
reference, the best policy for a reward r satisfies r(x, y) = β log π(y|x) / π_ref(y|x) + c(x), so
every policy has an *implicit reward*, and c(x) cancels in a pair (Rafailov et al. 2023, DPO,
arXiv:2305.18290, eq. 5). The methods differ in the reward and in the cost of a difference d of two:

| method | reward of an answer | cost of d |
|---|---|---|
| DPO | β (log π − log π_ref) | −log σ(d − margin) |
| IPO (Azar et al. 2023, arXiv:2310.12036, eq. 17) | log π − log π_ref | (d − 1/(2β))² |
| SimPO (Meng et al. 2024, arXiv:2405.14734) | β log π / tokens | −log σ(d − γ) |
| ORPO (Hong et al. 2024, arXiv:2403.07691) | log odds of mean log π | −λ log σ(d), and SFT's loss |
| KTO (Ethayarajh et al. 2024, arXiv:2402.01306) | β (log π − log π_ref) | σ's of single answers |

All return the loss of each pair (of each answer for KTO), so that a batch is their sum divided by
the pairs of the *whole* step: micro-batches of any size add up to the same gradient.
Shapes: B pairs or answers; log-probabilities are sums over an answer's tokens, in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.errors import WrongCall


@dataclass(frozen=True, slots=True)
class Answers:
    """B answers: log π(y|x), their tokens (at least 1), and log π_ref(y|x).

    Without reference the log-ratio is log π itself, as if the reference found all answers equally
    probable. `Answers(*row_sums(logp_BT, mask_BT))` makes them.
    """

    logp_B: Tensor
    tokens_B: Tensor
    reference_B: Tensor | None = None

    def ratio(self, per_token: bool = False) -> Tensor:
        """log π/π_ref, (B,), for the whole answer or as a mean over its tokens."""
        ratio_B = self.logp_B if self.reference_B is None else self.logp_B - self.reference_B
        return ratio_B / self.tokens_B if per_token else ratio_B

    @property
    def mean_B(self) -> Tensor:
        """log π as a mean over the tokens: what makes answers of different length comparable."""
        return self.logp_B / self.tokens_B


class Judged(NamedTuple):
    """The loss of each pair, and the rewards that it compared (without a gradient), each (B,)."""

    loss_B: Tensor
    chosen_B: Tensor
    rejected_B: Tensor


def pairs(rows: Answers) -> tuple[Answers, Answers]:
    """(chosen, rejected) from rows that alternate: chosen, rejected, chosen, rejected …"""
    if len(rows.logp_B) % 2:
        raise WrongCall(f"{len(rows.logp_B)} rows are no whole pairs; give an even number.")

    def every_second(at: int) -> Answers:
        reference_B = None if rows.reference_B is None else rows.reference_B[at::2]
        return Answers(rows.logp_B[at::2], rows.tokens_B[at::2], reference_B)

    return every_second(0), every_second(1)


def logistic(difference_B: Tensor, smoothing: float = 0.0, robust: bool = False) -> Tensor:
    """-log σ(d): the chosen should win (Bradley & Terry 1952), where `smoothing` of the labels lie.

    Smoothing ε mixes in the flipped pair's loss, so that the best difference is finite, with
    σ(d) = 1 - ε (Mitchell 2023, "A note on DPO with noisy preferences"). Robust subtracts it
    instead and divides by 1 - 2ε: averaged over flipped and right labels, the loss is then that of
    right ones (Chowdhury et al. 2024, arXiv:2403.00409).

    >>> logistic(torch.tensor([0.0, 2.0]))
    tensor([0.6931, 0.1269])
    """
    if not 0 <= smoothing < 0.5:
        raise WrongCall(f"smoothing is {smoothing}; give a share of wrong labels in 0 ≤ ε < 0.5.")
    right_B, flipped_B = -F.logsigmoid(difference_B), -F.logsigmoid(-difference_B)
    if robust:
        return ((1 - smoothing) * right_B - smoothing * flipped_B) / (1 - 2 * smoothing)
    return (1 - smoothing) * right_B + smoothing * flipped_B


def dpo(
    chosen: Answers,
    rejected: Answers,
    beta: float = 0.1,
    margin: float | Tensor = 0.0,
    smoothing: float = 0.0,
    robust: bool = False,
    per_token: bool = False,
) -> Judged:
    """Direct preference optimization. A `margin` (B,) asks for a larger difference of rewards where
    an answer is much better (Amini et al. 2024, ODPO, arXiv:2402.10571). `per_token` compares mean
    log-ratios, which takes the length out (Lambert et al. 2024, Tülu 3, arXiv:2411.15124).
    """
    chosen_B, rejected_B = beta * chosen.ratio(per_token), beta * rejected.ratio(per_token)
    loss_B = logistic(chosen_B - rejected_B - margin, smoothing, robust)
    return Judged(loss_B, chosen_B.detach(), rejected_B.detach())


def ipo(chosen: Answers, rejected: Answers, beta: float = 0.1, per_token: bool = True) -> Judged:
    """Identity preference optimization: the difference should be 1/(2β), and not grow for ever.

    The paper's τ is β. Its equation has summed log-ratios; TRL's source reports that its authors
    took means over tokens, so that β does not depend on the length, and so does the default here.
    """
    chosen_B, rejected_B = chosen.ratio(per_token), rejected.ratio(per_token)
    loss_B = (chosen_B - rejected_B - 1 / (2 * beta)).square()
    return Judged(loss_B, beta * chosen_B.detach(), beta * rejected_B.detach())


def simpo(
    chosen: Answers,
    rejected: Answers,
    beta: float = 2.0,
    gamma: float = 1.0,
    smoothing: float = 0.0,
) -> Judged:
    """SimPO: no reference; the reward is the mean log-probability, which is also what sampling
    follows, and the chosen must win by `gamma`."""
    chosen_B, rejected_B = beta * chosen.mean_B, beta * rejected.mean_B
    loss_B = logistic(chosen_B - rejected_B - gamma, smoothing)
    return Judged(loss_B, chosen_B.detach(), rejected_B.detach())


def log_odds(logp_B: Tensor) -> Tensor:
    """log p/(1-p) of p = exp(logp); expm1 keeps 1 - p exact where p is nearly 1.

    A p that was rounded to 1 counts as the number below: its odds would be infinite, and the
    gradient inf · 0.

    >>> log_odds(torch.tensor([0.5, 0.9, 1.0]).log())
    tensor([ 0.0000,  2.1972, 15.9424])
    """
    logp_B = logp_B.clamp(max=-torch.finfo(logp_B.dtype).eps)
    return logp_B - torch.log(-torch.expm1(logp_B))


def orpo(chosen: Answers, rejected: Answers, weight: float = 0.1) -> Judged:
    """ORPO: fine-tuning on the chosen answer and, `weight` (the paper's λ) times, its odds against
    those of the rejected one. p is exp(mean log π). Starts from a base model; no reference.

    The chosen's loss is a mean over its tokens, so that each pair counts the same.
    """
    ahead_B = log_odds(chosen.mean_B) - log_odds(rejected.mean_B)
    loss_B = -chosen.mean_B + weight * logistic(ahead_B)
    return Judged(loss_B, log_odds(chosen.mean_B).detach(), log_odds(rejected.mean_B).detach())


def kto_reference(mismatched: Answers) -> Tensor:
    """KTO's reference point, a scalar without gradient: about KL(π ‖ π_ref), never below 0.

    Estimated on answers that belong to *other* prompts of the batch (each prompt with its
    neighbour's answer). Take all rows of a step, or micro-batches would change the result.
    """
    return mismatched.ratio().mean().clamp(min=0.0).detach()


def kto(
    answers: Answers,
    good_B: Tensor,
    reference_point: float | Tensor,
    beta: float = 0.1,
    good_weight: float = 1.0,
    bad_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """KTO: single answers that are good or bad, no pairs; (loss_B, reward_B).

    A good answer's log-ratio should be above the reference point (nats), a bad one's below; far on
    either side the gradient fades, as value does in prospect theory (Tversky & Kahneman 1992).
    `good_B` is bool. Where one kind is rarer, weigh it more.
    """
    reward_B = beta * answers.ratio()
    ahead_B = torch.where(good_B, 1.0, -1.0) * (reward_B - beta * reference_point)
    weight_B = torch.where(good_B, good_weight, bad_weight)
    return weight_B * (1 - torch.sigmoid(ahead_B)), reward_B.detach()


def pair_metrics(judged: Judged) -> dict[str, float]:
    """Sums over the pairs, to be divided by "pairs" when all parts of a batch are there.

    `accuracy` counts the pairs whose chosen answer has the higher reward; a tie is half a pair, so
    that a policy that is still its own reference has 0.5.
    """
    margin_B = judged.chosen_B - judged.rejected_B
    right_B = (margin_B > 0).float() + 0.5 * (margin_B == 0).float()
    return {
        "pairs": float(len(margin_B)),
        "accuracy": float(right_B.sum()),
        "margin": float(margin_B.sum()),
        "reward_chosen": float(judged.chosen_B.sum()),
        "reward_rejected": float(judged.rejected_B.sum()),
    }
