"""How good the cleaning is: steps judged on pages that carry the truth about themselves.

The pages are those of `minimind_wiki.data.world.pages`. Each step is judged on what reaches it in
the pipeline, and a filter only on pages that are its own business: whether a page of junk is
dropped for its language or for its quality is the same, so the language filter is not judged on it.
A duplicate counts only when its original has reached the step as well.
Texts are compared character by character, blanks aside: F1 = 2·|common| / (|one| + |other|), where
the common characters are those of the longest matching blocks (difflib).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from minimind_wiki.data.clean.pii import MASKS, find_pii
from minimind_wiki.data.clean.step import Row, Step

DUPLICATES = ("exact duplicate", "near duplicate")
REPAIRS = {"mojibake": ("mojibake", "odd"), "unicode": ("odd",), "html": ("web",),
           "scan": ("scan",), "lines": ("scan",)}  # fmt: skip


def character_f1(first: str, second: str) -> float:
    """1 for equal texts, 0 for texts without a common character.

    >>> character_f1("the  barn", "the barn"), round(character_f1("barn", "bam"), 3)
    (1.0, 0.571)
    """
    a, b = first.split(), second.split()
    if a == b:
        return 1.0
    sizes = [sum(map(len, words)) for words in (a, b)]
    common = 0
    for tag, a0, a1, b0, b1 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            common += sum(map(len, a[a0:a1]))
        elif tag == "replace":
            one, other = "".join(a[a0:a1]), "".join(b[b0:b1])
            blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
            common += sum(block.size for block in blocks)
    return 2 * common / max(1, sum(sizes))


@dataclass(slots=True)
class Count:
    """Right and wrong decisions of a filter. right: dropped rightly; false: dropped wrongly."""

    right: int = 0
    false: int = 0
    missed: int = 0
    spared: int = 0

    def add(self, is_bad: bool, dropped: bool) -> None:
        """One decision."""
        name = ("right" if is_bad else "false") if dropped else ("missed" if is_bad else "spared")
        setattr(self, name, getattr(self, name) + 1)

    @property
    def judged(self) -> int:
        """Number of decisions."""
        return self.right + self.false + self.missed + self.spared

    @property
    def precision(self) -> float:
        """Share of the dropped that had to go; nan when nothing was dropped."""
        return _share(self.right, self.right + self.false)

    @property
    def recall(self) -> float:
        """Share of what had to go that was dropped; nan when nothing had to."""
        return _share(self.right, self.right + self.missed)

    @property
    def chance_precision(self) -> float:
        """Precision of dropping as many at random: the share that has to go."""
        return _share(self.right + self.missed, self.judged)

    @property
    def chance_recall(self) -> float:
        """Recall of dropping as many at random: the share that is dropped."""
        return _share(self.right + self.false, self.judged)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


@dataclass(slots=True)
class Scores:
    """filters: step -> Count. groups: (step, group) -> Count. texts: F1 of each page that should
    stay: (step, "before") and (step, "after") against the clean text, on the pages that the step is
    for (tags taken out "before"); (step, "others") after against before, on all others. lost: pages
    that should stay but that a repair emptied."""

    filters: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    groups: dict[tuple[str, str], Count] = field(default_factory=lambda: defaultdict(Count))
    texts: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: int = 0


def has_to_go(step: str, labels: dict[str, Any], here: set[str]) -> bool | None:
    """Whether the step has to drop the page; None when the page is not its business.

    here: the ids of the pages that reached the step.
    """
    language, defects = labels["language"], labels["defects"]
    if step == "language":
        return None if language == "" else language != "en"
    if language not in ("en", ""):
        return None
    if step == "quality":
        return "junk" in defects
    if "junk" in defects:
        return None
    if step == "decontaminate":
        return bool(labels["benchmark"])
    if labels["benchmark"]:
        return None
    copy = labels["duplicate"]
    if copy and not any(name in defects for name in DUPLICATES):
        return False
    if copy and copy["of"] not in here:
        return None
    if step == "exact":
        return None if "near duplicate" in defects else "exact duplicate" in defects
    return bool(copy)


def _group(step: str, labels: dict[str, Any]) -> str:
    if step == "language":
        return str(labels["language"])
    if step == "decontaminate":
        return str(labels["benchmark"])
    return str(labels["kind"])


def _masked(text: str, labels: dict[str, Any]) -> str:
    """The text with the private data that it is known to hold replaced, as in `clean`."""
    for span in labels["private"]:
        text = text.replace(span["text"], MASKS[span["kind"]])
    return text


def _judge_private(scores: Scores, text: str, labels: dict[str, Any]) -> None:
    truth = [
        (m.start(), m.end(), span["kind"])
        for span in {s["text"]: s for s in labels["private"]}.values()
        for m in re.finditer(re.escape(span["text"]), text)
    ]
    found = {(start, end): kind for start, end, kind in find_pii(text)}
    for start, end, kind in truth:
        hit = (start, end) in found
        scores.filters["pii"].add(True, hit)
        scores.groups["pii", kind].add(True, hit)
    known = {(start, end) for start, end, _ in truth}
    for span, kind in found.items():
        if span not in known:
            scores.filters["pii"].add(False, True)
            scores.groups["pii", kind].add(False, True)


def score(pages: Iterable[dict[str, Any]], steps: Sequence[Step]) -> Scores:
    """Run labelled pages through the steps, all of them through one before the next.

    The count "corpus" says how well the whole pipeline tells what should stay: `right` is a page
    that had to go and went, whichever step dropped it. The texts of ("corpus", "after") compare
    what is left of the pages that should stay with what should be left of them.
    """
    scores = Scores()
    alive = [(page["labels"], Row({"text": page["text"]}, "pages", number))
             for number, page in enumerate(pages, start=1)]  # fmt: skip
    everything = [labels for labels, _ in alive]
    for step in steps:
        here = {labels["id"] for labels, _ in alive}
        after = []
        for labels, row in alive:
            if step.name == "pii":
                _judge_private(scores, row.text, labels)
            result = step(row)
            repaired = step.name in REPAIRS
            if repaired and labels["keep"]:
                text = result.rows[0].text if result.rows else ""
                if labels["dress"] in REPAIRS[step.name]:
                    before = re.sub(r"<[^>]*>", " ", row.text)
                    for when, shown in (("before", before), ("after", text)):
                        f1 = character_f1(_masked(shown, labels), labels["clean"])
                        scores.texts[step.name, when].append(f1)
                else:
                    scores.texts[step.name, "others"].append(character_f1(row.text, text))
                scores.lost += not result.rows
            elif not repaired and step.name != "pii":
                bad = has_to_go(step.name, labels, here)
                if bad is not None:
                    scores.filters[step.name].add(bad, not result.rows)
                    scores.groups[step.name, _group(step.name, labels)].add(bad, not result.rows)
            after += [(labels, kept) for kept in result.rows]
        alive = after
    left = {labels["id"] for labels, _ in alive}
    for labels in everything:
        scores.filters["corpus"].add(not labels["keep"], labels["id"] not in left)
    for labels, row in alive:
        if labels["keep"]:
            scores.texts["corpus", "after"].append(character_f1(row.text, labels["clean"]))
    return scores
