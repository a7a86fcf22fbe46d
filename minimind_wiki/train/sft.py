"""Supervised fine-tuning (SFT): a model that continues text learns to answer.

The loss is pretraining's, on the tokens that an assistant said and the one that ends its turn:
what users, tools and the template say is read and not learned (Ouyang et al. 2022,
arXiv:2203.02155). Which tokens those are is known from rendering the chat, not searched for in its
ids. A step takes the next `batch_size` chats, packed into as few rows as hold them; attention does
not cross from one chat to the next, and every learned token weighs the same.

Which chats come first may follow a curriculum: short ones before long ones, as length is a simple
measure of difficulty (Bengio et al. 2009; Platanios et al. 2019, arXiv:1903.09848, for sentences).
The chats are the same, so that a run in mixed order is its fair comparison.

    minimind sft --model runs/world --data world/sft --out runs/sft
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from minimind_wiki.data.packing import IGNORE, fill, pack
from minimind_wiki.data.sft_rows import Example, SftReport, check_policy, examples
from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.infer.rollout import rollout
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import control_ids, from_row, render
from minimind_wiki.train.batches import Tokens, from_packed
from minimind_wiki.train.begin import open_tokenizer
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.feeds import Feed
from minimind_wiki.train.losses import LossModel
from minimind_wiki.train.measure import held_out_loss
from minimind_wiki.train.method import Method, Tuning, Workshop
from minimind_wiki.train.parallel import processes
from minimind_wiki.train.pretrain import Outcome, pretrain
from minimind_wiki.train.reasoning import read_ids
from minimind_wiki.train.report import Report
from minimind_wiki.train.sources import Row, Source, open_source

ANSWERED = ("tools", "retrieval", "medical_questions", "code_questions")
"""Kinds of rows that are made for reinforcement learning and hold a right answer all the same."""
ORDERS = ("mixed", "short_first")
BANDS = 8  # of length, in a curriculum


@dataclass(frozen=True, slots=True)
class SftSettings:
    """What fine-tuning needs beside the settings of every run."""

    long_chats: str = "drop"
    """What happens to chats longer than a row: drop (their oldest exchanges), cut or reject."""
    order: str = "mixed"
    """mixed, or short_first: the chats of the first `order_steps` steps in bands of length."""
    order_steps: int = 0
    """How many steps a curriculum takes, before the order is mixed again (0: all of the run)."""
    gold_items: int = 32
    """Held-out chats whose last turn the model says itself at each measurement (0: none)."""
    gold_tokens: int = 64
    """Longest of these answers, in tokens; chats with longer ones are not asked."""

    def validate(self, context_length: int) -> None:
        """WrongCall for a value that cannot work."""
        check_policy(self.long_chats, context_length)
        if self.order not in ORDERS:
            raise unknown("order", self.order, ORDERS)
        if self.order_steps < 0 or (self.order_steps and self.order == "mixed"):
            raise WrongCall(
                f"order_steps is {self.order_steps}; give 0 or more, and more only with --order "
                "short_first."
            )
        if self.gold_items < 0 or self.gold_tokens < 1:
            raise WrongCall(
                f"gold_items is {self.gold_items} and gold_tokens {self.gold_tokens}; give 0 or "
                "more, and 1 or more."
            )


def sft(
    config: TrainConfig,
    settings: SftSettings | None = None,
    out: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Outcome:
    """Fine-tune the model folder `config.init` on the chats that `config.data` names."""
    settings = settings or SftSettings()
    settings.validate(config.context_length)
    tokenizer = open_tokenizer(config.init)
    schema = "agent" if config.data in [f"world/{kind}" for kind in ANSWERED] else "sft"
    source = open_source(config.data, schema, config.seed, config.held_out, config.eval_windows)
    feed = chat_feed(source, config, settings, tokenizer)
    return pretrain(config, {}, out, resume, report, feed=feed,
                    tuning=Tuning("sft", settings, partial(method, source)))  # fmt: skip


def method(source: Source, work: Workshop, settings: SftSettings) -> Method:
    """The language model's own loss; the feed's labels decide what is learned."""
    config = work.config
    asked = questions(source.held_out, work, settings)
    loss = LossModel(work.model, work.chunk, config.z_loss, config.label_smoothing)

    def assess() -> dict[str, float]:
        found = held_out_loss(work.model, work.feed.held_out, work.place, work.tokenizer,
                              work.chunk, rows=config.micro_batch_size)  # fmt: skip
        right = {"exact_answers": exact_answers(asked, work, settings)} if asked else {}
        return dict(zip(("loss", "bits_per_byte"), found, strict=True)) | right

    return Method(loss, work.feed.at, assess)


@dataclass(frozen=True, slots=True)
class Question:
    """The ids up to where the assistant's last turn begins, and what it says there."""

    prompt: list[int]
    gold: str


