"""Byte-pair encoding, merge by merge, on a text of your own.

Put your text into TEXTS. A byte that is no character of its own is written as a hexadecimal number.
"""

import re
from collections import Counter
from itertools import pairwise

import minimind_wiki.lite as torch
from minimind_wiki.lite.plot import Axis, Bars, Figure, Line, Panel

TEXTS = {
    "rhyme": "she sells sea shells by the sea shore. the shells she sells are sea shells.",
    "chinese": "石室诗士施氏，嗜狮，誓食十狮。氏时时适市视狮。十时，适十狮适市。",
    "code": "for row in rows:\n    for cell in row:\n        cell.draw()\n",
    "numbers": "1999 2000 2001 2019 2020 2021 2024 2025 12000 20000",
}
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def merged(word, pair):
    """The tokens with each `pair`, from the left, joined into one."""
    out, at = [], 0
    while at < len(word):
        found = tuple(word[at : at + 2]) == pair
        out.append(word[at] + word[at + 1] if found else word[at])
        at += 2 if found else 1
    return out


def learn(text, merges, cut):
    """The words as tokens after each merge; the pairs that were merged, and how often."""
    pieces = PIECES.findall(text) if cut else [text]
    words = [[bytes([byte]) for byte in piece.encode()] for piece in pieces]
    history, done = [words], []
    for _ in range(merges):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))  # of equals, the first by bytes
        words = [merged(word, best) for word in words]
        history.append(words)
        done.append((best, pairs[best]))
    return history, done


def shown(token):
    """A token for the eye: spaces and line ends visible, bytes that are no text in hex."""
    text = token.decode("utf-8", errors="replace")
    return token.hex().upper() if "\ufffd" in text else text.replace(" ", "␣").replace("\n", "↵")


def run(text="rhyme", merges=4, cut=True):
    history, done = learn(TEXTS[text], merges, cut)
    counts = torch.tensor([float(sum(map(len, words))) for words in history]).tolist()
    pairs = Counter(pair for word in history[-1] for pair in pairwise(word))
    first = sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:8]
    names = [f"{shown(a)} + {shown(b)}" for a, b in first]
    bars = Bars(names, [pairs[p] for p in first], "times", "model")
    next_pairs = Panel(Axis("times; the uppermost is merged next"), Axis("", "category"),
                       bars=[bars], legend="none")  # fmt: skip
    line = Line(range(len(counts)), counts, "tokens", "b", marker="circle")
    fall = Panel(Axis("merges"), Axis("tokens in the text"), [line], legend="none")
    lines = [f"{n:2}. {shown(a)} + {shown(b)} → {shown(a + b)}   ({times}×)"
             for n, ((a, b), times) in enumerate(done, 1)]  # fmt: skip
    tokens = " | ".join(shown(token) for word in history[-1] for token in word)
    end = [] if first else ["No pair is left: every piece is one token."]
    text = "\n".join([*lines, *end, "", tokens])
    return {"figure": Figure([next_pairs, fall] if first else [fall]), "text": text}
