"""Checks `merge`, `train`, `encode` and `decode` against the plain algorithm, which stands below.

Answers name the likely mistake: each wrong form that we know is computed, and the first that gives
the reader's result is taken to be theirs. Texts are small, so that ties and overlaps occur.
"""

import re
from collections import Counter
from itertools import pairwise

from minimind_wiki.lite.checks import Check, Wrong, ask

PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
TEXT = "low lower lowest, slow slower. hm hm hm hm hm low low aaa aaaa hmmm"
CHINESE = "石室诗士，嗜狮。"
FUNCTIONS = ("merge", "train", "encode", "decode")


def join(ids, pair, new):
    out, at = [], 0
    while at < len(ids):
        found = tuple(ids[at : at + 2]) == tuple(pair)
        out.append(new if found else ids[at])
        at += 2 if found else 1
    return out


def every_start(ids, pair, new):
    """Overlaps count twice: aaa gives new new."""
    out, at = [], 0
    while at < len(ids):
        found = tuple(ids[at : at + 2]) == tuple(pair)
        out.append(new if found else ids[at])
        if found and tuple(ids[at + 1 : at + 3]) != tuple(pair):
            at += 1
        at += 1
    return out


def from_the_right(ids, pair, new):
    return join(ids[::-1], pair[::-1], new)[::-1]


def first_only(ids, pair, new):
    for at in range(len(ids) - 1):
        if tuple(ids[at : at + 2]) == tuple(pair):
            return [*ids[:at], new, *ids[at + 2 :]]
    return list(ids)


def cut(text, whole=False):
    return [list(piece.encode()) for piece in ([text] if whole else PIECES.findall(text))]


def learn(text, merges, tie="small", whole=False, once=False, characters=False):
    """The merges of `text`; the arguments are the mistakes."""
    words = cut(text, whole)
    if characters:
        words = [[ord(c) for c in piece] for piece in PIECES.findall(text)]
    if once:
        words = [list(word) for word in dict.fromkeys(map(tuple, words))]
    learned = []
    while len(learned) < merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        if not counts:
            break
        if tie == "small":
            best = min(counts, key=lambda pair: (-counts[pair], pair))
        elif tie == "large":
            best = max(counts, key=lambda pair: (counts[pair], pair))
        else:
            best = max(counts, key=counts.__getitem__)  # the first that was met
        words = [join(word, best, 256 + len(learned)) for word in words]
        learned.append(best)
    return learned


def replay(text, merges, whole=False):
    ids = []
    for word in cut(text, whole):
        for rank, pair in enumerate(merges):
            word = join(word, pair, 256 + rank)
        ids += word
    return ids


def spell(merges):
    spelled = [bytes([byte]) for byte in range(256)]
    for first, second in merges:
        spelled.append(spelled[first] + spelled[second])
    return spelled


def longest(text, merges, whole=False):
    """The longest entry that fits, from the left."""
    entries = {raw: token for token, raw in enumerate(spell(merges))}
    ids = []
    for piece in [text] if whole else PIECES.findall(text):
        raw = piece.encode()
        while raw:
            size = max(n for n in range(1, len(raw) + 1) if raw[:n] in entries)
            ids.append(entries[raw[:size]])
            raw = raw[size:]
    return ids


def one_pass(text, merges):
    """Neighbours are merged once, from the left, whatever the rank."""
    ranks, ids = {tuple(pair): 256 + rank for rank, pair in enumerate(merges)}, []
    for word in cut(text):
        out = []
        for token in word:
            out.append(token)
            while len(out) > 1 and tuple(out[-2:]) in ranks:
                out[-2:] = [ranks[tuple(out[-2:])]]
        ids += out
    return ids


def listed(value, what):
    if value is None:
        raise Wrong(f"{what} returns None: is there a return at the end?")
    if not isinstance(value, list):
        raise Wrong(f"{what} returns a {type(value).__name__}, not a list.")
    return value


def told(got, want, mistakes, otherwise):
    """None where it is right; else the first mistake that explains it, or the other words."""
    if got == want:
        return None
    for text, wrong in mistakes:
        if got == wrong:
            return text
    return otherwise


def merging(f):
    ids, pair = [1, 2, 3, 1, 2], (1, 2)
    got = listed(f["merge"](list(ids), pair, 9), "merge")
    wrong = told(got, [9, 3, 9], [
        ("Only the first occurrence is merged: go on to the end of the list.", [9, 3, 1, 2]),
        ("A pair at the very end is not found.", [9, 3, 1]),
        ("Nothing was merged: is `pair` compared with a tuple? [1, 2] == (1, 2) is False.", ids),
    ], f"merge({ids}, {pair}, 9) should be [9, 3, 9], is {got}.")  # fmt: skip
    if wrong:
        return wrong
    got = listed(f["merge"]([1, 2, 3], pair, 9), "merge")
    lost = [("The last id is lost when it is in no pair.", [9])]
    return told(got, [9, 3], lost, f"merge([1, 2, 3], {pair}, 9) should be [9, 3], is {got}.")


def overlaps(f):
    for ids in ([7, 7, 7], [7, 7, 7, 7, 7]):
        got = listed(f["merge"](list(ids), (7, 7), 9), "merge")
        wrong = told(got, join(ids, (7, 7), 9), [
            ("Overlapping pairs are merged twice: after a merge, go on behind both ids.",
             every_start(ids, (7, 7), 9)),
            ("You merge from the right: of 7 7 7 the first two are a pair.",
             from_the_right(ids, (7, 7), 9)),
        ], f"merge({ids}, (7, 7), 9) should be {join(ids, (7, 7), 9)}, is {got}.")  # fmt: skip
        if wrong:
            return wrong
    return None


