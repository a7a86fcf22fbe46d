"""What does dividing the scores by the root of d do: to their spread, to the softmax, to the loss?

Two measurements for each way of scaling. First, queries and keys of independent numbers with mean 0
and variance 1, as the argument for the division assumes: how far the scores spread, how much weight
the largest takes, and how much gradient the softmax lets through, for heads of 4 to 1,024 numbers.
Then a language model on the characters of Shakespeare's plays whose heads are 64 wide, trained with
each scaling from two draws: one that makes queries and keys as large as the argument assumes, and
one as small as today's models have it. The learning rate is swept for each arm.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F

from minimind_wiki.book.experiment import Experiment, Measurement, Sweep
from minimind_wiki.book.text import real_text
from minimind_wiki.lite.plot import Axis, Figure, Level, Line, Panel

from ..normalization._decoder import characters, evaluate
from ._scaled import SCALES, Scaled, entropies, through_softmax
from ._train import trained, windows

TITLES = {"none": "q·k", "root": "q·k / √d", "full": "q·k / d"}
ROLES = {"none": "none", "root": "model", "full": "c"}
NUMBERS = ("spread", "largest", "settled", "gradient", "median_gradient")
DRAWS = {"unit": "large draw", "small": "small draw"}


@dataclass(frozen=True, slots=True)
class Settings:
    """sizes: head widths of the first part; keys: how many a query sees there; rows: queries."""

    width: int = 64
    heads: int = 1
    layers: int = 2
    context: int = 64
    batch: int = 16
    steps: int = 450
    warmup: int = 20
    eval_windows: int = 128
    learning_rate: float = 3e-3  # swept
    sizes: tuple[int, ...] = (4, 16, 64, 256, 1024)
    keys: int = 64
    rows: int = 2000


experiment = Experiment(
    name="attention/scale",
    factors=("scale", "draw"),
    arms={
        f"{scale}_{draw}": {
            "title": f"{TITLES[scale]}, {DRAWS[draw]}", "role": ROLES[scale],
            "scale": scale, "draw": draw,
        }
        for draw in DRAWS for scale in SCALES
    },
    settings=Settings(),
    quick=Settings(width=32, context=32, batch=8, steps=40, warmup=4, eval_windows=32,
                   sizes=(4, 64, 256), rows=200),
    quick_arms=("none_unit", "root_unit"),
    sweep=Sweep("learning_rate", (3e-3, 1e-2), "selection_loss", quick=(3e-3,),
                beyond=(1e-3, 3e-2)),
    primary="held_out_loss",
    repeat=(("none_unit", 0), ("root_small", 0)),
)  # fmt: skip


@experiment.measure
def measure(arm: dict, seed: int, settings: Settings) -> Measurement:
    data = characters()
    numbers = dict(zip(NUMBERS, through_softmax(arm["scale"], seed, settings), strict=True))
    model = Scaled(data.vocab_size, arm["scale"], arm["draw"], settings, seed)
    held, _ = windows(10**6, 0, settings)  # training text: it only shows what the softmax is like
    at_start = entropies(model, held)

    def loss_at(step: int):
        inputs, targets = windows(step, seed, settings)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    curve, diverged_at = trained(model, loss_at, settings, data.chance)
    values = {
        "start_largest_weight": at_start[0],
        "start_score_spread": at_start[1],
        "end_largest_weight": entropies(model, held)[0],
        "end_score_spread": entropies(model, held)[1],
        "held_out_loss": math.nan,
        "selection_loss": math.nan,
    }
    if diverged_at is None:
        values["held_out_loss"] = evaluate(model, data.held_out, settings)
        values["selection_loss"] = evaluate(model, data.select, settings)
    for name, by_size in numbers.items():
        values |= {f"{name}_{d}": v for d, v in zip(settings.sizes, by_size, strict=True)}
    curves = {name: (settings.sizes, by_size) for name, by_size in numbers.items()}
    curves["training_loss"] = curve
    return Measurement(values, curves, diverged_at)


@experiment.levels
def levels(settings: Settings) -> dict:
    data = characters()
    return {
        "chance": {"held_out_loss": data.chance},
        "baseline": {"held_out_loss": data.bigram},
        "data": real_text().described(),
    }


def spans(record, metric: str, draw: str) -> tuple[dict[str, list[float]], str]:
    """The seeds of each scaling from one draw, and their ranges in words."""
    found = {scale: record.seeds(f"{scale}_{draw}", metric) for scale in SCALES}
    said = ", ".join(f"{TITLES[k]} {min(s):.3f} to {max(s):.3f}" for k, s in found.items())
    return found, said


@experiment.claim(quick=True)
def spread_is_root_d(record):
    """The scores' spread grows as √d, and dividing by √d makes it one, within 5 %, at every d."""
    sizes = record.settings["sizes"]
    plain, divided = ([record.value(f"{k}_unit", f"spread_{d}") for d in sizes]
                      for k in ("none", "root"))  # fmt: skip
    off = [abs(p / math.sqrt(d) - 1) for p, d in zip(plain, sizes, strict=True)]
    off += [abs(v - 1) for v in divided]
    said = ", ".join(f"d = {d}: {p:.1f}" for d, p in zip(sizes, plain, strict=True))
    return max(off) < 0.05, f"{said}; divided {min(divided):.2f} to {max(divided):.2f}"


