"""The pipeline that `filters` measures, its scores, and the numbers that are recorded of them."""

from functools import cache, partial

from minimind_wiki.data.clean.decontaminate import Benchmarks, Decontaminate
from minimind_wiki.data.clean.filters import Rules, language_fault, quality_fault
from minimind_wiki.data.clean.normalize import extract_html, unicode_text
from minimind_wiki.data.clean.pii import mask_pii
from minimind_wiki.data.clean.scan import repair_scan
from minimind_wiki.data.clean.score import Scores, score
from minimind_wiki.data.clean.step import Edit, Filter, Step
from minimind_wiki.data.clean.steps import ExactDuplicates, NearDuplicates
from minimind_wiki.data.world.pages import benchmark_texts, raw_pages

FILTERS = ("language", "quality", "decontaminate", "pii", "exact", "near", "corpus")
REPAIRS = ("mojibake", "html", "scan")


def steps(repairs: bool, threshold: float) -> list[Step]:
    """The steps in their order."""
    exam = Benchmarks()
    exam.add("exam", benchmark_texts())
    first: list[Step] = [Edit("mojibake", partial(unicode_text, repair=True)),
                         Edit("html", extract_html), Edit("scan", repair_scan)]  # fmt: skip
    return [
        *(first if repairs else []),
        Filter("language", partial(language_fault, keep=("en",))),
        Filter("quality", partial(quality_fault, rules=Rules())),
        Decontaminate(exam), Edit("pii", mask_pii), ExactDuplicates(), NearDuplicates(threshold),
    ]  # fmt: skip


@cache
def scores(repairs: bool, seed: str, pages: int, threshold: float) -> Scores:
    """What the labelled pages of a seed say about the steps."""
    return score(raw_pages(seed, pages), steps(repairs, threshold))


def by_chance(done: Scores) -> dict[str, float]:
    """Dropping as many at random; of private data there are no spans to draw from."""
    counts = {name: done.filters[name] for name in FILTERS if name != "pii"}
    return {f"{n}_precision": c.chance_precision for n, c in counts.items()} | {
        f"{n}_recall": c.chance_recall for n, c in counts.items()
    }


def by_rule(done: Scores) -> dict[str, float]:
    """Precision, recall and numbers of each filter, and of each on each kind of page."""
    values: dict[str, float] = {}
    for name in FILTERS:
        count = done.filters[name]
        values |= {f"{name}_precision": count.precision, f"{name}_recall": count.recall,
                   f"{name}_judged": count.judged, f"{name}_missed": count.missed,
                   f"{name}_false": count.false}  # fmt: skip
    for (step, group), count in sorted(done.groups.items()):
        if count.right + count.missed:
            values[f"{step}_finds_{group or 'others'}"] = count.recall
        if count.false + count.spared and step != "pii":
            share = count.spared / (count.false + count.spared)
            values[f"{step}_spares_{group or 'others'}"] = share
    for (step, when), each in sorted(done.texts.items()):
        values[f"{step}_f1_{when}"] = sum(each) / len(each)
    return {name.replace(" ", "_").replace("-", ""): x for name, x in values.items()}
