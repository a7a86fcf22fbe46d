"""`minimind tokenizer`: learn a vocabulary from text, and compare vocabularies."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

from minimind_wiki.cli import help_texts
from minimind_wiki.data import Corpus, load_corpus
from minimind_wiki.data.world.rows import KINDS as ROWS
from minimind_wiki.data.world.rows import make_rows
from minimind_wiki.errors import MinimindError, WrongCall, unknown
from minimind_wiki.tokenizer.compare import Compared, compare, digits_table, table
from minimind_wiki.tokenizer.layout import LAYOUTS
from minimind_wiki.tokenizer.library import (
    KINDS,
    LibraryTokenizer,
    chunks,
    save_library,
    train_library,
)
from minimind_wiki.tokenizer.published import open_published
from minimind_wiki.tokenizer.samples import SAMPLES

HELP = "Learn a vocabulary from text, or compare vocabularies."
EXAMPLE = "minimind tokenizer train --data embedded --vocab-size 512 --out runs/tokenizer"
WORLD_ROWS = 5000
COMPARE = "minimind tokenizer compare --learn embedded --vocab-size 1000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="train | compare")
    about = "learn a vocabulary and write tokenizer.json"
    train = actions.add_parser("train", help=about, **help_texts(f"{about}.", EXAMPLE))
    train.add_argument(
        "--data",
        help="a name of 'minimind data list', a file (.txt, .jsonl, .gz), world or world/KIND",
    )
    train.add_argument("--rows", type=int, metavar="N",
                       help=f"rows of the world to make (default: {WORLD_ROWS:,})")  # fmt: skip
    train.add_argument("--seed", type=int, help="of the world's rows (default: 0)")
    train.add_argument("--vocab-size", type=int, default=6400, metavar="N",
                       help="entries, with reserved tokens and bytes (default: 6400)")  # fmt: skip
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    train.add_argument("--layout", default="minimind",
                       help="reserved tokens: minimind (36, with tools and <think>) or chatml (3); "
                       "default: minimind")  # fmt: skip
    train.add_argument("--kind", default="bpe",
                       help=f"one of {', '.join(KINDS)} (default: bpe)")  # fmt: skip
    train.add_argument("--plain", action="store_true",
                       help="learn with this package's own Python instead of the library; "
                       "same result")  # fmt: skip
    about = "bytes per token, tokens per word, embedding share"
    match = actions.add_parser("compare", help=about, **help_texts(f"{about}.", COMPARE))
    match.add_argument("folders", type=Path, nargs="*", metavar="DIR",
                       help="a folder with a tokenizer.json, or such a file")  # fmt: skip
    match.add_argument("--with", dest="published", action="append", default=[],
                       metavar="PATH[=NAME]",
                       help="a published tokenizer: tokenizer.json, tiktoken's ranks or a "
                       "SentencePiece .model; may be given several times")  # fmt: skip
    match.add_argument("--learn", metavar="F",
                       help="learn one of each kind from this text, as in train, and compare "
                       "these too")  # fmt: skip
    match.add_argument("--vocab-size", type=int, default=6400, metavar="N",
                       help="entries of what --learn learns (default: 6400)")  # fmt: skip
    match.add_argument("--data", action="append", metavar="F",
                       help="text to compare on, as in train; may be given several times. Take "
                       "text that none was learned from (default: four samples)")  # fmt: skip
    match.add_argument("--preset", default="26m",
                       help="the model whose embedding share is shown (default: 26m)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Dispatch."""
    return _train(args) if args.action == "train" else _compare(args)


def _train(args: argparse.Namespace) -> int:
    if args.layout not in LAYOUTS:
        raise unknown("layout", args.layout, LAYOUTS)
    if args.kind not in KINDS:
        raise unknown("kind of tokenizer", args.kind, KINDS)
    if args.plain and args.kind != "bpe":
        raise WrongCall(f"--plain learns bpe only, not {args.kind}. Leave --plain out.")
    if (args.out / "tokenizer.json").exists():
        raise MinimindError(
            f"{args.out} has a tokenizer.json already, and models may have been trained with it. "
            "Give another --out, or delete it."
        )
    if args.out.exists() and not args.out.is_dir():  # told before the work
        raise WrongCall(f"{args.out} is a file. Name a new folder with --out.")
    reserved = LAYOUTS[args.layout]
    corpus = _corpus(args)
    print(corpus.describe())
    started = time.perf_counter()
    _learn(args, reserved, corpus)
    seconds = time.perf_counter() - started
    learned = LibraryTokenizer.load(args.out)
    if learned.vocab_size < args.vocab_size:
        print(f"The text gave {learned.vocab_size:,} of {args.vocab_size:,} entries; "
              "more would need more text.")  # fmt: skip
    text = corpus.documents[0][:100_000]
    per_token = len(text.encode()) / max(1, len(learned.encode(text)))
    print(f"Learned {learned.vocab_size:,} entries, {len(reserved)} of them reserved, in "
          f"{seconds:.1f} s; {per_token:.2f} bytes per token at its text's start.")  # fmt: skip
    print(f"Tokenizer: {args.out}. Try: minimind tokenizer compare {args.out}")
    return 0