@experiment.claim()
def softmax_saturates(record):
    """Undivided, one of 64 keys takes more than 0.99 of the weight for one query in ten or more at
    d = 64, and for over half at d = 1,024; divided, for none in a hundred."""
    plain = [record.value("none_unit", f"settled_{d}") for d in (64, 1024)]
    divided = max(record.value("root_unit", f"settled_{d}") for d in (64, 1024))
    said = f"{plain[0]:.2f} and {plain[1]:.2f} of the queries; divided {divided:.3f}"
    return plain[0] >= 0.1 and plain[1] > 0.5 and divided < 0.01, said


@experiment.claim()
def the_typical_gradient_vanishes(record):
    """Undivided, the median query's gradient through the softmax is smaller than a tenth of the
    divided one's at d = 1,024."""
    plain, divided = (record.value(f"{k}_unit", "median_gradient_1024") for k in ("none", "root"))
    return plain < 0.1 * divided, f"{plain:.1e} and {divided:.1e}"


@experiment.claim()
def the_mean_gradient_stays(record):
    """Undivided, the root mean square of that gradient is no smaller at d = 64 than divided: the
    few queries that are undecided get all of it."""
    plain, divided = (record.value(f"{k}_unit", "gradient_64") for k in ("none", "root"))
    return plain >= divided, f"{plain:.4f} and {divided:.4f}"


@experiment.claim()
def large_draw_needs_it(record):
    """From the large draw, every seed with √d ends below every seed without, each at its best."""
    found, said = spans(record, "held_out_loss", "unit")
    return max(found["root"]) < min(found["none"]), said


@experiment.claim()
def small_draw_needs_it(record):
    """From the small draw, too, every seed with √d ends below every seed without."""
    found, said = spans(record, "held_out_loss", "small")
    return max(found["root"]) < min(found["none"]), said


@experiment.claim()
def full_is_no_worse(record):
    """Dividing by d itself ends within 0.02 nats of dividing by √d, from both draws."""
    gaps = [record.value(f"full_{d}", "held_out_loss") - record.value(f"root_{d}", "held_out_loss")
            for d in DRAWS]  # fmt: skip
    return max(map(abs, gaps)) < 0.02, ", ".join(f"{g:+.3f}" for g in gaps)


@experiment.figure()
def by_size(record):
    """The standard deviation of the scores and the largest of 64 softmax weights, by the width of
    the head. Undivided, the spread grows as the root of the width and one key takes everything;
    divided by the root both stay level; divided by the width the weights become even."""
    panels = []
    for curve, said, scale in (("spread", "spread of the scores", "log"),
                               ("largest", "largest of the weights", "linear")):  # fmt: skip
        lines = [record.line(f"{k}_unit", curve, TITLES[k], dash)
                 for k, dash in zip(SCALES, ("dash", "solid", "dot"), strict=True)
                 if f"{k}_unit" in record.arms]  # fmt: skip
        x = Axis("width of the head", "log", ticks=list(record.settings["sizes"]))
        panels.append(Panel(x, Axis(said, scale), lines))
    return Figure(panels)


@experiment.figure()
def learning_rates(record):
    """Loss against the learning rate for the three scalings, from a large and from a small draw of
    the weights. From the large draw, undivided scores stay at the loss of a table of character
    pairs at every rate, and both divisions end far below. From the small draw they do better, at
    one low rate, and still end above both divisions."""
    panels = []
    for draw, title in DRAWS.items():
        lines = []
        for scale, dash in zip(SCALES, ("dash", "solid", "dot"), strict=True):
            if f"{scale}_{draw}" in record.arms:
                sweep = record.sweep(f"{scale}_{draw}")
                lines.append(Line(sweep["values"], sweep["scores"], TITLES[scale], ROLES[scale],
                                  dash=dash, marker="circle"))  # fmt: skip
        if lines:
            pairs = record.level("baseline", "held_out_loss")
            scores = [score for line in lines for score in line.y if score is not None]
            y = Axis("loss in nats", range=(min(scores) - 0.05, max(pairs, *scores) + 0.05))
            levels = [Level(pairs, "table of pairs", "baseline")]
            x = Axis("learning rate", "log")
            panels.append(Panel(x, y, lines, levels=levels, title=title))
    return Figure(panels)
