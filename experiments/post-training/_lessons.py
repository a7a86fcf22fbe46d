"""Rows that several arms learn from: the same problems, told in different forms.

`lessons` takes as many problems as the steps need, or as have as many tokens to learn as the
longest form; `taught` fine-tunes the base on them, each once. `paid` tells the price: the loss on
the world's own texts.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from minimind_wiki.book.record import repo_root
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.infer import load_model_folder
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel
from minimind_wiki.model import Transformer
from minimind_wiki.tokenizer import Tokenizer
from minimind_wiki.tokenizer.chat import from_row, render
from minimind_wiki.train.compare import loss_on
from minimind_wiki.train.config import TrainConfig
from minimind_wiki.train.pretrain import Outcome
from minimind_wiki.train.sft import SftSettings, sft

Row = dict[str, Any]
BASE = repo_root() / "models" / "world-tiny"


def learned(tokenizer: Tokenizer, rows: Sequence[Row]) -> int:
    """How many tokens of the rows have a label: what an assistant says, with the turn's end."""
    chats = [render(messages, tokenizer, tools)
             for messages, tools in (from_row(row["conversations"]) for row in rows)]  # fmt: skip
    return sum(end - start for chat in chats for start, end in chat.spans)


def taught(rows: Sequence[Row], held: Sequence[Row], batch: int, **how: Any) -> Outcome:
    """The base after one pass over the rows, `batch` in a step, with the loss on `held` ones."""
    steps = len(rows) // batch
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *held]))
        config = TrainConfig(
            init=str(BASE), data=str(file), held_out=len(held) / (len(rows) + len(held)),
            steps=steps, batch_size=batch, optimizer="muon", weight_decay=0.0,
            eval_every=max(1, steps // 4), eval_windows=len(held), sample_tokens=0, device="cpu",
            dtype="bfloat16", threads=1, **how,
        )  # fmt: skip
        return sft(config, SftSettings(gold_items=0))


def lessons(
    source: Iterator[Row],
    tell: Callable[[Row], Row],
    steps: int,
    batch: int,
    tokenizer: Tokenizer,
    as_told: bool,
) -> list[Row]:
    """Rows for the steps; with `as_told` False, more of them, until as many tokens have a label as
    in the problems as they come from the source."""
    first = list(islice(source, steps * batch))
    rows = [tell(row) for row in first]
    if not as_told:
        longer = round(steps * learned(tokenizer, first) / learned(tokenizer, rows))
        rows += [tell(row) for row in islice(source, (longer - steps) * batch)]
    return rows


def paid(model: Transformer, tokenizer: Tokenizer, texts: int) -> float:
    """Nats a token on texts of the world that are held out."""
    return mean(loss_on(model, tokenizer, list(make_rows("pretrain", texts, 0, "test"))))


def of_the_base(texts: int) -> dict[str, dict[str, Any]]:
    """The levels of an experiment: what the base loses on texts; a guess solves no sum."""
    model, tokenizer = load_model_folder(BASE, "cpu")
    return {
        "chance": {"accuracy": 0.0},
        "baseline": {"text_loss": paid(model, tokenizer, texts)},
        "data": {"name": "the little world, generated", "bytes": 0},
    }


def more(record, arm: str, other: str, metric: str = "accuracy") -> tuple[bool, str]:
    """Whether every seed of an arm has more than every seed of another, and the means."""
    mine, theirs = record.seeds(arm, metric), record.seeds(other, metric)
    form = ".1%" if metric == "accuracy" else ".2f"
    return min(mine) > max(theirs), f"{mean(mine):{form}} against {mean(theirs):{form}}"


def bars(record) -> Figure:
    """What each arm solves, the tokens that it takes and its loss on texts."""
    titles = [record.arms[arm]["title"] for arm in record.arms]
    panels = []
    for metric, axis in (("accuracy", Axis("solved", range=(0, 1))), ("tokens", Axis("tokens")),
                         ("text_loss", Axis("nats on texts"))):  # fmt: skip
        seeds = [record.seeds(arm, metric) for arm in record.arms]
        drawn = Bars(titles, map(mean, seeds), "", "model", map(min, seeds), map(max, seeds))
        marks = []
        if metric == "text_loss":
            marks = [Level(record.level("baseline", metric), "base", "baseline")]
        panels.append(Panel("", axis, bars=[drawn], levels=marks))
    return Figure(panels)