def list_unchanged(f):
    ids = [1, 2, 1, 2]
    f["merge"](ids, (1, 2), 9)
    return (
        None if ids == [1, 2, 1, 2] else "merge changes the list that it is given: make a new one."
    )


def training(f):
    got = [tuple(pair) for pair in listed(f["train"](TEXT, 12), "train")]
    if (wrong := told(got, learn(TEXT, 12), known(TEXT, 12), None)) is not None:
        return wrong
    if got == learn(TEXT, 12):
        return None
    at = next((n for n, (a, b) in enumerate(zip(got, learn(TEXT, 12), strict=False)) if a != b),
              min(len(got), 12))  # fmt: skip
    want = learn(TEXT, 12)
    said = f"is {got[at]}" if at < len(got) else "is missing"
    return (
        f"The merge at index {at} should be {want[at]} and {said}. Count all pairs anew each time."
    )


def known(text, merges):
    return [
        ("The tie is broken another way: of equally frequent pairs, take the one with the smaller "
         "ids, not the first that was met.", learn(text, merges, tie="first")),
        ("The tie is broken another way: of equally frequent pairs, take the one with the smaller "
         "ids.", learn(text, merges, tie="large")),
        ("Merges cross the words: cut the text with PIECES first, and count pairs inside a piece.",
         learn(text, merges, whole=True)),
        ("Each word is counted once: a pair counts as often as it stands in the text.",
         learn(text, merges, once=True)),
    ]  # fmt: skip


def training_on_bytes(f):
    try:
        got = [tuple(pair) for pair in listed(f["train"](CHINESE, 6), "train")]
    except KeyError as error:
        raise Wrong(
            f"train fails with the id {error}: begin with the bytes, not characters."
        ) from None
    return told(got, learn(CHINESE, 6), [
        ("You begin with characters: a text is UTF-8 bytes, `list(piece.encode())`.",
         learn(CHINESE, 6, characters=True)),
        *known(CHINESE, 6),
    ], f"For {CHINESE} the first merges should be {learn(CHINESE, 6)}, are {got}.")  # fmt: skip


def training_ends(f):
    """Few pairs: there is nothing left to merge."""
    got = [tuple(pair) for pair in listed(f["train"]("ab ab", 9), "train")]
    want = learn("ab ab", 9)
    said = f"When no pair is left, train ends early: {want}, not {got}."
    return told(got, want, known("ab ab", 9), said)


# In this order of merges "abc" is a + bc, though the longest entry from the left is "ab".
RANKED = [(98, 99), (97, 98)]
WHOLE = [(98, 99), (97, 256), (97, 98)]  # "abc" is one token, made of a + bc


def encoding_by_rank(f):
    for text, merges in (
        ("abc", WHOLE),
        ("abc", RANKED),
        (TEXT, learn(TEXT, 12)),
        ("lowlow", learn(TEXT, 12)),
    ):
        got = listed(f["encode"](text, merges), "encode")
        wrong = told(got, replay(text, merges), [
            ("You take the longest entry that fits, as WordPiece does. BPE replays the merges in "
             "the order in which they were learned.", longest(text, merges)),
            ("You merge from left to right, whatever was learned first: the pair with the lowest "
             "rank comes first.", one_pass(text, merges)),
            ("Merges cross the words: cut with PIECES first.", replay(text, merges, whole=True)),
        ], f"encode({text!r}, …) should be {replay(text, merges)}, is {got}.")  # fmt: skip
        if wrong:
            return wrong
    return None


def encoding_keeps_the_cut(f):
    """The merge (b, space) is in the list, and no piece has the two side by side."""
    merges = [(98, 32), (97, 98)]
    got = listed(f["encode"]("ab ab", merges), "encode")
    return told(got, replay("ab ab", merges), [
        ("A merge crossed the words: cut with PIECES first, also when encoding.",
         replay("ab ab", merges, whole=True)),
    ], f"encode('ab ab', …) should be {replay('ab ab', merges)}, is {got}.")  # fmt: skip


def round_trip(f):
    for text in (TEXT, CHINESE, "naïve 🙂\n\n  x"):
        merges = learn(text, 8)
        got = f["decode"](replay(text, merges), merges)
        if got is None:
            return "decode returns None: is there a return at the end?"
        if got != text:
            return (
                f"decode gives {got!r} for the ids of {text!r}. Is every id spelled out in bytes?"
            )
    return None


def half_a_character(f):
    ids = list("石".encode())[:2]
    try:
        got = f["decode"](ids, [])
    except UnicodeDecodeError:
        return (
            "decode fails on bytes that are no UTF-8, such as half a character, which a model may "
            "well write: `.decode('utf-8', errors='replace')`."
        )
    if got == "\ufffd":
        return None
    if got == "":
        return "Bytes that are no UTF-8 vanish: write U+FFFD for them, errors='replace'."
    if len(got) == 2:
        return "Each token is decoded by itself: join the bytes of all tokens first, then decode."
    return f"Two bytes of 石 should decode to U+FFFD, are {got!r}."


QUESTIONS = [
    ("merge", merging),
    ("overlaps", overlaps),
    ("list unchanged", list_unchanged),
    ("train", training),
    ("train on bytes", training_on_bytes),
    ("train ends", training_ends),
    ("encode by rank", encoding_by_rank),
    ("encode keeps the cut", encoding_keeps_the_cut),
    ("decode", round_trip),
    ("half a character", half_a_character),
]


def check(ns):
    """The answers for the namespace `ns` that the reader's code made."""
    missing = [name for name in FUNCTIONS if not callable(ns.get(name))]
    if missing:
        return [Check("function", False, f"Define a function with the name {missing[0]}.")]
    return ask(QUESTIONS, ns)
