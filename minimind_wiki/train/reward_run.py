"""A reward model on the loop: a judge learns from pairs which of two answers people prefer.

The blocks of a language model get a new head of one score, which is read at the token that ends the
answer; both learn that the chosen answer's score is larger (Bradley & Terry 1952; Stiennon et al.
2020, arXiv:2009.01325). A row may say by how much, in `"margin"` (Touvron et al. 2023,
arXiv:2307.09288). The numbers and probes are in `reward.py`. The run's folder holds the blocks as a
language model like any run's; the judge is in its folder `reward`.

    minimind reward --model runs/sft --data world/preference --out runs/reward
Shapes: B rows, two for each pair, T tokens in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.errors import MinimindError, WrongCall
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.train.answers import padded
from minimind_wiki.train.batches import Tokens
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.comparisons import verdict
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.extra import plain
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.parallel import is_first
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.report import Report
from minimind_wiki.train.reward import RewardModel, calibration, length_bias, reward_loss
from minimind_wiki.train.reward_folder import save_reward_folder
from minimind_wiki.train.sources import Row, Source, open_source

FOLDER = "reward"  # of the judge, in the run's folder


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """What a reward model needs beside the settings of every run."""

    smoothing: float = 0.0
    """Share of pairs that are believed to be the wrong way round."""
    center: float = 0.01
    """Weight of (r + r')², which keeps rewards around 0 (0: they may drift)."""

    def validate(self) -> None:
        """WrongCall for a value that cannot work."""
        if not 0 <= self.smoothing < 0.5:
            raise WrongCall(f"smoothing is {self.smoothing}, but it must be in [0, 0.5).")
        if not self.center >= 0:
            raise WrongCall(f"center is {self.center}, but it must be 0 or more.")


def train_reward(
    config: TrainConfig,
    settings: RewardSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Make a judge of the model folder `config.init`. `batch_size` counts pairs."""
    settings = settings or RewardSettings()
    settings.validate()
    tokenizer = open_tokenizer(config.init)
    source = open_source(config.data, "preference", config.seed, config.held_out,
                         config.eval_windows)  # fmt: skip
    feed = judged_feed(source, config, tokenizer)
    outcome = pretrain(config, {}, out, resume, report, feed=feed,
                       tuning=Tuning("reward", settings, method))  # fmt: skip
    if out and outcome.finished and report is not None and is_first():
        report.line(f"Reward model: {out / FOLDER}.")
    return outcome


class RewardLoss(nn.Module):
    """The summed loss of a batch of pairs; rows are chosen, rejected, chosen, rejected …

    The judge shares the model's blocks. It is kept in a list, or its tensors would be counted here
    a second time; the language model's own head is no part of it.
    """

    def __init__(self, judge: RewardModel, settings: RewardSettings) -> None:
        super().__init__()
        self.blocks, self.score, self.settings = judge.model, judge.score, settings
        self.kept = [judge]

    def forward(
        self, ids_BT: Tensor, labels_BT: Tensor, documents_BT: Tensor | None, margin_B: Tensor
    ) -> Tensor:
        """Sum over the pairs, in nats."""
        reward_B, s = self.rewards(ids_BT, labels_BT), self.settings
        return reward_loss(reward_B[::2], reward_B[1::2], margin_B[::2], s.smoothing,
                           s.center).sum()  # fmt: skip

    def rewards(self, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """The reward of each row, (B,) float32, read at the last token of its answer."""
        place_T = torch.arange(1, ids_BT.shape[1] + 1, device=ids_BT.device)
        return self.kept[0](ids_BT, ((labels_BT != IGNORE) * place_T).amax(1))


def method(work: Workshop, settings: RewardSettings) -> Method:
    """The pair loss; the score's head; what is measured; the folder that is left at the end."""
    judge = RewardModel(work.model, work.config.seed)
    loss = RewardLoss(judge, settings)

    def assess() -> dict[str, float]:
        return measure(work, loss)

    def finish(folder: Path, tokenizer: Tokenizer) -> None:
        made = {"method": {"name": "reward", **asdict(settings)}, "init": work.config.init,
                "data": work.config.data, "blocks": ".."}  # fmt: skip
        with plain(work.model):
            save_reward_folder(folder / FOLDER, judge, tokenizer, made)

    return Method(loss, work.feed.at, assess, head=judge.score, finish=finish)


@torch.no_grad()
def measure(work: Workshop, loss: RewardLoss) -> dict[str, float]:
    """On held-out pairs: the mean loss without margins, smoothing and centering, the accuracy, and
    the probes of `reward.py`; a share of no pairs at all is left out."""
    rewards, lengths = [], []
    work.model.eval()
    for batch in work.feed.held_out:
        for part in batch.to(work.place.device).split(2 * (work.config.micro_batch_size or 8)):
            with work.place.autocast():
                rewards.append(loss.rewards(part.ids_BT, part.labels_BT))
            lengths.append((part.labels_BT != IGNORE).sum(1))
    work.model.train()
    reward_B, tokens_B = torch.cat(rewards), torch.cat(lengths)
    chosen_B, rejected_B = reward_B[::2], reward_B[1::2]
    ahead_B = chosen_B - rejected_B
    bias = length_bias(chosen_B, rejected_B, tokens_B[::2], tokens_B[1::2])
    right_B = (ahead_B > 0).float() + 0.5 * (ahead_B == 0).float()
    found = {
        "loss": float(reward_loss(chosen_B, rejected_B).mean()),
        "accuracy": float(right_B.mean()),
        "margin": float(ahead_B.mean()),
        "calibration_error": calibration(torch.sigmoid(ahead_B)).error,
        "reward": float(reward_B.mean()),
    }
    shares = {
        "length_explains": bias.explained,
        "longer_wins": bias.longer_wins,
        "longer_chosen": bias.longer_chosen,
        "right_if_longer": bias.right_if_longer,
        "right_if_shorter": bias.right_if_shorter,
    }
    return found | {name: share for name, share in shares.items() if not math.isnan(share)}


def judged_feed(source: Source, config: TrainConfig, tokenizer: Tokenizer) -> Feed:
    """Batches of `batch_size` pairs. A pair that does not fit loses the beginning of its prompt."""
    many, length = config.batch_size, config.context_length
    held = [judged_rows(source.held_out[i : i + many], tokenizer, length)
            for i in range(0, len(source.held_out), many)]  # fmt: skip
    return Feed(
        lambda step: judged_rows(list(source.rows(step * many, many)), tokenizer, length)[0],
        tuple(batch for batch, _ in held), np.empty(0, np.int64), (), source.about, source.line,
        f"Held out: {len(source.held_out):,} pairs, of which {sum(cut for _, cut in held):,} lose "
        f"the beginning of their prompt to fit {length} tokens; training pairs likewise.",
    )  # fmt: skip


def judged_rows(rows: Sequence[Row], tokenizer: Tokenizer, length: int) -> tuple[Tokens, int]:
    """Pairs as whole texts, two rows each, and how many lost the beginning of their prompt.

    Nothing is predicted, so labels are not those of the next token: each token of an answer has its
    own id as its label, and the last of them is where the reward is read.
    """
    found = [verdict(row, tokenizer, length) for row in rows]
    texts = [(one.prompt, answer) for one in found for answer in one.answers]
    ids_BT, lengths_B = padded([[*prompt, *answer] for prompt, answer in texts], tokenizer.pad_id)
    begin_B1 = torch.tensor([len(prompt) for prompt, _ in texts])[:, None]
    place_T = torch.arange(ids_BT.shape[1])
    said_BT = (place_T >= begin_B1) & (place_T < lengths_B[:, None])
    margin_B = torch.tensor([margin(row) for row in rows]).repeat_interleave(2)
    tokens = Tokens(ids_BT, ids_BT.masked_fill(~said_BT, IGNORE), more={"margin_B": margin_B},
                    together=2, units=len(rows))  # fmt: skip
    return tokens, sum(one.cut > 0 for one in found)


def margin(row: Row) -> float:
    """By how much the chosen answer is better, where the row says so; else 0.

    MinimindError for what is no number of at least 0: with a margin below 0 the rejected answer
    would be the better one.
    """
    value = row.get("margin", 0.0)
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not (good and 0 <= value < math.inf):
        raise MinimindError(f"a pair has the margin {value!r}; give a number, 0 or more.")
    return float(value)