def _corpus(args: argparse.Namespace) -> Corpus:
    place, _, kind = (args.data or "").partition("/")
    if place == "world" and not Path(args.data).exists():
        rows = WORLD_ROWS if args.rows is None else args.rows
        return world_corpus(rows, args.seed or 0, kind)
    if args.rows is not None or args.seed is not None:
        raise WrongCall("--rows and --seed are for --data world. Leave them out.")
    return load_corpus(args.data, _bar("fetching"))


def world_corpus(rows: int, seed: int = 0, kind: str = "") -> Corpus:
    """So many rows of a kind; without `kind` stories and lessons, in the mix of training.

    A conversation is its turns, without the roles. WrongCall for an unknown kind and for no rows.
    """
    from minimind_wiki.train.feeds import WORLD_MIX  # imports torch

    if kind and kind not in ROWS:
        raise unknown("kind of row", kind, ROWS)
    if rows < 1:
        raise WrongCall(f"--rows {rows} leaves nothing to read; give at least 1.")
    shares = {kind: 1.0} if kind else WORLD_MIX
    ends = [round(rows * end / sum(shares.values())) for end in accumulate(shares.values())]
    documents = tuple(
        _text(row)
        for name, begin, end in zip(shares, [0, *ends], ends, strict=False)
        if end > begin
        for row in make_rows(name, end - begin, seed)
    )
    name = f"the little world ({', '.join(shares)})"
    return Corpus(name, documents, "--data asks for it", "world")


def _text(row: dict[str, Any]) -> str:
    if "text" in row:
        return str(row["text"])
    turns = (
        row["conversations"] if "conversations" in row else [*row["chosen"], row["rejected"][-1]]
    )
    return "\n".join(turn["content"] for turn in turns)


def _learn(args: argparse.Namespace, reserved: dict[str, bool], corpus: Corpus) -> None:
    reading = _bar("reading")
    if args.plain:
        from minimind_wiki.tokenizer.bpe import first_entries
        from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
        from minimind_wiki.tokenizer.pretokenize import count_pieces

        first_entries(tuple(reserved), args.vocab_size)  # too small is told before the work
        pieces = count_pieces(chunks(corpus.documents, reading))
        vocabulary, merges = train_fast(
            pieces, args.vocab_size, tuple(reserved), _bar("merging", from_zero=False)
        )
        FastBPETokenizer(vocabulary, merges, reserved).save(args.out)
    else:
        texts = chunks(corpus.documents, reading)
        learned = train_library(texts, args.vocab_size, reserved, args.kind)
        save_library(learned, args.out, reserved, args.kind)


def _compare(args: argparse.Namespace) -> int:
    tokenizers: dict[str, Compared] = {str(f): LibraryTokenizer.load(f) for f in args.folders}
    for spec in args.published:
        path, _, name = spec.rpartition("=") if "=" in spec else (spec, "", "")
        tokenizers[name or path] = open_published(path)
    if args.learn:
        learning = load_corpus(args.learn, _bar("fetching"))
        print(learning.describe())
        for kind in KINDS:
            learned = train_library(chunks(learning.documents), args.vocab_size, kind=kind)
            tokenizers[f"learned {kind}"] = LibraryTokenizer(learned.to_str(), kind)
    if not tokenizers:
        raise WrongCall(
            "there is nothing to compare. Give a folder with a tokenizer.json, --with a published "
            "tokenizer, or --learn embedded."
        )
    texts = dict(SAMPLES)
    if args.data:
        corpora = [load_corpus(spec, _bar("fetching")) for spec in args.data]
        texts = {corpus.name: "\n".join(corpus.documents) for corpus in corpora}
    hidden, body, tied = _shape(args.preset)
    print(table(compare(tokenizers, texts, hidden, body, tied)))
    print(f"embedding: share of the parameters in the model '{args.preset}' with this vocabulary.")
    print(digits_table(tokenizers))
    return 0


def _shape(name: str) -> tuple[int, int, bool]:
    """Hidden size, parameters that do not depend on the vocabulary, and whether tables are tied."""
    import torch

    from minimind_wiki.model import Transformer, preset

    config = preset(name)
    with torch.device("meta"):  # shapes without memory
        model = Transformer(config)
    tied = bool(config.tie_word_embeddings)
    tables = config.vocab_size * config.hidden_size * (1 if tied else 2)
    return config.hidden_size, sum(p.numel() for p in model.parameters()) - tables, tied


def _bar(title: str, from_zero: bool = True) -> Callable[[int, int], None]:
    """A function (done, total) that draws a bar on standard error, from its first call on."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar: dict[str, Any] = {}

    def advance(done: int, total: int) -> None:
        if not console.is_terminal:
            return
        if not bar:
            bar["progress"] = Progress(console=console, transient=True)
            start = 0 if from_zero else done
            bar["task"] = bar["progress"].add_task(title, total=total - start)
            bar["start"] = start
            bar["progress"].start()
        bar["progress"].update(bar["task"], completed=done - bar["start"])
        if done >= total:
            bar["progress"].stop()

    return advance
