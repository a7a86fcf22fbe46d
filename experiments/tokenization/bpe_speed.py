"""What does it cost to learn BPE merges, and by what law does the cost grow with the text?

Four ways to the same merges: counting every pair of the whole text again for each merge, the scheme
of minbpe's regex trainer (Karpathy 2024); the readable trainer of this package, which counts pairs
again too, but over distinct pieces of text; its fast one, which only corrects counts around each
merge; and Hugging Face's library in Rust. All start from the text and end with the merges, which
must be equal. The cost is CPU time on one thread; ratios are within one run. What a trainer gains
by distinct pieces depends on how often the text repeats itself, so plays are shown beside a mix.
"""

import hashlib
import math
import time
from dataclasses import dataclass

from minimind_wiki.book.experiment import Experiment, Measurement
from minimind_wiki.book.text import real_text
from minimind_wiki.lite.plot import Axis, Figure, Line, Panel

from ._trainers import RESERVED, TRAINERS, make_text

FIRST = 256 + len(RESERVED)  # entries before the first merge
TEXTS = {"mix": "plays, little world, Chinese, English and code", "plays": "plays alone"}


@dataclass(frozen=True, slots=True)
class Settings:
    """few, sizes: merges that all learn (a vocabulary of 512), of texts with so many characters;
    plays end earlier.
    many, large: the same for the fast trainer and the library."""

    few: int = 512 - FIRST
    sizes: tuple[int, ...] = (50_000, 200_000, 800_000, 1_600_000)
    many: int = 6400
    large: tuple[int, ...] = (1_250_000, 5_000_000, 20_000_000)


experiment = Experiment(
    name="tokenization/bpe_speed",
    factors=("trainer",),
    arms={
        name: {"title": title, "role": role, "trainer": name}
        for name, title, role in (
            ("recounting", "all pairs again, whole text", "none"),
            ("readable", "all pairs again, distinct pieces", "b"),
            ("fast", "counts corrected", "model"),
            ("library", "library (Rust)", "baseline"),
        )
    },
    settings=Settings(),
    quick=Settings(few=32, sizes=(25_000, 100_000), many=512, large=(400_000,)),
    primary="mix_seconds",
    noisy=("*_seconds", "*_exponent"),
    parallel=False,
)  # fmt: skip


def learn(trainer: str, text: str, merges: int) -> tuple[float, list]:
    """CPU seconds from text to merges, and these."""
    started = time.process_time()
    learned = TRAINERS[trainer](text, FIRST + merges)
    return time.process_time() - started, learned


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    name = arm["trainer"]
    values, curves = {}, {}
    small = make_text("mix", settings.sizes[0], seed)
    right = learn("library", small, settings.few)[1]  # and the library's own start-up is over
    equal = learn(name, small, settings.few)[1] == right  # and the cut's pattern is built
    for kind in TEXTS:
        points = []
        for size in settings.sizes:
            text = make_text(kind, size, seed)
            if kind == "mix" or len(text) == size:  # plays end
                points.append((size, learn(name, text, settings.few)[0]))
        curves[f"{kind}_seconds"] = tuple(zip(*points, strict=True))
        values[f"{kind}_seconds"], values[f"{kind}_characters"] = points[-1][1], points[-1][0]
        (first_size, first), (last_size, last) = points[0], points[-1]
        values[f"{kind}_exponent"] = math.log(last / first) / math.log(last_size / first_size)
    if name in ("fast", "library"):
        points = []
        for size in settings.large:
            text = make_text("mix", size, seed)
            took, learned = learn(name, text, settings.many)
            points.append((size, took))
        curves["many_seconds"] = tuple(zip(*points, strict=True))
        values["many_seconds"], values["many_bytes"] = points[-1][1], len(text.encode())
        values["many_merges"] = float(len(learned))
        right = learned if name == "library" else learn("library", text, settings.many)[1]
        equal = equal and learned == right
    values["merges_equal"] = float(equal)
    return Measurement(values, curves)