def questions(rows: Sequence[Row], work: Workshop, settings: SftSettings) -> list[Question]:
    """The first `gold_items` chats whose last turn is a text that can be asked for."""
    found: list[Question] = []
    room = work.config.context_length - settings.gold_tokens
    for row in rows:
        if "text" in row:
            continue
        messages, tools = from_row(row["conversations"])
        last = messages[-1]
        if last.get("role") != "assistant" or not last.get("content") or last.get("tool_calls"):
            continue
        ids = render(messages[:-1], work.tokenizer, tools, add_generation_prompt=True).ids
        short = len(work.tokenizer.encode(last["content"])) < settings.gold_tokens
        if short and len(ids) <= room and len(found) < settings.gold_items:
            found.append(Question(ids, last["content"].strip()))
    return found


def exact_answers(asked: Sequence[Question], work: Workshop, settings: SftSettings) -> float:
    """Share of the questions to which the greedy answer is the gold one, letter by letter."""
    end = control_ids(work.tokenizer)["<|im_end|>"]
    with work.place.autocast():
        drawn = rollout(work.model, [q.prompt for q in asked], 1, settings.gold_tokens, 0.0,
                        stop_ids=(end,))  # fmt: skip
    said = (read_ids(drawn.sampled(i)[0], work.tokenizer).answer for i in range(len(asked)))
    return sum(a.strip() == q.gold for a, q in zip(said, asked, strict=True)) / len(asked)


def chat_feed(
    source: Source, config: TrainConfig, settings: SftSettings, tokenizer: Tokenizer
) -> Feed:
    """Rows of chats. MinimindError where none of a step's chats, or of the held-out ones, fits."""
    length, many = config.context_length, config.batch_size
    how = (tokenizer, length, settings.long_chats)

    @cache
    def ordered() -> list[int]:
        """Numbers of the rows that a curriculum takes; it reads them all, when the run begins."""
        steps = min(settings.order_steps or config.steps, config.steps)
        return short_first(source.rows(0, steps * many)) if settings.order != "mixed" else []

    def at(step: int) -> Tokens:
        report = SftReport()
        numbers = ordered()[step * many : (step + 1) * many]
        rows = map(source.row, numbers or range(step * many, (step + 1) * many))
        chats = list(examples(rows, *how, report))
        if not chats:
            raise MinimindError(
                f"none of the {many} chats of step {step + 1:,} fits {length} tokens; give a "
                "longer --context-length, or --long-chats drop."
            )
        return packed(chats, length, tokenizer.pad_id)

    report = SftReport()
    held = list(examples(source.held_out, *how, report))
    if not held:
        raise MinimindError(f"no held-out chat fits {length} tokens. {report.line()}")
    parts = tuple(packed(held[i : i + many], length, tokenizer.pad_id)
                  for i in range(0, len(held), many))  # fmt: skip
    mark = f"{source.about['sha256']} {settings.long_chats} {length}"
    about = source.about | {"sha256": hashlib.sha256(mark.encode()).hexdigest()}
    return Feed(at, parts, np.empty(0, np.int64), (), about, source.line,
                f"Held out: {report.line()}")  # fmt: skip


def short_first(rows: Iterable[Row], bands: int = BANDS) -> list[int]:
    """Numbers of the rows in an order of growing length: `bands` bands of (nearly) equally many,
    the shortest first, and within a band as they came, so that a batch is not of one length alone.

    Length is counted in characters of what is said, which needs no tokenizer.

    >>> said = [{"conversations": [{"content": "x" * length}]} for length in (9, 1, 8, 2)]
    >>> short_first(said, bands=2), short_first(said, bands=4)
    ([1, 3, 0, 2], [1, 3, 2, 0])
    """
    lengths = [len(row["text"]) if "text" in row else
               sum(len(message.get("content") or "") for message in row["conversations"])
               for row in rows]  # fmt: skip
    rank = np.argsort(np.argsort(lengths, kind="stable"), kind="stable")
    order: list[int] = np.argsort(rank * bands // max(1, len(lengths)), kind="stable").tolist()
    return order


def packed(chats: Sequence[Example], length: int, pad_id: int) -> Tokens:
    """All rows that the chats fill. Only what assistants said has a label.

    Several processes share the rows out evenly, so empty ones may follow.
    """
    packing = pack(np.cumsum([0, *(len(chat.ids) for chat in chats)]), length)
    ids = np.concatenate([chat.ids for chat in chats])
    flags = np.concatenate([chat.flags for chat in chats])
    tokens = from_packed(fill(packing, np.arange(packing.rows), ids, flags, pad_id))
    return padded_to(tokens, -(-packing.rows // processes()) * processes(), pad_id)


def padded_to(tokens: Tokens, rows: int, pad_id: int) -> Tokens:
    """The same with empty rows up to `rows`: nothing in them is predicted."""
    missing = rows - len(tokens.ids_BT)

    def longer(rows_BT: Tensor, value: int) -> Tensor:
        return F.pad(rows_BT, (0, 0, 0, missing), value=value)

    documents = tokens.documents_BT
    return Tokens(longer(tokens.ids_BT, pad_id), longer(tokens.labels_BT, IGNORE),
                  None if documents is None else longer(documents, 0))  # fmt: skip
