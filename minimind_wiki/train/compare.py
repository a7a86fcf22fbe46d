"""Two models side by side: whose answers a rubric prefers, and how far one has moved.

Preference methods promise better answers, and every method that follows a reward pays for it
elsewhere. So a score of post-training is told together with its price: the length of the answers
and the distance to the model that the method began with (Gao et al. 2022, arXiv:2210.10760, plot
reward over KL for this reason).
Shapes: B chats, T tokens, N tokens that an assistant said, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minimind_wiki.data.packing import IGNORE
from minimind_wiki.data.world.questions import NOT_SAID, Question
from minimind_wiki.data.world.row_checks import rubric
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError
from minimind_wiki.evaluate.intervals import Mean, mean_interval
from minimind_wiki.evaluate.world_exam import Score
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import from_row, render
from minimind_wiki.train.answers import padded
from minimind_wiki.train.distill import kl
from minimind_wiki.train.examine import Examined, answers
from minimind_wiki.train.feedback import question_in, rubric_judge
from minimind_wiki.train.reasoning import Reply
from minimind_wiki.train.sources import Row

# ---- the rubric of preferences


def preference_prompts(
    items: int, split: str = "test", seed: int = 0
) -> tuple[list[Row], list[Question]]:
    """Prompts of preference rows, and the question of each with its truth."""
    pairs = list(make_rows("preference", items, seed, split))
    rows = [{"conversations": pair["chosen"][:1]} for pair in pairs]
    asked = [question_in(row["conversations"][0]["content"], f"{seed}.{number}", split)
             for number, row in enumerate(rows)]  # fmt: skip
    return rows, asked


def rubric_score(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    asked: Sequence[Question],
    **how: Any,
) -> Examined:
    """Share of the answers that are true, complete, brief and polite; see `rubric_points`.

    Chance is that of refusing always, which is the best answer without reading.
    """
    replies = answers(model, tokenizer, rows, **how)
    marks = [all(met.values()) for met in rubric_points(replies, asked)]
    chance = sum(all(rubric(NOT_SAID, question).values()) for question in asked) / len(asked)
    return Examined(Score("rubric", sum(marks), len(marks), chance), marks, replies)


def rubric_points(replies: Sequence[Reply], asked: Sequence[Question]) -> list[dict[str, bool]]:
    """Which points of the rubric each reply meets. A turn that was cut off is not complete.

    >>> question = Question("job", "What is Mila's job?", "Mila is a baker.", "baker", 1, 1)
    >>> rubric_points([Reply("", "Mila is a baker."), Reply("", "baker")], [question] * 2)[1]
    {'true': True, 'complete': False, 'brief': True, 'polite': True}
    """
    points = []
    for reply, question in zip(replies, asked, strict=True):
        met = rubric(reply.answer, question)
        cut = "the turn has no end" in reply.faults
        points.append(met | {"complete": met["complete"] and not cut})
    return points


def win_rate(
    mine: Sequence[Reply], theirs: Sequence[Reply], asked: Sequence[Question]
) -> tuple[Mean, float]:
    """How often the rubric's judge prefers the first model's reply, a tie counting one half.

    With a bootstrap interval over the prompts, and the share of ties: two models that both answer
    well tie nearly always, and then 50 % says little. Chance is one half.
    """
    wins = [rubric_judge(question)(question.text, reply.answer, other.answer)
            for reply, other, question in zip(mine, theirs, asked, strict=True)]  # fmt: skip
    return mean_interval([wins]), sum(win == 0.5 for win in wins) / len(wins)


# ---- what it costs


@torch.inference_mode()
def kl_to(
    base: Transformer,
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    rows_at_once: int = 4,
) -> list[float]:
    """KL(model ‖ base) of each chat: the mean over its assistant's tokens, in nats.

    Exact over the vocabulary, at held-out chats that neither model wrote: how far a method has
    moved the model that it began with. MinimindError for a chat that does not fit both contexts,
    or in which no assistant speaks.
    """
    model.eval()
    base.eval()
    found: list[float] = []
    limit = min(m.config.max_position_embeddings for m in (model, base))
    chats = [_rendered(row, tokenizer) for row in rows]
    for number, (ids, labels) in enumerate(chats):
        if len(ids) > limit or all(label == IGNORE for label in labels):
            raise MinimindError(
                f"chat {number} has {len(ids)} tokens, {limit} fit, and an assistant must speak in "
                "it; leave it out."
            )
    for at in range(0, len(chats), rows_at_once):
        ids_BT, _ = padded([ids for ids, _ in chats[at : at + rows_at_once]], tokenizer.pad_id)
        labels_BT, _ = padded([labels for _, labels in chats[at : at + rows_at_once]], IGNORE)
        device = model.lm_head.weight.device
        ids_BT, said_BT = ids_BT.to(device)[:, :-1], (labels_BT != IGNORE)[:, 1:].to(device)
        logp_NV, base_NV = (_logp(one, ids_BT, said_BT) for one in (model, base))
        nats_BT = torch.zeros(said_BT.shape, device=device)
        nats_BT[said_BT] = kl(logp_NV, base_NV)
        found += (nats_BT.sum(1) / said_BT.sum(1)).tolist()
    return found


def _logp(model: Transformer, ids_BT: Tensor, said_BT: Tensor) -> Tensor:
    """Log-probabilities after the marked places, (N, V) float32."""
    hidden_BTD = model.model(ids_BT)
    return model.lm_head(hidden_BTD[said_BT]).float().log_softmax(-1)


def _rendered(row: Row, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    messages, tools = from_row(row["conversations"])
    chat = render(messages, tokenizer, tools)
    return chat.ids, chat.labels