@experiment.levels
def levels(settings: Settings):
    largest = make_text("mix", max(settings.large), 0)
    mix = hashlib.sha256(largest.encode()).hexdigest()
    return {"data": {**real_text().described(), "mix_sha256": mix}}


def ratio(record, metric, slow, quick):
    """Time of `slow` over that of `quick`, seed by seed: the least and the greatest."""
    pairs = zip(record.seeds(slow, metric), record.seeds(quick, metric), strict=True)
    ratios = sorted(a / b for a, b in pairs)
    return ratios[0], ratios[-1]


def size(record, kind):
    return f"{record.value('readable', f'{kind}_characters') / 1e6:.1f} million characters"


@experiment.claim(quick=True)
def merges_are_equal(record):
    """All four learn the same merges, in the same order."""
    shares = {arm: record.value(arm, "merges_equal") for arm in record.arms}
    return set(shares.values()) == {1.0}, f"{sum(shares.values()):.0f} of {len(shares)} trainers"


@experiment.claim()
def readable_twenty_times(record):
    """On the largest mix the readable trainer takes a twentieth of the plain scheme, or less."""
    low, high = ratio(record, "mix_seconds", "recounting", "readable")
    return low >= 20, f"{low:.1f} to {high:.1f} times faster at {size(record, 'mix')}"


@experiment.claim()
def readable_twenty_times_on_plays(record):
    """On plays alone, too, it takes a twentieth or less."""
    low, high = ratio(record, "plays_seconds", "recounting", "readable")
    return low >= 20, f"{low:.1f} to {high:.1f} times faster at {size(record, 'plays')}"


@experiment.claim()
def another_law(record):
    """The plain scheme grows as the text does; over distinct pieces the cost grows more slowly."""
    plain, ours = (record.seeds(arm, "mix_exponent") for arm in ("recounting", "readable"))
    said = f"time grows as size to the power {min(plain):.2f}-{max(plain):.2f}, and "
    return min(plain) > 0.9 > 0.8 > max(ours), said + f"{min(ours):.2f}-{max(ours):.2f}"


@experiment.claim()
def fast_twenty_times(record):
    """The fast trainer takes a twentieth of the plain scheme or less, on both kinds of text."""
    lows = {kind: ratio(record, f"{kind}_seconds", "recounting", "fast")[0] for kind in TEXTS}
    return min(lows.values()) >= 20, ", ".join(f"{k} {v:.0f} times" for k, v in lows.items())


@experiment.claim()
def fast_near_the_library(record):
    """In Python the fast trainer takes less than ten times as long as the library in Rust."""
    low, high = ratio(record, "many_seconds", "fast", "library")
    many, size = record.value("fast", "many_merges"), record.value("fast", "many_bytes")
    said = f"{low:.2f} to {high:.2f} times as long for {many:,.0f} merges of {size / 1e6:.1f} MB"
    return high < 10, said


@experiment.figure()
def growth(record):
    """CPU time over the size of the text, both on log scales. Above, few merges of the mix: the
    plain scheme rises with the text, the readable trainer starts below it and rises more slowly,
    the fast one and the library lie far below. Then the same on plays alone. Below, thousands of
    merges of up to twenty million characters: the fast trainer and the library."""
    panels = []
    marks = dict(zip(record.arms, ("square", "circle", "diamond", "cross"), strict=True))
    titles = {k: f"{record.settings['few']} merges, {text}" for k, text in TEXTS.items()}
    titles["many"] = f"{record.settings['many']:,} merges, {TEXTS['mix']}"
    for name, title in titles.items():
        lines = []
        for arm, about in record.arms.items():
            if name == "many" and arm not in ("fast", "library"):
                continue
            c = record.curve(arm, f"{name}_seconds")
            lines.append(Line(c["x"], c["mean"], about["title"], about["role"], c["lo"], c["hi"],
                              marker=marks[arm]))  # fmt: skip
        axes = Axis("characters of text", "log"), Axis("CPU seconds", "log")
        panels.append(Panel(*axes, lines, title=title, legend="none" if panels else "top"))
    return Figure(panels)
