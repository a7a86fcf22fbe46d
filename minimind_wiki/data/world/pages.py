"""Raw, noisy pages with the whole truth about them, so that a cleaning pipeline can be scored.

A page is a text (a story of the world, a hard good text, junk, another language, private data, a
copy of an earlier page, a benchmark's text pasted in) in a dress (plain, a web page, a scan, a
wrong decoding, odd characters). `labels` says:

    id, kind, dress   what it is made of
    defects           of DEFECTS, what is wrong with it
    keep, clean       whether a clean corpus has it, and its text there, private data masked
    language          a code; "" for junk that is in no language
    private           [{"kind", "text", "start", "end"}], character places in the raw text
    duplicate         None or {"of", "how", "jaccard"}: an earlier page's id, "copy" | "edited" |
                      "rewrapped", and the exact likeness of the clean texts (sets of 5 words)
    benchmark         "" or how a held-out text stands in it: "whole", "excerpt", "edited"

Row n depends on the seed and n alone: a duplicate makes its original again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from minimind_wiki.data.world import foreign, ocr, private
from minimind_wiki.data.world.boilerplate import web_page
from minimind_wiki.data.world.chooser import Chooser, Weighted
from minimind_wiki.data.world.page_texts import HARD, JUNK
from minimind_wiki.data.world.story import make_document
from minimind_wiki.errors import WrongCall

Row = dict[str, Any]
DEFECTS = ("boilerplate", "scan", "mojibake", "odd characters", "junk", "language", "private",
           "exact duplicate", "near duplicate", "contaminated")  # fmt: skip
NEAR = 0.75  # from this likeness on a page is called a near duplicate
BENCHMARK_TEXTS = 200
_KINDS = Weighted({
    "story": 34, "hard": 11, "junk": 12, "foreign": 9, "quoting": 2, "private": 9, "lookalike": 4,
    "copy": 4, "edited": 9, "contaminated": 6,
})  # fmt: skip
_DRESSES = {
    "text": Weighted({"plain": 48, "web": 32, "scan": 10, "mojibake": 5, "odd": 5}),
    "line": Weighted({"plain": 1}),  # lists and verses, whose lines a page would lose
    "data": Weighted({"plain": 6, "web": 4}),
}
_TITLES = ("News from the valley", "What happened last week", "A story from the village",
           "Notes of a traveller", "Letters and reports", "From the old chronicle")  # fmt: skip
_INSTEAD = ("quiet", "yellow", "seven", "under", "finally", "garden", "perhaps", "stone")
_PLACE = re.compile(r"(.*)\.(\d+)")


def benchmark_text(number: int) -> str:
    """A held-out text: the story of a test world, from which nothing may be trained."""
    return make_document(f"benchmark.{number}", "test").text.split("\n\n", 1)[-1]


def benchmark_texts() -> Iterator[str]:
    """All held-out texts that may stand in a page."""
    return (benchmark_text(number) for number in range(BENCHMARK_TEXTS))


def grams(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """The runs of n words, case and punctuation aside."""
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[i:] for i in range(min(n, len(words)))), strict=False))


def likeness(first: str, second: str) -> float:
    """Jaccard similarity of the sets of 5-word runs.

    >>> round(likeness("a b c d e f g", "A b c, d e f h."), 2)
    0.5
    """
    a, b = grams(first), grams(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def _story(seed: str, split: str) -> str:
    return make_document(f"pages.{seed}", split).text


def _insert(c: Chooser, text: str, sentence: str) -> str:
    """The text with a sentence put behind one of its sentences."""
    ends = [m.end() for m in re.finditer(r"[.!?](?= [A-Z])", text)]
    at = c.pick(ends) if ends else len(text)
    return f"{text[:at]} {sentence}{text[at:]}"


def _edit(c: Chooser, text: str) -> str:
    """The text with a share of its words changed or a paragraph gone."""
    rate = c.pick((0.003, 0.01, 0.02, 0.04, 0.08, 0.15))
    words = text.split(" ")
    for at, word in enumerate(words):
        if c._random() < rate and word.isalpha():
            words[at] = c.pick(_INSTEAD)
    paragraphs = " ".join(words).split("\n\n")
    if len(paragraphs) > 3 and c.pick(range(4)) == 0:
        paragraphs.pop(1 + int(c._random() * (len(paragraphs) - 1)))
    return "\n\n".join(paragraphs)


def _paste(c: Chooser, text: str, labels: Row) -> str:
    held_out = benchmark_text(c.pick(range(BENCHMARK_TEXTS)))
    how = c.draw(Weighted({"whole": 4, "excerpt": 4, "edited": 2}))
    words = held_out.split()
    if how == "excerpt":
        at = c.pick(range(max(1, len(words) - 24)))
        held_out = " ".join(words[at : at + 24])
    elif how == "edited":  # every eighth word is another: no run of eight is left
        held_out = " ".join(c.pick(_INSTEAD) if i % 8 == 5 else w for i, w in enumerate(words))
    labels["benchmark"] = how
    return f"{text}\n\n{held_out}"


def _dressed(c: Chooser, text: str, dress: str, labels: Row) -> str:
    """The raw text; `clean` is set to what should be got out of it."""
    labels["dress"], labels["clean"] = dress, text
    if dress == "web":
        title = c.pick(_TITLES)
        labels["clean"] = f"{title}\n\n{text}"
        labels["defects"].append("boilerplate")
        return web_page(c, title, text.split("\n\n"))
    if dress == "scan":
        labels["defects"].append("scan")
        return ocr.scan(c, text)
    if dress in ("mojibake", "odd"):
        labels["clean"] = text = ocr.curled(text)
        broken = ocr.mojibake(text) if dress == "mojibake" else ocr.width_faults(c, text)
        if broken != text:  # plain ASCII outlives a wrong table
            labels["defects"].append("mojibake" if dress == "mojibake" else "odd characters")
            return broken
        labels["dress"] = "plain"
    return text


def _page(c: Chooser, seed: str, split: str, original: bool) -> Row | None:
    """The page; None when an original is asked for and this is a page that none is copied of."""
    place = _PLACE.fullmatch(seed)
    number = int(place[2]) if place else 0
    kind = c.draw(_KINDS)
    base = None
    if kind in ("copy", "edited"):
        if original:
            return None
        for _ in range(8 if number else 0):
            earlier = int(c._random() * number)  # `pick` stops at 4,095 options
            base = _original(f"{place[1] if place else ''}.{earlier}", split)
            if base:
                break
        else:
            kind = "story"
    labels: Row = {
        "id": seed, "kind": kind, "dress": "plain", "defects": [], "keep": True, "language": "en",
        "clean": "", "private": [], "duplicate": None, "benchmark": "",
    }  # fmt: skip
    values: list[tuple[str, str]] = []
    wear = "text"
    text = _story(seed, split)
    if kind == "hard":
        labels["kind"] = c.pick(tuple(HARD))
        text = HARD[labels["kind"]](c, text)
        wear = "text" if labels["kind"] in ("short", "foreign names") else "line"
        if labels["kind"] == "short":
            wear = "data"
    elif kind == "junk":
        labels["kind"] = c.pick(tuple(JUNK))
        text, wear = JUNK[labels["kind"]](c, text), "data"
        labels |= {"defects": ["junk"], "keep": False, "language": ""}
    elif kind == "foreign":
        language = c.pick(foreign.LANGUAGES)
        text, wear = foreign.passage(c, language, c.pick(range(9, 22))), "data"
        labels |= {"defects": ["language"], "keep": False, "language": language}
    elif kind == "quoting":  # English that quotes: stays
        quoted = foreign.sentence(c, c.pick(("de", "fr", "es")))
        text = _insert(c, text, f"“{quoted[:-1]},” the stranger said.")
    elif kind == "private":
        wear = "data"
        labels["defects"].append("private")
        for _ in range(c.pick((1, 1, 2, 3))):
            sentence, what, value = private.private_sentence(c)
            values.append((what, value))
            text = _insert(c, text, sentence)
    elif kind == "lookalike":
        text, wear = _insert(c, text, private.lookalike(c)), "data"
    elif kind == "contaminated":
        text = _paste(c, text, labels)
        labels |= {"defects": ["contaminated"], "keep": False}
    elif base:
        return _duplicate(c, kind, base, labels)
    raw = _dressed(c, text, c.draw(_DRESSES[wear]), labels)
    if original and not (labels["keep"] and labels["dress"] in ("plain", "web") and not values):
        return None
    for what, value in dict.fromkeys(values):
        labels["private"] += [
            {"kind": what, "text": value, "start": m.start(), "end": m.end()}
            for m in re.finditer(re.escape(value), raw)
        ]
        labels["clean"] = labels["clean"].replace(value, private.MASKS[what])
    labels["private"].sort(key=lambda span: span["start"])
    return {"text": raw, "labels": labels}


def _duplicate(c: Chooser, kind: str, base: Row, labels: Row) -> Row:
    """A copy of a page, or its text edited or as it was in another dress."""
    of, clean = base["labels"]["id"], base["labels"]["clean"]
    if kind == "copy":
        labels |= {"dress": base["labels"]["dress"], "clean": clean, "keep": False}
        labels["defects"] = [*base["labels"]["defects"], "exact duplicate"]
        labels["duplicate"] = {"of": of, "how": "copy", "jaccard": 1.0}
        return {"text": base["text"], "labels": labels}
    body = clean.split("\n\n", 1)[1] if base["labels"]["dress"] == "web" else clean
    rewrapped = c.pick(range(4)) == 0
    body = body if rewrapped else _edit(c, body)
    raw = _dressed(c, body, "web" if rewrapped else c.draw(_DRESSES["data"]), labels)
    like = likeness(clean, labels["clean"])
    if re.findall(r"\w+", clean.lower()) == re.findall(r"\w+", labels["clean"].lower()):
        labels["defects"].append("exact duplicate")
    elif like >= NEAR:
        labels["defects"].append("near duplicate")
    labels["keep"] = like < NEAR
    how = "rewrapped" if rewrapped else "edited"
    labels["duplicate"] = {"of": of, "how": how, "jaccard": round(like, 4)}
    return {"text": raw, "labels": labels}


@lru_cache(maxsize=256)
def _original(seed: str, split: str) -> Row | None:
    return _page(Chooser(f"pages/{split}/{seed}"), seed, split, original=True)


def page(c: Chooser, seed: str, split: str = "train") -> Row:
    """One page; see the module's text for `labels`.

    `seed` is `run.number`, as `make_rows` gives it: a duplicate copies a page of the same run with
    a smaller number.
    """
    row = _page(c, seed, split, original=False)
    assert row is not None
    return row


def raw_pages(seed: int | str, rows: int, split: str = "train") -> Iterator[Row]:
    """`rows` labelled pages, one at a time; the same for the same seed. WrongCall below 1 row.

    >>> row = next(raw_pages(0, 1)); sorted(row), row["labels"]["id"]
    (['labels', 'text'], '0.0')
    """
    if rows < 1:
        raise WrongCall(f"{rows} pages were asked for; give at least 1.")
    for number in range(rows):
        key = f"{seed}.{number}"
        yield page(Chooser(f"pages/{split}/{key}"), key, split)
