"""How long learning and using a vocabulary takes: `python bench/tokenizer.py [FILE] [--full]`.

In one process, on one corpus (FILE, else TinyShakespeare, else the embedded one): the readable
trainer, the fast one and Hugging Face's over growing beginnings of it, then encoding. The readable
form learns 256 merges and does not go beyond 1 MB; the others learn 6,400 entries. With `--full`
up to 20 million characters, where the corpus has them. Ratios are what travels between machines,
seconds do not; the library takes as many threads as it is given (`RAYON_NUM_THREADS`).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from minimind_wiki.data import load_corpus
from minimind_wiki.tokenizer.bpe import BPETokenizer, train
from minimind_wiki.tokenizer.fast_bpe import FastBPETokenizer, train_fast
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import LibraryTokenizer, chunks, train_library
from minimind_wiki.tokenizer.pretokenize import count_pieces, pattern

RESERVED = tuple(CHATML)
SMALL = 256 + len(CHATML) + 256  # entries for the readable form: 256 merges
PATIENCE = 8  # seconds after which the readable form is not asked for more


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def merges_of(tokenizer: Any) -> list[tuple[int, int]]:
    """The library's merges as ids."""
    model = json.loads(tokenizer.to_str())["model"]
    return [(model["vocab"][a], model["vocab"][b]) for a, b in model["merges"]]


def learning(text: str, sizes: list[int]) -> None:
    """Whole training from text, the cut into pieces included; and that the merges are equal."""
    print(
        f"{'text':>8}  {'pieces':>8}  {'readable':>9}  {'fast':>7}  {'HF':>7}   256 merges, seconds"
    )
    for size in (s for s in sizes if s <= 1_000_000):
        part = text[:size]
        plain_s, plain = seconds(lambda t=part: train(count_pieces([t]), SMALL, RESERVED))
        fast_s, fast = seconds(lambda t=part: train_fast(count_pieces([t]), SMALL, RESERVED))
        hub_s, hub = seconds(lambda t=part: train_library(chunks([t]), SMALL, CHATML))
        assert plain[1] == fast[1] == merges_of(hub)
        print(f"{size / 1e6:6.2f}M   {len(count_pieces([part])):8,}  {plain_s:9.2f}  {fast_s:7.2f}"
              f"  {hub_s:7.2f}   readable/fast {plain_s / fast_s:.0f}")  # fmt: skip
        if plain_s > PATIENCE:
            print(f"{'':8}  (no larger text for the readable form: over {PATIENCE} s)")
            break
    print(f"\n{'text':>8}  {'pieces':>8}  {'cut':>7}  {'merge':>7}  {'fast':>7}  {'HF':>7}   "
          "6,400 entries")  # fmt: skip
    for size in sizes:
        part = text[:size]
        cut_s, pieces = seconds(lambda t=part: count_pieces([t]))
        merge_s, fast = seconds(lambda p=pieces: train_fast(p, 6400, RESERVED))
        hub_s, hub = seconds(lambda t=part: train_library(chunks([t]), 6400, CHATML))
        assert fast[1] == merges_of(hub)
        total = cut_s + merge_s
        print(f"{size / 1e6:6.2f}M   {len(pieces):8,}  {cut_s:7.2f}  {merge_s:7.2f}  {total:7.2f}"
              f"  {hub_s:7.2f}   fast/HF {total / hub_s:.1f}, merges equal")  # fmt: skip


def encoding(text: str) -> None:
    """One megabyte with 6,400 entries; the readable form on a tenth of it.

    The library is timed on one long text and, as it is better used, on a batch of short ones.
    """
    text = text[:1_000_000]
    vocabulary, merges = train_fast(count_pieces([text]), 6400, RESERVED)
    fast = FastBPETokenizer(vocabulary, merges, CHATML)
    plain = BPETokenizer(vocabulary, merges, CHATML)
    with tempfile.TemporaryDirectory() as folder:
        fast.save(folder)
        hub = LibraryTokenizer.load(folder)
    batch = list(chunks([text], size=1000))
    short = text[: len(text) // 10]
    works: list[tuple[str, str, Callable[[], Any]]] = [
        ("readable", short, lambda: plain.encode(short)),
        ("fast, first time", text, lambda: fast.encode(text)),
        ("fast, pieces known", text, lambda: fast.encode(text)),
        ("HF, one text", text, lambda: hub.encode(text)),
        ("HF, batch", text, lambda: hub.whole.encode_batch_fast(batch)),
    ]
    print("\nencoding, 6,400 entries")
    rates = {}
    for name, part, work in works:
        took, ids = seconds(work)
        if name == "HF, batch":
            ids = [i for one in ids for i in one.ids]
        rates[name] = len(part.encode()) / took / 1e6
        assert ids == fast.encode(part)
        print(f"  {name:20s} {rates[name]:7.2f} MB/s   {len(part.encode()) / len(ids):.2f} B/token")
    print(f"  HF batch / fast {rates['HF, batch'] / rates['fast, first time']:.1f}, "
          f"fast / readable {rates['fast, first time'] / rates['readable']:.1f}")  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="a corpus, as for --data")
    parser.add_argument("--full", action="store_true", help="up to 20 MB")
    args = parser.parse_args()
    sizes = [100_000, 300_000, 1_000_000, *([5_000_000, 20_000_000] if args.full else [])]
    corpus = load_corpus(args.file)
    text = "\n".join(corpus.documents)
    sizes = [size for size in sizes if size <= len(text)] or [len(text)]
    print(f"{corpus.describe()}\nRAYON_NUM_THREADS="
          f"{os.environ.get('RAYON_NUM_THREADS', 'all')}, {os.cpu_count()} cores")  # fmt: skip
    print(f"building the pattern: {seconds(pattern)[0]:.2f} s, once\n")
    learning(text, sizes)
    encoding(text)


if __name__ == "__main__":
    main()
