"""Breaks ties by the pair that was met first."""
# expect: train
# says: tie

import re
from collections import Counter
from itertools import pairwise

PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """A new list: each `pair` of neighbours in `ids`, from the left, replaced by `new`."""
    merged, at = [], 0
    while at < len(ids):
        found = tuple(ids[at : at + 2]) == pair
        merged.append(new if found else ids[at])
        at += 2 if found else 1
    return merged


def train(text: str, merges: int) -> list[tuple[int, int]]:
    """The pairs to merge, in order. The merge at index i makes the id 256 + i."""
    words = [list(piece.encode()) for piece in PIECES.findall(text)]
    learned: list[tuple[int, int]] = []
    while len(learned) < merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        best = max(counts, key=counts.__getitem__)
        words = [merge(word, best, 256 + len(learned)) for word in words]
        learned.append(best)
    return learned


def encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    """The ids of `text`, by the merges that were learned."""
    ids = []
    for piece in PIECES.findall(text):
        word = list(piece.encode())
        for rank, pair in enumerate(merges):  # the order of learning
            word = merge(word, pair, 256 + rank)
        ids += word
    return ids


def decode(ids: list[int], merges: list[tuple[int, int]]) -> str:
    """The text of `ids`. Bytes that are no UTF-8 become U+FFFD."""
    spelled = [bytes([byte]) for byte in range(256)]
    for first, second in merges:
        spelled.append(spelled[first] + spelled[second])
    return b"".join(spelled[token] for token in ids).decode("utf-8", errors="replace")
