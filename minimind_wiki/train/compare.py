"""Two models side by side: whose answers a rubric prefers, and how far one has moved.

Preference methods promise better answers, and every method that follows a reward pays for it
elsewhere. So a score of post-training is told together with its price: the length of the answers
and the distance to the model that the method began with (Gao et al. 2022, arXiv:2210.10760, plot
reward over KL for this reason).
Shapes: B chats, T tokens, N tokens that an assistant said, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from minimind_wiki.tokenizer.protocol import text_ids
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
    """KL(model ‖ base) of each row: the mean over its learned tokens, in nats.

    Exact over the vocabulary, at held-out rows that neither model wrote. Rows are chats, of which
    the assistant's turns count, or texts, of which all does: there it tells of what is forgotten.
    A row that is too long for either model loses its beginning. MinimindError where nothing counts.
    """
    found: list[float] = []
    limit = min(m.config.max_position_embeddings for m in (model, base))
    for ids_BT, labels_BT in _batches(tokenizer, rows, limit, rows_at_once):
        logp_NV, base_NV = (_logp(one, ids_BT, labels_BT) for one in (model, base))
        found += _row_means(kl(logp_NV, base_NV), labels_BT)
    return found


@torch.inference_mode()
def loss_on(
    model: Transformer, tokenizer: Tokenizer, rows: Sequence[Row], rows_at_once: int = 4
) -> list[float]:
    """The mean cross-entropy of each row's learned tokens, in nats; rows as in `kl_to`."""
    found: list[float] = []
    limit = model.config.max_position_embeddings
    for ids_BT, labels_BT in _batches(tokenizer, rows, limit, rows_at_once):
        logp_NV = _logp(model, ids_BT, labels_BT)
        label_N1 = labels_BT[labels_BT != IGNORE][:, None].to(logp_NV.device)
        found += _row_means(-logp_NV.gather(1, label_N1)[:, 0], labels_BT)
    return found


def _batches(
    tokenizer: Tokenizer, rows: Sequence[Row], limit: int, rows_at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and the labels after them, (B, T) each, of rows as the models learn them."""
    known = []
    for number, row in enumerate(rows):
        if "text" in row:
            ids = text_ids(tokenizer, row["text"])
            labels = [IGNORE, *ids[1:]]
        else:
            messages, tools = from_row(row["conversations"])
            chat = render(messages, tokenizer, tools)
            ids, labels = chat.ids, chat.labels
        # the first token stands after nothing that could tell of it
        known.append((ids[-limit - 1 :], [IGNORE, *labels[-limit - 1 :][1:]]))
        if all(label == IGNORE for label in known[-1][1]):
            raise MinimindError(
                f"row {number} has nothing that an assistant said in its last {limit:,} tokens; "
                "leave it out."
            )
    for at in range(0, len(known), rows_at_once):
        ids_BT, _ = padded([ids for ids, _ in known[at : at + rows_at_once]], tokenizer.pad_id)
        labels_BT, _ = padded([labels for _, labels in known[at : at + rows_at_once]], IGNORE)
        yield ids_BT[:, :-1], labels_BT[:, 1:]


def _logp(model: Transformer, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """Log-probabilities at the places that have a label, (N, V) float32."""
    device = model.lm_head.weight.device
    model.eval()
    hidden_BTD = model.model(ids_BT.to(device))
    return model.lm_head(hidden_BTD[(labels_BT != IGNORE).to(device)]).float().log_softmax(-1)


def _row_means(nats_N: Tensor, labels_BT: Tensor) -> list[float]:
    counts = (labels_BT != IGNORE).sum(1).tolist()
    return [float(part.mean()) for part in nats_N.split(counts)]
