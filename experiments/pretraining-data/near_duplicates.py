"""How likely do bands of MinHash numbers find a pair of pages, depending on how alike they are?

Pairs of a labelled page and an edited copy of it, with their exact Jaccard likeness (sets of 5-word
runs), in three settings of b bands of r numbers. Theory says 1 − (1 − sʳ)ᵇ for a pair of likeness s
(Leskovec, Rajaraman & Ullman, chapter 3). Found means: the pair agrees in a whole band, before any
estimate is compared with a threshold. Each seed has its own pages, edits and permutations.
"""

import random
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.data.clean import minhash as mh
from minimind_wiki.data.world.pages import raw_pages
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel

STEPS = [i / 20 for i in range(2, 20)]  # lower ends of bins of likeness, 0.05 wide


@dataclass(frozen=True, slots=True)
class Settings:
    """pages: texts a seed; copies: edited copies of each."""

    pages: int = 250
    copies: int = 8


experiment = Experiment(
    name="pretraining-data/near_duplicates",
    factors=("bands", "rows"),
    arms={
        "steep": {"title": "14 bands of 8 (FineWeb's)", "role": "model", "bands": 14, "rows": 8},
        "early": {"title": "28 bands of 4", "role": "b", "bands": 28, "rows": 4},
        "late": {"title": "7 bands of 16", "role": "c", "bands": 7, "rows": 16},
    },
    settings=Settings(),
    quick=Settings(pages=120, copies=4),
    primary="recall",
)


def edited(text: str, share: float, rng: random.Random) -> str:
    """The text with a share of its words replaced by words that stand nowhere else."""
    words = text.split()
    return " ".join(f"new{rng.getrandbits(40)}" if rng.random() < share else w for w in words)


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    rng = random.Random(seed)
    bands, rows = arm["bands"], arm["rows"]
    a, b = mh.permutations(bands * rows, seed)
    pairs = []
    for page in raw_pages(f"near{seed}", settings.pages):
        text = page["labels"]["clean"]
        first = mh.shingles(text)
        index = mh.Bands(bands, rows)
        index.add(mh.signature(first, a, b))
        for _ in range(settings.copies):
            # 5 words a run: a share p leaves (1 − p)⁵ of the runs; these reach all likenesses.
            second = mh.shingles(edited(text, rng.random() ** 2 * 0.3, rng))
            found = bool(index.candidates(mh.signature(second, a, b)))
            like = mh.jaccard(first, second)
            pairs.append((like, found, mh.found_probability(like, bands, rows)))
    measured, theory, gaps = [], [], []
    for low in STEPS:
        mine = [(found, chance) for like, found, chance in pairs if low <= like < low + 0.05]
        measured.append(sum(f for f, _ in mine) / len(mine) if mine else float("nan"))
        theory.append(sum(c for _, c in mine) / len(mine) if mine else float("nan"))
        sigma = sum(c * (1 - c) for _, c in mine) ** 0.5
        if sigma > 1:  # enough pairs whose fate is open
            gaps.append(abs(sum(f - c for f, c in mine)) / sigma)
    like = [found for s, found, _ in pairs if s >= 0.75]
    other = [found for s, found, _ in pairs if s < 0.5]
    values = {
        "recall": sum(like) / len(like),
        "recall_in_theory": sum(c for s, _, c in pairs if s >= 0.75) / len(like),
        "found_below_half": sum(other) / len(other),
        "largest_gap_in_sigmas": max(gaps, default=0.0),
        "pairs": len(pairs),
    }
    middles = [low + 0.025 for low in STEPS]
    return Measurement(values, {"measured": (middles, measured), "theory": (middles, theory)})


@experiment.claim(quick=True)
def follows_the_theory(record):
    """Measured and predicted numbers of found pairs differ by less than four standard errors at
    every likeness."""
    gaps = [max(record.seeds(arm, "largest_gap_in_sigmas")) for arm in record.arms]
    return max(gaps) < 4, f"largest gap {max(gaps):.2f} standard errors"


@experiment.claim()
def fineweb_finds_most(record):
    """FineWeb's bands find nine of ten pairs that are alike to 0.75 or more, as these edits spread
    them."""
    recall = record.value("steep", "recall")
    return recall >= 0.9, f"recall {recall:.3f}"


@experiment.claim(quick=True)
def more_bands_find_more_of_both(record):
    """Shorter bands find more of the pairs that are alike, and more of those that are not."""
    order = ("late", "steep", "early")
    recall = [record.value(arm, "recall") for arm in order]
    false = [record.value(arm, "found_below_half") for arm in order]
    rows = zip(order, recall, false, strict=True)
    said = ", ".join(f"{arm} {found:.3f} and {wrong:.3f}" for arm, found, wrong in rows)
    return recall == sorted(recall) and false == sorted(false), said


@experiment.figure()
def curve(record):
    """Share of pairs found against their exact likeness, three S-shaped curves: bands of 4 rise
    near 0.45, bands of 8 near 0.7, bands of 16 near 0.9; each lies on its dashed theory."""
    lines = []
    for name, arm in experiment.arms.items():
        for which, dash in (("measured", "solid"), ("theory", "dash")):
            c = record.curve(name, which)
            label = f"{arm['bands']} × {arm['rows']} {which}"
            lines.append(Line(c["x"], c["mean"], label, arm["role"], c["lo"], c["hi"], dash))
    return Figure([Panel("exact likeness of the pair", Axis("share found", range=(0, 1)),
                         lines=lines, legend="top")])  # fmt: skip
