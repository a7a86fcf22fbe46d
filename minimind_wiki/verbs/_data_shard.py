"""`minimind data shard`: rows and texts to token shards. `data.py` hooks it in.

`configure(actions.add_parser("shard", help=HELP))` and `run(args)` are all that it takes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from minimind_wiki.data.sft_rows import POLICIES, SftReport
from minimind_wiki.data.tokenize import REJECTED, tokenize_files
from minimind_wiki.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer

HELP = "tokenize rows or texts into shards, for loading without a copy"
EXAMPLE = "minimind data shard rows.jsonl --tokenizer runs/bpe --out runs/shards --workers 2"


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags of `data shard`."""
    parser.add_argument("files", type=Path, nargs="+", help=".jsonl or .txt, also .gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards; the same "
                        "call again goes on where it was stopped")  # fmt: skip
    parser.add_argument("--tokenizer", required=True, help="a tokenizer's folder, or 'bytes'")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes "
                        "(default: as many as cores); the bytes are the same for any")  # fmt: skip
    parser.add_argument("--shard-tokens", type=int, default=50_000_000, help="(default 50 million)")
    parser.add_argument("--max-tokens", type=int, help="longest chat (default: no limit)")
    parser.add_argument("--long", default=POLICIES[0], help=f"what happens to longer chats: "
                        f"{', '.join(POLICIES)} (default {POLICIES[0]})")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row")


def run(args: argparse.Namespace) -> int:
    """Tokenize; 1 when rows were set aside."""
    tokenizer: Tokenizer = (
        ByteTokenizer() if args.tokenizer == "bytes" else load_tokenizer(args.tokenizer)
    )
    bar = _Bar()
    try:
        state = tokenize_files(
            args.files, args.out, tokenizer, args.shard_tokens, args.workers, args.max_tokens,
            args.long, args.strict, bar.advance,
        )  # fmt: skip
    finally:
        bar.stop()
    print(f"{args.out}: {state.tokens:,} tokens of {state.documents:,} documents in "
          f"{len(state.shards):,} shards.")  # fmt: skip
    chats = SftReport(**state.chats)
    if chats.rows:
        print(chats.line().replace(", 0 were rejected", ""))
    if state.rejected:
        print(f"{state.rejected:,} rows were set aside, with their reasons, in "
              f"{args.out / REJECTED}.")  # fmt: skip
    return 1 if state.rejected else 0


class _Bar:
    """Progress on standard error, where that is a terminal."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.calls = 0

    def advance(self, done: int, total: int | None, tokens: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        self.calls += 1
        if self.bar is None:
            console = Console(stderr=True)
            self.bar = RichProgress(
                console=console, transient=True, disable=not console.is_terminal
            )
            self.task = self.bar.add_task("tokenizing", total=total)
            self.bar.start()
        if self.calls % 100 == 0:
            self.bar.update(self.task, completed=done, description=f"{tokens:,} tokens")

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
