"""One text as bytes, characters, words and learned tokens. Try your own sentences."""

import re
from collections import Counter
from itertools import pairwise

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Level, Panel

TEXTS = {
    "English": "The mill stands by the river. The river never asks who the mill grinds for.",
    "Chinese": "磨坊在河边。河水从不问磨坊为谁转动。",
    "code": "for mill in mills:\n    for river in rivers:\n        mill.ask(river)\n",
    "numbers": "2019, 2020, 2021, 2024, 2025; 3.14, 31.4, 314, 3141",
}
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
WORDS = re.compile(r"[\u4e00-\u9fff]|\w+|[^\w\s]")


def merged(word, pair):
    """The tokens with each `pair`, from the left, joined into one."""
    out, at = [], 0
    while at < len(word):
        two = tuple(word[at : at + 2]) == pair
        out.append(word[at] + word[at + 1] if two else word[at])
        at += 2 if two else 1
    return out


def cut(text):
    """The text as words of bytes."""
    return [[bytes([byte]) for byte in piece.encode()] for piece in PIECES.findall(text)]


def learn(texts, merges):
    """The pairs that were merged, in their order."""
    words, done = [word for text in texts for word in cut(text)], []
    for _ in range(merges):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        if not pairs:
            break
        done.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = [merged(word, done[-1]) for word in words]
    return done


def encode(text, merges):
    """The text in tokens: the same merges again, in the order of learning."""
    words = cut(text)
    for pair in merges:
        words = [merged(word, pair) for word in words]
    return [token for word in words for token in word]


def run(merges=60, source="all"):
    texts = TEXTS.values() if source == "all" else [TEXTS[source]]
    learned = learn(texts, merges)
    counts = torch.tensor([
        [len(t.encode()), len(t), len(WORDS.findall(t)), len(encode(t, learned))]
        for t in TEXTS.values()]).float()  # fmt: skip
    per_character = [[n / max(row[1], 1) for n in row] for row in counts.tolist()]  # of no text: 0
    kinds = (("bytes", "none"), ("words", "c"), ("BPE", "model"))
    bars = [Bars(TEXTS, [row[at] for row in per_character], name, role)
            for (name, role), at in zip(kinds, (0, 2, 3), strict=True)]  # fmt: skip
    panel = Panel("", Axis("tokens for each character"), bars=bars, legend="top")
    panel.levels = [Level(1.0, "characters", "floor")]
    lines = [f"vocabulary: 256 bytes and {len(learned)} merges"]
    for name, row in zip(TEXTS, counts.int().tolist(), strict=True):
        lines.append("{}: {} bytes, {} characters, {} words, {} tokens".format(name, *row))
    return {"figure": Figure([panel]), "text": "\n".join(lines)}
