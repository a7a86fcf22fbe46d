"""How fast the little world is made and the exam is sat: `python bench/world.py [--rows N]`.

Megabytes a minute of documents; rows and kilobytes a second of each kind of row; seconds for each
section of the exam: for making its items, for a judge that throws a coin (which only the items
cost), and for a model of the preset `nano`. The model is untrained, as its weights do not change
what it costs; its vocabulary is learned from the world. Each figure is the best of several tries on
one thread, as other work on the machine only ever slows it; what travels between machines are the
ratios, which are printed beside them: to the documents, and of the model to the coin.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from minimind_wiki.data.world import make_document
from minimind_wiki.data.world.rows import KINDS, make_rows
from minimind_wiki.evaluate.likelihood import log_likelihood
from minimind_wiki.evaluate.world_exam import SECTIONS, by_likelihood, exam, exam_items
from minimind_wiki.model import Transformer, preset
from minimind_wiki.tokenizer.library import LibraryTokenizer, train_library

TRIES = 3


def best(work: Callable[[int], Any], tries: int = TRIES) -> tuple[float, Any]:
    """Least wall seconds of `work(try)`, and what that try returned."""
    found = []
    for attempt in range(tries):
        start = time.perf_counter()
        result = work(attempt)
        found.append((time.perf_counter() - start, result))
    return min(found, key=lambda pair: pair[0])


def documents(rows: int) -> float:
    """Print and return the megabytes a minute; each try makes other documents."""
    took, size = best(
        lambda t: sum(len(make_document(f"{t}.{n}").text.encode()) for n in range(rows))
    )
    speed = size / took * 60 / 1e6
    print(f"documents: {speed:.1f} MB/min, {rows / took:,.0f} a second\n")
    return speed


def rows_of_each_kind(rows: int, documents_speed: float) -> None:
    """Print rows and kB a second of each kind, as JSON, and the MB/min as a share of documents'."""
    print("kind                rows/s     kB/s   MB/min : documents'")
    for kind in KINDS:
        took, size = best(
            lambda t, kind=kind: sum(
                len(json.dumps(row, ensure_ascii=False).encode())
                for row in make_rows(kind, rows, t)
            )
        )
        share = size / took * 60 / 1e6 / documents_speed
        print(f"{kind:18s} {rows / took:7,.0f} {size / took / 1e3:8,.0f} {share:12.2f}")


def sections(items: int) -> None:
    """Print what each section of the exam costs."""
    texts = [row["text"] for row in make_rows("pretrain", 1000)]
    tokenizer = LibraryTokenizer(train_library(texts, 2000).to_str())
    torch.manual_seed(0)
    model = Transformer(preset("nano", vocab_size=tokenizer.vocab_size))
    rng = random.Random(0)
    coin = partial(by_likelihood, lambda prompt, option: rng.random())
    nano = partial(by_likelihood, log_likelihood(model, tokenizer))
    print(f"\nexam, {items} items   items s   coin s   nano s   nano : coin")
    total = [0.0, 0.0, 0.0]
    for name in SECTIONS:
        made, _ = best(lambda t, name=name: list(exam_items(name, items)))
        by_coin, by_nano = (
            best(lambda t, name=name, judge=judge: exam(judge, items, sections=(name,)))[0]
            for judge in (coin, nano)
        )
        line = (made, by_coin, by_nano)
        total = [a + b for a, b in zip(total, line, strict=True)]
        print(f"{name:16s} {made:9.2f} {by_coin:8.2f} {by_nano:8.2f} {by_nano / by_coin:13.1f}")
    print(f"{'all':16s} {total[0]:9.2f} {total[1]:8.2f} {total[2]:8.2f} "
          f"{total[2] / total[1]:13.1f}")  # fmt: skip


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200, help="of each try (default 200)")
    parser.add_argument("--items", type=int, default=100, help="of each section (default 100)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    speed = documents(args.rows)
    rows_of_each_kind(args.rows, speed)
    sections(args.items)


if __name__ == "__main__":
    main()
