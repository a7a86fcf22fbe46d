"""The texts that the trainers read, and the four trainers, each from text to merges."""

import json
import os
from collections.abc import Callable
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

from minimind_wiki.data import load_corpus
from minimind_wiki.data.world import make_document
from minimind_wiki.tokenizer.bpe import first_entries, spell, train
from minimind_wiki.tokenizer.fast_bpe import train_fast
from minimind_wiki.tokenizer.layout import CHATML
from minimind_wiki.tokenizer.library import chunks, train_library
from minimind_wiki.tokenizer.pretokenize import count_pieces, split
from minimind_wiki.tokenizer.samples import mixed_text

RESERVED = tuple(CHATML)
Merges = list[tuple[int, int]]


@lru_cache(maxsize=4)
def plays(seed: int) -> str:
    """TinyShakespeare, or the embedded corpus where that is not here; a seed begins elsewhere."""
    text = load_corpus().documents[0]
    start = text.find("\n", (seed % 3 * len(text)) // 3)
    return text[start:] + text[:start]


@lru_cache(maxsize=4)
def world(seed: int, size: int) -> str:
    documents: list[str] = []
    while sum(map(len, documents)) < size:
        more = range(len(documents), len(documents) + 1000)
        documents += [make_document(f"bpe.{seed}.{number}").text for number in more]
    return "\n\n".join(documents)[:size]


def make_text(kind: str, size: int, seed: int) -> str:
    """`size` characters. plays: plays only. mix: a third plays, a third of the little world, a
    third Chinese, English and code; more of what can be made where the plays end."""
    if kind == "plays":
        return plays(seed)[:size]
    first = plays(seed)[: size // 3]
    made = (size - len(first)) // 2
    return "\n".join((first, world(seed, made), mixed_text(made // 20, seed)[:made]))


def recounting(text: str, vocab_size: int) -> Merges:
    """The plain idea: every occurrence of every piece is kept, and for each merge all pairs of the
    whole text are counted again and the whole text is written again.

    The scheme of the regex trainer of minbpe (Karpathy 2024, github.com/karpathy/minbpe). Written
    here with this package's cut, ids and tie rule, so that the merges can be held equal.
    """
    vocabulary = first_entries(RESERVED, vocab_size)
    names = list(vocabulary)
    words = [[vocabulary[c] for c in spell(piece)] for piece in split(text)]
    merges: Merges = []
    while len(vocabulary) < vocab_size:
        counts: dict[tuple[int, int], int] = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        first, second = best = min(counts, key=lambda pair: (-counts[pair], pair))
        new = vocabulary.setdefault(names[first] + names[second], len(names))
        names += [names[first] + names[second]] if new == len(names) else []
        merges.append(best)
        for index, word in enumerate(words):
            made, at = [], 0
            while at < len(word):
                if word[at] == first and at < len(word) - 1 and word[at + 1] == second:
                    made.append(new)
                    at += 2
                else:
                    made.append(word[at])
                    at += 1
            words[index] = made
    return merges


def library(text: str, vocab_size: int) -> Merges:
    with one_thread():
        learned = train_library(chunks([text]), vocab_size, CHATML)
    model = json.loads(learned.to_str())["model"]
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return [(model["vocab"][a], model["vocab"][b]) for a, b in pairs]


@contextmanager
def one_thread():
    """The library without its threads, as the others."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        del os.environ["TOKENIZERS_PARALLELISM"]
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before


TRAINERS: dict[str, Callable[[str, int], Merges]] = {
    "recounting": recounting,
    "readable": lambda text, size: train(count_pieces([text]), size, RESERVED)[1],
    "fast": lambda text, size: train_fast(count_pieces([text]), size, RESERVED)[1],
    "library": library,
}
