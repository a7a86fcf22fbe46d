"""A reward model: a language model whose head gives one number for a text instead of V scores.

It learns from pairs: the chosen answer's reward should be larger, p(chosen ≻ rejected) = σ(r - r')
(Bradley & Terry 1952; for language models Stiennon et al. 2020, arXiv:2009.01325). Only differences
are learned, so rewards of different prompts, or models, have no common zero. The number is read at
the last token, the only place that has seen the whole text.

A reward model is used as a measure, so two probes stand beside it. Calibration: does it win as
often as its probabilities say? Length: how much of what it calls good is merely long?
Shapes: B rows or pairs, T tokens, D hidden, N answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minimind_wiki.errors import WrongCall
from minimind_wiki.model import Transformer
from minimind_wiki.model.linear import Linear
from minimind_wiki.train.preference import logistic


class RewardModel(nn.Module):
    """The blocks of a language model (shared with it, not copied) under a head of one score.

    `state_dict` has the names of transformers' `LlamaForSequenceClassification` with one label. The
    head starts at N(0, 1/(D+1)) as in Stiennon et al.: hidden states leave the last norm with a
    mean square near 1, so first rewards are of size 1.
    """

    def __init__(self, base: Transformer, seed: int = 0) -> None:
        super().__init__()
        self.config, self.model = base.config, base.model
        like, hidden = base.model.embed_tokens.weight, base.config.hidden_size
        self.score = Linear(hidden, 1, bias=False, device=like.device, dtype=like.dtype)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.score.weight.copy_(torch.randn(1, hidden, generator=draw) / (hidden + 1) ** 0.5)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Rewards (B,), float32, of rows padded on the right after `lengths_B` tokens.

        Lengths are given, not guessed from a pad id: where pad and end are one token, as in GPT-2,
        the guess reads the reward before the end. WrongCall, with the row, for one without tokens.
        """
        bad = ((lengths_B < 1) | (lengths_B > ids_BT.shape[1])).nonzero()[:, 0].tolist()
        if bad:
            raise WrongCall(
                f"row {bad[0]} has a length of {int(lengths_B[bad[0]])} tokens; a text to judge "
                f"has at least 1 and here at most {ids_BT.shape[1]}."
            )
        hidden_BTD = self.model(ids_BT)
        row_B = torch.arange(len(ids_BT), device=ids_BT.device)
        return self.score(hidden_BTD[row_B, lengths_B - 1])[:, 0].float()

    def num_parameters(self) -> int:
        """Parameters of blocks and head."""
        return sum(parameter.numel() for parameter in self.parameters())


def reward_loss(
    chosen_B: Tensor,
    rejected_B: Tensor,
    margin_B: Tensor | float = 0.0,
    smoothing: float = 0.0,
    center: float = 0.0,
) -> Tensor:
    """-log σ(r - r' - margin) of each pair, (B,): divide the sum by the step's pairs.

    A margin says by how much better the chosen answer is (Touvron et al. 2023, Llama 2,
    arXiv:2307.09288, eq. 2). `center` times (r + r')² keeps rewards around 0, where differences
    alone leave them free (Eisenstein et al. 2023, arXiv:2312.09244).
    """
    loss_B = logistic(chosen_B - rejected_B - margin_B, smoothing)
    return loss_B + center * (chosen_B + rejected_B).square() if center else loss_B


@dataclass(frozen=True, slots=True)
class Calibration:
    """Bins of confidence from 1/2 to 1: pairs in each, their mean confidence, share judged right.

    `error` is the expected calibration error, Σ pairs/all · |confidence - right| (Guo et al. 2017,
    arXiv:1706.04599, eq. 3): 0 when a model that is 80 % sure is right in 80 of 100 cases.
    """

    error: float
    pairs: list[int]
    confidence: list[float]  # nan in an empty bin
    right: list[float]  # nan in an empty bin


def calibration(p_B: Tensor, bins: int = 10) -> Calibration:
    """Of p_B = p(chosen ≻ rejected).

    The model's confidence is max(p, 1-p) in the answer that it prefers, and it is right when p is
    above 1/2 (half right at 1/2). Not p itself: as "chosen" always wins, a model that is sure of
    everything and often wrong would look better than one that knows its doubts.

    >>> calibration(torch.tensor([0.75, 0.75, 0.75, 0.25])).error  # 75 % sure, right in 3 of 4
    0.0
    """
    p_B = p_B.detach().double().cpu()
    sure_B = torch.maximum(p_B, 1 - p_B)
    right_B = (p_B > 0.5).double() + 0.5 * (p_B == 0.5).double()
    bin_B = ((sure_B - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    count, sure, right = (
        torch.zeros(bins, dtype=torch.double).index_add(0, bin_B, part_B)
        for part_B in (torch.ones_like(p_B), sure_B, right_B)
    )
    error = float((sure - right).abs().sum() / max(1, len(p_B)))
    shares = [(total / count).tolist() for total in (sure, right)]
    return Calibration(error, count.long().tolist(), *shares)


@dataclass(frozen=True, slots=True)
class LengthBias:
    """How reward follows length. Shares are nan where there is no such pair."""

    explained: float  # R² of a straight line from length to reward, 0 to 1, over all answers
    slope: float  # reward a token, of that line
    within: float  # R² of reward and length differences of the pairs: the prompt taken out
    longer_wins: float  # share of the pairs of unequal length whose longer answer is preferred
    longer_chosen: float  # the same share in the labels: what length alone would get right
    right_if_longer: float  # accuracy where the chosen answer is the longer one
    right_if_shorter: float  # and where it is the shorter one: low for a judge of length


def length_bias(
    chosen_B: Tensor, rejected_B: Tensor, chosen_tokens_B: Tensor, rejected_tokens_B: Tensor
) -> LengthBias:
    """The probe, for rewards of pairs and the lengths of their answers in tokens."""
    good_B, bad_B = chosen_B.detach().double().cpu(), rejected_B.detach().double().cpu()
    long_B, short_B = chosen_tokens_B.double().cpu(), rejected_tokens_B.double().cpu()
    explained, slope = line(torch.cat([long_B, short_B]), torch.cat([good_B, bad_B]))
    ahead_B, longer_B = good_B - bad_B, long_B - short_B
    # both orders of each pair, so that the line goes through 0: no difference, no preference
    within, _ = line(torch.cat([longer_B, -longer_B]), torch.cat([ahead_B, -ahead_B]))
    right_B, differ_B = ahead_B > 0, longer_B != 0
    prefers_B = torch.sign(ahead_B) == torch.sign(longer_B)
    return LengthBias(
        explained, slope, within,
        float(prefers_B[differ_B].double().mean()),
        float((longer_B > 0)[differ_B].double().mean()),
        float(right_B[longer_B > 0].double().mean()),
        float(right_B[longer_B < 0].double().mean()),
    )  # fmt: skip


def line(x_N: Tensor, y_N: Tensor) -> tuple[float, float]:
    """(R², slope) of the least-squares line; (0, 0) where x or y does not vary.

    >>> line(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
    (1.0, 2.0)
    """
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    xx, yy, xy = float(x_N @ x_N), float(y_N @ y_N), float(x_N @ y_N)
    return (xy * xy / (xx * yy), xy / xx) if xx > 0 and yy > 0 else (0.0, 0.0)
