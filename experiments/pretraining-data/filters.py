"""What does each step of the cleaning pipeline find, what does it lose, and what does it damage?

Labelled pages of the little world go through the pipeline step by step: repairs (wrong decodings,
web pages, scans), then the language and quality filters, decontamination, masking of private data,
exact and near duplicates. Filters are judged by precision and recall on what reaches them, private
data span by span, repaired text by its characters. The arms: the pipeline; the same without the
three repairs; dropping as many at random. The steps were developed on pages of the seeds `dev0` to
`dev2`; the seeds that are recorded here were not looked at before. The pages are ours, and so are
the faults in them: the numbers say how the steps differ, not what they would reach on the web.
"""

from collections.abc import Callable
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.lite.plot import Axis, Bars, Figure, Panel

from ._pipeline import FILTERS, REPAIRS, by_chance, by_rule, scores


@dataclass(frozen=True, slots=True)
class Settings:
    """pages: how many a seed; threshold: likeness from which on a page is a near duplicate."""

    pages: int = 5000
    threshold: float = 0.75


experiment = Experiment(
    name="pretraining-data/filters",
    factors=("repairs", "decides"),
    arms={
        "pipeline": {"title": "the pipeline", "role": "model", "repairs": True, "decides": "rule"},
        "no_repairs": {"title": "without repairs", "role": "b", "repairs": False,
                       "decides": "rule"},
        "random": {"title": "as many at random", "role": "chance", "repairs": True,
                   "decides": "chance"},
    },
    settings=Settings(),
    quick=Settings(pages=600),
    primary="corpus_precision",
    repeat=(("pipeline", 0), ("no_repairs", 0), ("random", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    done = scores(arm["repairs"], f"record{seed}", settings.pages, settings.threshold)
    return Measurement(by_chance(done) if arm["decides"] == "chance" else by_rule(done))


def at_least(record, metric: str, bar: float) -> tuple[bool, str]:
    """Whether the pipeline reaches the bar in the mean over the seeds."""
    value = record.value("pipeline", metric)
    return value >= bar, f"{metric} {value:.4f}"


def both(*outcomes: tuple[bool, str]) -> tuple[bool, str]:
    """All of them."""
    return all(ok for ok, _ in outcomes), ", ".join(said for _, said in outcomes)


CLAIMS: dict[str, tuple[str, bool, Callable]] = {
    "copies_are_found": ("Every byte-for-byte copy of a page is found", True,
        lambda r: at_least(r, "exact_finds_copy", 1)),
    "exact_finds_all": ("Every page with the same words is found, whatever is around them", False,
        lambda r: at_least(r, "exact_recall", 1)),
    "near_finds_most": ("Nine of ten near duplicates are found and hardly anything else", False,
        lambda r: both(at_least(r, "near_recall", 0.9), at_least(r, "near_precision", 0.95))),
    "language": ("The language filter finds 99 of 100 foreign pages and drops no English one",
        False, lambda r: both(at_least(r, "language_recall", 0.99),
                              at_least(r, "language_precision", 1))),
    "quality_keeps_good": ("The quality filter keeps every good page", False,
        lambda r: at_least(r, "quality_precision", 1)),
    "quality_finds_junk": ("The quality filter finds nine of ten junk pages that reach it", False,
        lambda r: at_least(r, "quality_recall", 0.9)),
    "quotes_are_found": ("Every held-out text that is quoted word for word is found", False,
        lambda r: both(at_least(r, "decontaminate_finds_whole", 1),
                       at_least(r, "decontaminate_finds_excerpt", 1))),
    "edits_are_found": ("Held-out texts with every eighth word changed are found, too", True,
        lambda r: at_least(r, "decontaminate_finds_edited", 0.5)),
    "nothing_private_is_left": ("Masking loses no private data", False,
        lambda r: at_least(r, "pii_recall", 1)),
    "nothing_else_is_masked": ("Masking masks nothing else", False,
        lambda r: at_least(r, "pii_precision", 1)),
    "repairs_harm_nothing": ("A repair leaves every page alone that is not its business", True,
        lambda r: both(*(at_least(r, f"{name}_f1_others", 1) for name in REPAIRS))),
}  # fmt: skip
for _id, (_text, _quick, _check) in CLAIMS.items():
    experiment.claim(_id, _text, _quick)(_check)


@experiment.claim(quick=True)
def repairs_help(record):
    """Each repair brings its pages nearer to the text that should be got out of them."""
    pairs = [(record.value("pipeline", f"{name}_f1_before"),
              record.value("pipeline", f"{name}_f1_after")) for name in REPAIRS]  # fmt: skip
    said = (f"{n} {a:.3f} to {b:.3f}" for n, (a, b) in zip(REPAIRS, pairs, strict=True))
    return all(after > before for before, after in pairs), ", ".join(said)


@experiment.claim()
def filters_need_repairs(record):
    """Without the repairs fewer of the pages with equal words are found."""
    with_, without = (record.value(arm, "exact_recall") for arm in ("pipeline", "no_repairs"))
    return with_ > without, f"recall {with_:.3f} with, {without:.3f} without"


@experiment.claim(quick=True)
def better_than_chance(record):
    """Each filter is better than dropping as many pages at random, in precision and recall."""
    metrics = [f"{n}_{w}" for n in FILTERS if n != "pii" for w in ("precision", "recall")]
    worse = [m for m in metrics if record.value("pipeline", m) <= record.value("random", m)]
    return not worse, f"worse in {', '.join(worse) or 'none'}"


@experiment.figure()
def filters(record):
    """Precision and recall of each filter, for the pipeline, the pipeline without repairs, and
    random dropping. Language, copies and private data are near one; quality is the weakest."""
    panels = []
    for what in ("precision", "recall"):
        bars = []
        for name, arm in experiment.arms.items():
            shown = ["quotes" if f == "decontaminate" else f for f in FILTERS]
            have = [name != "random" or f != "pii" for f in FILTERS]
            heights = [record.value(name, f"{f}_{what}") if ok else None
                       for f, ok in zip(FILTERS, have, strict=True)]  # fmt: skip
            bars.append(Bars(shown, heights, arm["title"], arm["role"]))
        panels.append(Panel("", Axis(what, range=(0, 1)), bars=bars, legend="top"))
    return Figure(panels)


@experiment.figure()
def repairs(record):
    """Character F1 of the text against the truth before and after each repair: web pages gain most,
    wrong decodings are undone entirely, scans keep the misread letters."""
    bars = [Bars(REPAIRS, [record.value("pipeline", f"{n}_f1_{when}") for n in REPAIRS], when, role)
            for when, role in (("before", "baseline"), ("after", "model"))]  # fmt: skip
    return Figure([Panel("", Axis("character F1", range=(0, 1)), bars=bars, legend="top")])
